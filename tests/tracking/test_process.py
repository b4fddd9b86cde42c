"""The tracking process from the side of the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from builders.errors import raises
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.errors import InterruptedRunError, TrackingError
from cnn_lstm_hyperopt.search import State
from cnn_lstm_hyperopt.tracking.process import ExportProcess, track_once, tracked
from cnn_lstm_hyperopt.tracking.subscriber import TrackerExport
from cnn_lstm_hyperopt.tracking.sync_status import SyncStatus
from cnn_lstm_hyperopt.tracking.trackers.mlflow import Mlflow
from cnn_lstm_hyperopt.tracking.worker import lock_file

from .conftest import Planted, add_trials, exported, target_of


@pytest.fixture
def dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tracking process dies at its start."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'cnn_lstm_hyperopt.tracking.worker' in sys.orig_argv:\n"
        "    os.write(2, b'first\\nImportError: no mlflow for http://me:secret@host/\\n')\n"
        "    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def run_events(export: TrackerExport, settings: Settings, ending: BaseException | None) -> None:
    unused: Any = None
    export.on_settings(settings)
    export.on_study(settings, unused, {})
    export.on_study_end(ending)


def test_a_process_that_dies_at_start_reports_why_without_secrets(planted: Planted, dying: None) -> None:
    save_dir = planted([State.COMPLETE])
    error = ExportProcess(save_dir, Mlflow, target_of(save_dir)).finish(600).error
    assert all(part in error for part in ("exit code 1", "no mlflow for http://"))
    assert "secret" not in error


def test_missing_trials_and_models_are_counted() -> None:
    assert SyncStatus(trials=18).missing(30) == "12 of 30 trials"
    assert SyncStatus(trials=30, models=1, of_models=3).missing(30) == "2 of 3 retrained models"
    assert SyncStatus(trials=30).missing(30) == ""


def test_the_process_ends_when_the_run_is_killed(planted: Planted) -> None:
    """The operating system closes the pipe of a killed run; the process has no other sign of it."""
    save_dir = planted([State.COMPLETE])
    export = ExportProcess(save_dir, Mlflow, target_of(save_dir))
    with export._folder:
        assert export._process.stdin is not None
        export._process.stdin.close()
        assert export._process.wait(600) == 1


def test_only_one_process_exports_a_study(planted: Planted) -> None:
    save_dir = planted([State.COMPLETE])
    with FileLock(lock_file(save_dir, Mlflow)), raises(TrackingError, "not-exported") as text:
        track_once(load_settings(save_dir / "config.yaml", environment={}), Mlflow)
    assert str(save_dir) in text[0]


@pytest.mark.parametrize("ending", [None, InterruptedRunError("Ctrl-C"), KeyboardInterrupt()], ids=repr)
def test_the_end_of_a_run_reports_what_is_missing_and_the_command_that_sends_it(
    planted: Planted, dying: None, ending: BaseException | None
) -> None:
    save_dir = planted([State.COMPLETE, State.RUNNING])
    settings = load_settings(save_dir / "config.yaml", environment={})
    lines: list[str] = []
    export = TrackerExport(lines.append, lines.append)
    run_events(export, settings, ending)
    (line,) = lines
    assert all(part in line for part in ("1 of 1 trials", f"track --save-dir {save_dir}"))


@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_trials_that_an_earlier_run_exported_are_not_called_missing(planted: Planted, dying: None) -> None:
    save_dir = planted([State.COMPLETE] * 2)
    assert exported(save_dir).known
    settings = load_settings(save_dir / "config.yaml", environment={})
    lines: list[str] = []
    with tracked(settings, Mlflow, say=pytest.fail, warn=lines.append):
        add_trials(save_dir, [State.COMPLETE])
    (line,) = lines
    assert all(part in line for part in ("3 of 3 trials may be", "exit code 1"))


def test_a_process_that_can_not_start_and_a_study_that_is_gone_are_reported(
    planted: Planted, dying: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dir = planted([State.COMPLETE])
    settings = load_settings(save_dir / "config.yaml", environment={})
    lines: list[str] = []
    with tracked(settings, Mlflow, say=pytest.fail, warn=lines.append):
        (save_dir / "study.db").unlink()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with tracked(settings, Mlflow, say=pytest.fail, warn=lines.append):
        pass
    assert len(lines) == 2
    assert all("track" in line for line in lines)


def test_off_means_nothing_happens(planted: Planted) -> None:
    settings = load_settings(planted([State.COMPLETE], enabled=False) / "config.yaml", environment={})
    fail: Callable[[str], None] = pytest.fail
    run_events(TrackerExport(fail, fail), settings, None)
