"""The tracking process from the side of the run."""

from pathlib import Path

import pytest

from cnn_lstm_hyperopt.search import State
from cnn_lstm_hyperopt.tracking.process import ExportProcess, SyncStatus

from .conftest import Planted, target_of


def test_a_process_that_dies_at_start_says_why_and_no_secret(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dir = planted([State.COMPLETE], enabled=True)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'cnn_lstm_hyperopt.tracking.worker' in sys.orig_argv:\n"
        "    os.write(2, b'first\\nImportError: no mlflow for http://me:secret@host/\\n')\n"
        "    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    error = ExportProcess(save_dir, target_of(save_dir)).finish(600).error
    assert error.startswith("its process ended with exit code 1: ImportError: no mlflow for http://")
    assert "secret" not in error


def test_missing_trials_and_models_are_counted() -> None:
    assert SyncStatus(trials=18).missing(30) == "12 of 30 trials"
    assert SyncStatus(trials=30, models=1, of_models=2).missing(30) == "1 of 2 retrained models"
    assert SyncStatus(trials=29, models=0, of_models=2).missing(30) == "1 of 30 trials and 2 of 2 retrained models"
    assert SyncStatus(trials=30).missing(30) == ""


def test_the_process_ends_when_the_run_is_killed(planted: Planted) -> None:
    """The system closes the pipe of a process that is gone."""
    save_dir = planted([State.COMPLETE])
    export = ExportProcess(save_dir, target_of(save_dir))
    with export._folder:
        assert export._process.stdin is not None
        export._process.stdin.close()
        assert export._process.wait(600) == 1
