"""One cache of speeds for all runs; no MLflow, no report."""

import os

import pytest

from builders.speeds import write_speeds

for _section in ("MLFLOW__ENABLED", "REPORT"):
    os.environ.setdefault(f"CNN_LSTM_HYPEROPT__{_section}", "false")


@pytest.fixture(scope="session", autouse=True)
def speeds(tmp_path_factory: pytest.TempPathFactory) -> None:
    write_speeds(tmp_path_factory.mktemp("cache"))
