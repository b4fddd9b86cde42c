"""The tracking process from the side of the run."""

from pathlib import Path

import pytest

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.search import State
from cnn_lstm_hyperopt.tracking.process import Follower
from cnn_lstm_hyperopt.tracking.target import tracking_target


def test_a_process_that_dies_at_start_says_why_and_no_secret(
    planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dir = planted([State.COMPLETE], enabled=True)
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'cnn_lstm_hyperopt.tracking' in sys.orig_argv:\n"
        "    os.write(2, b'first\\nImportError: no mlflow for http://me:secret@host/\\n')\n"
        "    os._exit(1)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    target = tracking_target(load_settings(save_dir / "config.yaml", environment={}))
    assert target is not None
    problem = Follower(save_dir, target).end(600).problem
    assert problem.startswith("its process ended with exit code 1: ImportError: no mlflow for http://")
    assert "secret" not in problem
