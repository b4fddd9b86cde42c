"""Real bars, a model of them, and one thread for tests that compare bits."""

from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from builders.finalists import params
from builders.models import untrained
from builders.trainings import one_thread_and_a_seed  # noqa: F401
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel

SPAN = (date(2005, 1, 3), date(2008, 12, 31))


@pytest.fixture(scope="session")
def dataset(apple) -> Dataset:
    return apple(start=SPAN[0], end=SPAN[1], lookback=20)


@pytest.fixture(scope="session")
def bars() -> pd.DataFrame:
    (loaded,), _ = EmbeddedSource().load(("AAPL",), *SPAN)
    return loaded.frame


@pytest.fixture(scope="session")
def model(dataset) -> SavedModel:
    """Untrained: what is saved is weights, not skill."""
    return untrained(ModelDescription.of(dataset, params(), max_gap_days=10.0))


@pytest.fixture
def folder(tmp_path, model) -> Path:
    model.save(tmp_path / "retrained_model_1")
    return tmp_path / "retrained_model_1"
