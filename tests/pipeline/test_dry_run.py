"""``run --dry-run`` forecasts a run without starting it, and refuses what the run would refuse."""

import contextlib
import logging
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from builders.errors import raises
from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.errors import ConfigError, EmptyFrontError, SaveDirError
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.run import dry_run, run
from cnn_lstm_hyperopt.run_dir.lock import only_run
from cnn_lstm_hyperopt.search import StudyStorage
from cnn_lstm_hyperopt.training import machine_benchmark


@pytest.fixture(autouse=True)
def _own_process(monkeypatch):
    """Undo the effects of a run on its process."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    logger = logging.getLogger("cnn_lstm_hyperopt")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def nothing_runs(monkeypatch):
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.run.search_and_write", lambda *_: pytest.fail("a search began"))


@pytest.fixture
def config(tiny, tmp_path):
    """A file with TINY and the given sections."""

    def write(**sections):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**tiny, **sections}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def settings_with(config):
    return lambda **sections: load_settings(config(**sections), environment={})


@pytest.fixture
def save_dir(tiny) -> Path:
    return Path(tiny["save_dir"])


@pytest.fixture
def refused(config, capsys, nothing_runs):
    """Run and dry run end with exit code 2 and the same line, which is returned."""

    def refused(*arguments, **sections):
        lines = []
        for switches in ([], ["--dry-run"]):
            assert cli.main(["run", "--config", str(config(**sections)), *map(str, arguments), *switches]) == 2
            lines.append(capsys.readouterr().err)
        assert lines[0] == lines[1]
        assert lines[0].count("\n") == 1
        return lines[0]

    return refused


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("folder", ["a" * 300, "/proc/results", "link", "held"])
def test_a_directory_that_can_not_be_used_is_refused(tmp_path, refused, folder):
    """Its name is too long, it is of the kernel, a link to nowhere, or of another run."""
    (tmp_path / "link").symlink_to(tmp_path / "nowhere" / "at all")
    (tmp_path / "held").mkdir()
    with only_run(tmp_path / "held"):
        assert "--save-dir" in refused("--save-dir", tmp_path / folder)


def test_an_invalid_tracking_uri_an_existing_study_and_a_missing_one_are_refused(save_dir, refused):
    refused(mlflow={"enabled": True, "tracking_uri": "gopher://nowhere"})
    refused("--resume")
    refused("--resume", "--recalibrate")
    assert not save_dir.exists()
    save_dir.mkdir()
    StudyStorage(save_dir / "study.db", create="mine").close()
    refused()


@pytest.mark.parametrize("start", [run, dry_run])
@pytest.mark.parametrize(("name", "limit"), [("trial_seconds", 1e-6), ("size_mb", 1e-4), ("memory_mb", 1.0)])
def test_limits_that_leave_nothing_are_refused(settings_with, save_dir, nothing_runs, name, limit, start):
    with raises(ConfigError, "limits-leave-nothing", "limits"):
        start(settings_with(limits={name: limit}), RunEvents(), resume=False)
    assert not save_dir.exists()


def test_a_precision_that_the_device_does_not_have_is_refused(settings_with, save_dir, monkeypatch, speeds):
    only = replace(speeds, speeds={"float32": speeds.speeds["float32"]}, evaluation={"float32": 0.25})
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.setup.calibration_for", lambda *_, **__: only)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(f"torch.cpu.{name}", lambda: False)
    with raises(ConfigError, "precision-not-supported", "training.precision"):
        dry_run(settings_with(training={"precision": "bfloat16"}), RunEvents(), resume=False)
    assert not save_dir.exists()


def test_it_shows_a_forecast_twice_the_same_and_writes_nothing(config, save_dir, tmp_path, capsys, nothing_runs):
    arguments = ["run", "--config", str(config()), "--n-trials", "500", "--workers", "2", "--dry-run"]
    before, outputs = contents(tmp_path), []
    for _ in range(2):
        assert cli.main(arguments) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        outputs.append(captured.out)
    assert outputs[0] == outputs[1]
    for pattern in (r"\d+% of it within", "500 trials", "2 workers", r"[\d.]+ GB of memory", r"\d+ MB of disk"):
        assert re.search(pattern, " ".join(outputs[0].split())), pattern
    assert cli.main([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert not save_dir.exists()
    assert contents(tmp_path) == before


class Shares(RunEvents):
    """Keeps the share of the training windows, the limits, and the number of trials in the forecast."""

    def on_setup(self, setup):
        self.share, self.limits = setup.dataset.train_share, setup.plan.limits

    def on_forecast(self, setup, search, final):
        self.trials = search.trials


def test_the_share_of_windows_follows_the_limit_and_stays_with_the_study(tiny, settings_with):
    """Within 0.02 s half of the space can't use all windows."""
    data = {key: value for key, value in tiny["data"].items() if key != "train_share"}
    events, shares = Shares(), []
    for start, limit, facts in (
        (dry_run, None, {"resume": False}),
        (dry_run, 0.02, {"resume": False}),
        (run, 0.02, {"resume": False}),
        (dry_run, None, {"resume": True}),
    ):
        study = {**tiny["study"], "n_trials": 1 if start is run else 9}
        settings = settings_with(data=data, limits={"trial_seconds": limit}, study=study)
        with contextlib.suppress(EmptyFrontError):  # a single trial may be incomplete
            start(settings, events, **facts)
        shares.append(events.share)
    assert shares[0] == 1.0
    assert shares[1] in (0.5, 0.25, 0.125)
    assert shares[1] == shares[2] == shares[3]


def test_the_limit_of_small_data_stays_with_the_study(tiny, settings_with, monkeypatch):
    """An explicit limit replaces it; it never limits a running trial."""
    events, study = Shares(), {**tiny["study"], "n_trials": 1}
    monkeypatch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SMALL_DATA", 10**6)
    dry_run(settings_with(limits={"trial_seconds": 60}), events, resume=False)
    assert (events.limits.seconds, events.limits.proposal_seconds) == (60, None)
    with contextlib.suppress(EmptyFrontError):
        run(settings_with(study=study), events, resume=False)
    new = events.limits
    assert (new.seconds, new.proposal_seconds) == (300, 8.0)
    monkeypatch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SMALL_DATA", 1)
    dry_run(settings_with(study=study), events, resume=True)
    assert events.limits == new


def test_of_an_existing_study_it_forecasts_the_missing_trials_and_changes_no_byte(
    tiny, settings_with, save_dir, monkeypatch
):
    """With the stored speeds, without a measurement."""
    settings_of = lambda **study: settings_with(study={**tiny["study"], **study})  # noqa: E731
    run(settings_of(n_trials=2), RunEvents(), resume=False)
    measure = lambda *_, **__: pytest.fail("the speeds of a study are stored")  # noqa: E731
    monkeypatch.setattr("cnn_lstm_hyperopt.pipeline.setup.calibration_for", measure)
    before, events = contents(save_dir), Shares()
    forecast = dry_run(settings_of(n_trials=9), events, resume=True)
    assert events.trials == forecast.trials == 7
    with raises(SaveDirError, "study-differs", "study.seed"):
        dry_run(settings_of(n_trials=9, seed=9), events, resume=True)
    assert contents(save_dir) == before


@pytest.mark.parametrize("recalibrate", [False, True])
def test_recalibrate_measures_again(settings_with, monkeypatch, tmp_path, speeds, recalibrate):
    """In a cache of its own, which has speeds already."""
    monkeypatch.setenv(machine_benchmark.CACHE_VARIABLE, str(tmp_path / "cache"))
    counted = []
    monkeypatch.setattr(machine_benchmark, "calibrate", lambda device: counted.append(device) or replace(speeds))
    machine_benchmark.calibration_for(torch.device("cpu"))
    dry_run(settings_with(), RunEvents(), resume=False, recalibrate=recalibrate)
    assert len(counted) == 1 + recalibrate


@pytest.mark.parametrize(
    ("space", "changed"),
    [({}, set()), ({"architecture": "full"}, set()), ({"cnn": {"dropout": 0.2}}, {"cnn.dropout"})],
)
def test_changed_parameters_are_those_that_the_user_changed(config, capsys, space, changed):
    path = config(search_space=space)  # bars fix inputs.standardise, which the user did not change
    assert cli.main(["run", "--config", str(path), "--dry-run", "--verbose"]) == 0
    _, _, after = capsys.readouterr().out.replace("\n", " ").partition(" Changed: ")
    assert set(re.findall(r"\w+\.\w+(?= [=\[{])", after.partition(" Limits: ")[0])) == changed
