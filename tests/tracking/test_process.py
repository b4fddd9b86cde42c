"""The tracking process from the side of the run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.errors import InterruptedRunError, TrackingError
from cnn_lstm_hyperopt.search import State
from cnn_lstm_hyperopt.tracking.process import ExportProcess, SyncStatus, track_once, tracked
from cnn_lstm_hyperopt.tracking.subscriber import MlflowExport
from cnn_lstm_hyperopt.tracking.worker import LOCK_FILE

from .conftest import Planted, target_of


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


def test_a_process_that_dies_at_start_reports_why_without_secrets(planted: Planted, dying: None) -> None:
    save_dir = planted([State.COMPLETE])
    error = ExportProcess(save_dir, target_of(save_dir)).finish(600).error
    assert "exit code 1" in error
    assert "no mlflow for http://" in error
    assert "secret" not in error


@pytest.mark.parametrize(
    ("status", "missing"),
    [
        (SyncStatus(trials=18), "12 of 30 trials"),
        (SyncStatus(trials=30, models=1, of_models=3), "2 of 3 retrained models"),
        (SyncStatus(trials=30), ""),
    ],
)
def test_missing_trials_and_models_are_counted(status: SyncStatus, missing: str) -> None:
    assert status.missing(30) == missing


def test_the_process_ends_when_the_run_is_killed(planted: Planted) -> None:
    """The operating system closes the pipe of a killed run; the process has no other sign of it."""
    save_dir = planted([State.COMPLETE])
    export = ExportProcess(save_dir, target_of(save_dir))
    with export._folder:
        assert export._process.stdin is not None
        export._process.stdin.close()
        assert export._process.wait(600) == 1


def test_only_one_process_exports_a_study(planted: Planted) -> None:
    save_dir = planted([State.COMPLETE])
    with FileLock(save_dir / LOCK_FILE), pytest.raises(TrackingError) as caught:
        track_once(load_settings(save_dir / "config.yaml", environment={}))
    assert caught.value.code == "not-exported"
    assert str(save_dir) in str(caught.value)


@pytest.mark.parametrize("ending", [None, InterruptedRunError("Ctrl-C"), KeyboardInterrupt()], ids=repr)
def test_the_end_of_a_run_reports_what_is_missing_and_the_command_that_sends_it(
    planted: Planted, dying: None, ending: BaseException | None
) -> None:
    save_dir = planted([State.COMPLETE, State.RUNNING])
    settings = load_settings(save_dir / "config.yaml", environment={})
    lines: list[str] = []
    export = MlflowExport(lines.append, lines.append)
    unused: Any = None
    export.on_settings(settings)
    export.on_study(settings, unused, {})
    export.on_study_end(ending)
    (line,) = lines
    assert "1 of 1 trials" in line
    assert f"track --save-dir {save_dir}" in line


def test_a_process_that_can_not_start_and_a_study_that_is_gone_are_reported(
    planted: Planted, dying: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dir = planted([State.COMPLETE])
    settings = load_settings(save_dir / "config.yaml", environment={})
    lines: list[str] = []
    with tracked(settings, say=pytest.fail, warn=lines.append):
        (save_dir / "study.db").unlink()
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with tracked(settings, say=pytest.fail, warn=lines.append):
        pass
    assert len(lines) == 2
    assert all("track" in line for line in lines)


def test_off_means_nothing_happens(planted: Planted) -> None:
    settings = load_settings(planted([State.COMPLETE], enabled=False) / "config.yaml", environment={})
    fail: Callable[[str], None] = pytest.fail
    export = MlflowExport(fail, fail)
    export.on_settings(settings)
    unused: Any = None
    export.on_study(settings, unused, {})
    export.on_study_end(None)
    track_once(settings)
