"""A forecast of few configurations, and one fitted estimator of each kind."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest

from builders.estimators import QUICK, level, panel
from cnn_lstm_hyperopt import CNNLSTMClassifier, CNNLSTMRegressor


@contextlib.contextmanager
def few_sampled() -> Iterator[None]:
    """Context in which a forecast samples 50 configurations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 50)
        yield


@pytest.fixture(autouse=True)
def short_forecast() -> Iterator[None]:
    with few_sampled():
        yield


@pytest.fixture(scope="session")
def classifier() -> CNNLSTMClassifier:
    x = panel()
    with few_sampled():
        return CNNLSTMClassifier(**QUICK).fit(x, np.where(level(x) > 0, "up", "down"))


@pytest.fixture(scope="session")
def regressor() -> CNNLSTMRegressor:
    x = panel()
    with few_sampled():
        return CNNLSTMRegressor(**QUICK).fit(x, level(x))
