"""Tests import a benchmark as it runs: from its own folder. No test reads the user's cache of machine speeds."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

from cnn_lstm_hyperopt.training.machine_benchmark import CACHE_VARIABLE

BENCHMARKS = Path(__file__).parents[1]
sys.path.insert(0, str(BENCHMARKS))
for section in ("MLFLOW__ENABLED", "REPORT"):
    os.environ.setdefault(f"CNN_LSTM_HYPEROPT__{section}", "false")
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An empty cache of machine speeds."""
    os.environ[CACHE_VARIABLE] = str(tmp_path_factory.mktemp("cache"))
