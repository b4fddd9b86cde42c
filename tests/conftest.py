"""What tests of several folders use: a search that ends in seconds, on real bars."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]

TINY = {
    "study": {"n_trials": 6},
    "data": {
        "source": "embedded",
        "symbols": ["AAPL", "IBM"],
        "start": "2004-01-01",
        "end": "2008-12-31",
        "target": "volatility",
        "lookback": 10,
        "train_share": 0.5,
    },
    "training": {"max_epochs": 3},
    "pruner": {"n_startup_trials": 2, "n_warmup_steps": 1},
    "sampler": {"n_startup_trials": 3},
    "retrain": {"top_k": 2, "full_epochs": 2},
    "search_space": {
        "cnn": {"num_filters": [4, 8], "attention_heads": [1, 2]},
        "lstm": {"hidden_dim": [8, 16], "num_layers": [1, 2], "attention_heads": [1, 2]},
        "fusion": {"dim": [8, 16], "attention_heads": [1, 2]},
        "training": {"batch_size": [64, 128], "learning_rate": [1e-3, 2e-2], "optimizer": ["adam", "rmsprop"]},
    },
}
"""Settings of a search whose trials take a fraction of a second and learn something."""


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """:data:`TINY`, for fixtures of a wider scope; without a directory."""
    return TINY


@pytest.fixture
def tiny(tmp_path: Path) -> dict[str, Any]:
    """:data:`TINY` with a directory of its own."""
    return {**TINY, "save_dir": str(tmp_path / "results")}


@pytest.fixture
def tiny_file(tiny: dict[str, Any], tmp_path: Path) -> Path:
    """The same as a YAML file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny), encoding="utf-8")
    return path


Cli = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_cli() -> Cli:
    """Starts the command line as a process of its own, as a user does."""

    def start(*arguments: str | Path) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "cnn_lstm_hyperopt", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start
