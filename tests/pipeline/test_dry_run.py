"""``run --dry-run`` says what a run would take and starts nothing; limits that leave nothing are bad input."""

import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.training import machine_benchmark as calibration


@pytest.fixture(autouse=True)
def _own_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a run sets for its process is taken back; a forecast looks at fewer configurations than it would."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 60)
    logger = logging.getLogger("cnn_lstm_hyperopt")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(*_: object) -> None:
        raise AssertionError("a search began")

    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.run.search_and_write", search)


Config = Callable[..., Path]


@pytest.fixture
def config(tiny: dict[str, Any], tmp_path: Path) -> Config:
    """A file with TINY and what differs from it."""

    def write(**sections: dict[str, Any]) -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**tiny, **sections}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def save_dir(tiny: dict[str, Any]) -> Path:
    return Path(tiny["save_dir"])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------------- a new study


@pytest.mark.parametrize("kind", ["too long", "of the kernel", "a link to nowhere", "of another run"])
def test_a_directory_that_the_run_refuses_is_refused_with_the_same_line(config, tmp_path, capsys, nothing_runs, kind):
    place = {
        "too long": tmp_path / ("a" * 300),
        "of the kernel": Path("/proc/results"),
        "a link to nowhere": tmp_path / "link",
        "of another run": tmp_path / "held",
    }[kind]
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at all")
    (tmp_path / "held").mkdir()
    arguments = ["run", "--config", str(config()), "--save-dir", str(place)]
    with only_run(tmp_path / "held"):
        assert cli.main(arguments) == 2
        told = capsys.readouterr().err
        assert cli.main([*arguments, "--dry-run"]) == 2
    assert capsys.readouterr().err == told
    assert told.count("\n") == 1
    assert "--save-dir" in told


def test_a_tracking_uri_that_the_run_refuses_is_refused(config, capsys, nothing_runs):
    path = config(mlflow={"enabled": True, "tracking_uri": "gopher://nowhere"})
    assert cli.main(["run", "--config", str(path)]) == 2
    told = capsys.readouterr().err
    assert cli.main(["run", "--config", str(path), "--dry-run"]) == 2
    assert capsys.readouterr().err == told


def test_it_names_hours_memory_disk_and_share_and_writes_nothing(config, save_dir, tmp_path, capsys, nothing_runs):
    path = config()
    before = contents(tmp_path)
    assert cli.main(["run", "--config", str(path), "--n-trials", "500", "--workers", "2", "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    out = captured.out
    assert re.search(r"^Limits \(300 s of training a trial, [\d,]+ MB of memory\) leave \d+% of the space", out, re.M)
    assert "on 0.5 of the training windows" in out
    assert re.search(
        r"^Forecast: 500 trials on 2 workers take about [\d.]+ (s|min|h), without what pruning saves; ", out, re.M
    )
    assert re.search(r"; [\d.]+ GB of memory at most and \d+ MB of disk\.$", out, re.M)
    assert out.splitlines()[-1].startswith("Dry run: no study was started or written")
    assert "--dry-run" in out.splitlines()[-1]
    assert not save_dir.exists()
    assert contents(tmp_path) == before


def test_it_is_told_the_same_twice(config, capsys, nothing_runs):
    arguments = ["run", "--config", str(config()), "--workers", "1", "--dry-run"]
    assert [cli.main(arguments), cli.main(arguments)] == [0, 0]
    lines = capsys.readouterr().out.splitlines()
    half = len(lines) // 2
    assert lines[:half] == lines[half:]


def test_quiet_is_quiet(config, capsys, nothing_runs):
    assert cli.main(["run", "--config", str(config()), "--dry-run", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_an_existing_study_is_refused_as_by_the_run_itself(config, save_dir, capsys, nothing_runs):
    save_dir.mkdir()
    StudyStorage(save_dir / "study.db", create="mine").close()
    assert cli.main(["run", "--config", str(config()), "--dry-run"]) == 2
    assert "already holds the study mine" in capsys.readouterr().err


def share_shown(out: str) -> str:
    found = re.search(r"; on (all|[\d.]+ of the) training windows such a trial", out)
    assert found is not None, out
    return found.group(1)


def test_the_share_of_the_windows_is_chosen_by_the_limit_and_kept_with_the_study(config, tiny, capsys):
    """At 0.02 s half of the space keeps no whole set of windows; a study that was begun so goes on so."""
    data = {key: value for key, value in tiny["data"].items() if key != "train_share"}  # auto
    free = ["run", "--config", str(config(data=data, limits={"trial_seconds": None})), "--workers", "1"]
    assert cli.main([*free, "--dry-run"]) == 0
    assert share_shown(capsys.readouterr().out) == "all"

    tight = ["run", "--config", str(config(data=data, limits={"trial_seconds": 0.02})), "--workers", "1"]
    assert cli.main([*tight, "--dry-run"]) == 0
    share = share_shown(capsys.readouterr().out)
    assert share in ("0.5 of the", "0.25 of the", "0.125 of the")
    assert cli.main([*tight, "--n-trials", "1"]) in (0, 1)
    assert share_shown(capsys.readouterr().out) == share

    config(data=data, limits={"trial_seconds": None})
    assert cli.main([*free, "--n-trials", "9", "--resume", "--dry-run"]) == 0
    assert share_shown(capsys.readouterr().out) == share


# ---------------------------------------------------------------------- a study that is there


def test_of_an_existing_study_it_says_what_is_left_and_changes_no_byte(config, save_dir, capsys, monkeypatch):
    """The speeds are those that the study was begun with: nothing is measured, and the cache is not asked."""
    begun = config()
    assert cli.main(["run", "--config", str(begun), "--n-trials", "1", "--workers", "1", "--quiet"]) in (0, 1)

    def measure(*_: object, **__: object) -> None:
        raise AssertionError("the speeds of a study lie with it")

    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.setup.calibration_for", measure)
    capsys.readouterr()
    before = contents(save_dir)
    arguments = ["run", "--config", str(begun), "--resume", "--n-trials", "9", "--workers", "1", "--dry-run"]
    assert cli.main(arguments) == 0
    out = capsys.readouterr().out
    assert "Forecast: 8 trials on 1 worker take about" in out
    assert contents(save_dir) == before

    assert cli.main([*arguments, "--seed", "9"]) == 2
    assert "study.seed: 0 → 9" in capsys.readouterr().err
    assert contents(save_dir) == before


def test_without_a_study_there_is_nothing_to_resume(config, save_dir, capsys, nothing_runs):
    assert cli.main(["run", "--config", str(config()), "--resume", "--dry-run"]) == 2
    assert "nothing to resume" in capsys.readouterr().err
    assert not save_dir.exists()


# ---------------------------------------------------------------------- limits that leave nothing


@pytest.mark.parametrize("switches", [["--dry-run"], []], ids=["dry-run", "run"])
@pytest.mark.parametrize(
    ("limits", "named"),
    [
        ({"trial_seconds": 1e-6}, "1e-06 s of training a trial"),
        ({"size_mb": 1e-4}, "0.0001 MB of weights"),
        ({"memory_mb": 1.0}, "1 MB of memory"),
    ],
    ids=["seconds", "size", "memory"],
)
def test_limits_that_leave_nothing_are_bad_input_with_a_cure(
    config, save_dir, tmp_path, capsys, nothing_runs, limits, named, switches
):
    path = config(limits=limits)
    before = contents(tmp_path)
    assert cli.main(["run", "--config", str(path), *switches]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert err.startswith("Error: no configuration of the search space keeps the limits (")
    assert named in err
    assert "raise them" in err
    assert contents(tmp_path) == before
    assert not save_dir.exists()


# ---------------------------------------------------------------------- speeds


@pytest.mark.parametrize("switches", [[], ["--dry-run"]], ids=["run", "dry-run"])
def test_to_recalibrate_a_resumed_study_is_bad_input(config, save_dir, capsys, nothing_runs, switches):
    assert cli.main(["run", "--config", str(config()), "--resume", "--recalibrate", *switches]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert err.startswith("Error: --recalibrate begins a study with new speeds")
    assert not save_dir.exists()


@pytest.mark.parametrize(("switches", "measured"), [([], 0), (["--recalibrate"], 1)])
def test_recalibrate_measures_anew_and_says_so(
    config, capsys, nothing_runs, monkeypatch, tmp_path, speeds, switches, measured
):
    """In a cache of its own, which holds speeds already."""
    monkeypatch.setenv(calibration.CACHE_VARIABLE, str(tmp_path / "cache"))
    counted = []
    monkeypatch.setattr(calibration, "calibrate", lambda device: counted.append(device) or replace(speeds))
    import torch

    calibration.calibration_for(torch.device("cpu"))
    counted.clear()
    assert cli.main(["run", "--config", str(config()), "--dry-run", *switches]) == 0
    assert len(counted) == measured
    assert capsys.readouterr().out.count("Measuring this machine's speed") == measured


def test_a_precision_that_the_device_does_not_have_is_bad_input(
    config, save_dir, capsys, nothing_runs, monkeypatch, speeds
):
    only = replace(speeds, speeds={"float32": speeds.speeds["float32"]}, evaluation={"float32": 0.25})
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.setup.calibration_for", lambda *_, **__: only)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(f"torch.cpu.{name}", lambda: False)
    path = config(training={"max_epochs": 3, "precision": "bfloat16"})
    code = cli.main(["run", "--config", str(path), "--dry-run"])
    err = capsys.readouterr().err
    assert "training.precision" in err
    assert code == 2
    assert len(err.splitlines()) == 1
    assert not save_dir.exists()
