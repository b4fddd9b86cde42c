"""Config files that come with the package, by name, and data that a run needs."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from builders.errors import raises
from cnn_lstm_hyperopt import cli, load_settings
from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.config.profiles import profiles
from cnn_lstm_hyperopt.errors import ConfigError

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "configs" / "hyperopt").glob("*.yaml"))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings of the searches that the command line would start."""
    found: list[Settings] = []
    for name in ("run", "dry_run"):
        monkeypatch.setattr(f"cnn_lstm_hyperopt.pipeline.run.{name}", lambda settings, *_, **__: found.append(settings))
    return found


def test_profiles_have_the_budgets_that_the_docs_promise() -> None:
    assert {path.stem for path in FILES} == set(profiles()) >= {"small", "laptop", "gpu", "demo"}
    by_name = {name: load_settings(name, environment={}) for name in profiles()}
    assert by_name == {path.stem: load_settings(path, environment={}) for path in FILES}
    assert all(settings.search_space.searched() for settings in by_name.values())
    assert [by_name[name].study.n_trials for name in ("small", "laptop", "gpu")] == [100, 1000, 1000]
    assert by_name["gpu"].training.device == "cuda"
    default = load_settings(environment={}).search_space
    assert by_name["laptop"].search_space == default
    for name in default.domains:
        wider, usual = (getattr(space.domains[name], "values", ()) for space in (by_name["gpu"].search_space, default))
        assert name == "training.batch_size" or set(usual) <= set(wider)


def test_a_file_wins_over_a_profile_and_a_folder_does_not(tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    assert load_settings("small", environment={}).study.n_trials == 100
    (tmp_path / "small").rmdir()
    (tmp_path / "small").write_text("study: {n_trials: 3}")
    assert load_settings("small", environment={}).study.n_trials == 3
    with raises(ConfigError, "unknown-profile", "--config"):
        load_settings("smal")


@pytest.mark.parametrize(
    ("arguments", "variables", "source"),
    [
        ("--n-trials 1000 --retrain-best", {}, "synthetic"),
        ("--n-trials 5 --dry-run", {}, "synthetic"),
        ("--source synthetic", {}, "synthetic"),
        ("", {"CNN_LSTM_HYPEROPT__DATA__SOURCE": "synthetic"}, "synthetic"),
        ("--config cnn_lstm_hyperopt_config", {}, "synthetic"),
        ("--use-real-data --config small", {}, "embedded"),
        ("--data-dir bars", {}, "files"),
        ("--demo", {}, "embedded"),
    ],
)
def test_a_run_starts_on_the_data_that_it_names(
    arguments: str, variables: Any, source: str, started: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    assert cli.main(["run", *arguments.split()]) == 0
    assert [settings.data.source for settings in started] == [source]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        *((flags, "no-data") for flags in ("", "--retrain-best", "--config small", "--dry-run", "--timeout 9")),
        *(
            (f"--demo {flags}", "demo-with-other-data")
            for flags in ("--config small", "--data-dir bars", "--source yahoo")
        ),
    ],
)
def test_a_run_without_data_or_with_two_is_refused(arguments: str, code: str, started: list[Settings]) -> None:
    with raises(ConfigError, code):
        cli.app(["run", *arguments.split()], exit_on_error=False, print_error=False)
    assert not started


def test_the_demonstration_is_its_profile_and_flags_override_it(started: list[Settings]) -> None:
    assert cli.main(["run", "--demo"]) == 0
    assert cli.main(["run", "--demo", "--n-trials", "4", "--save-dir", "here"]) == 0
    first, second = started
    assert first == load_settings("demo")
    assert (second.study.n_trials, second.save_dir.name) == (4, "here")
    assert second.data == first.data


@pytest.mark.slow
def test_a_wheel_has_the_profiles(tmp_path: Path) -> None:
    """Built from a copy, installed beside nothing else, used from an empty directory."""
    source, place, empty = (tmp_path / name for name in ("source", "place", "empty"))
    for name in ("src", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    # Without --ignore-installed pip uninstalls the package in the environment of the tests, whatever the prefix.
    pip += ["--ignore-installed", "--prefix", str(place)]
    subprocess.run([*pip, str(source)], check=True, timeout=200, capture_output=True)
    shutil.rmtree(source)
    (packages,) = place.rglob("site-packages")
    code = "from cnn_lstm_hyperopt.config.profiles import profiles; print(*profiles().values(), sep='\\n')"
    empty.mkdir()
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(packages)!r}); {code}"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, check=True)
    installed = [Path(line) for line in done.stdout.splitlines()]
    assert {path.name: path.read_text() for path in installed} == {path.name: path.read_text() for path in FILES}
    assert all(packages in path.parents for path in installed)
