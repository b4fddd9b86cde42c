"""A forecast of few configurations, and one fitted estimator of each kind."""

from collections.abc import Iterator

import numpy as np
import pytest

from builders.estimators import QUICK, level, panel
from cnn_lstm_hyperopt import CNNLSTMClassifier, CNNLSTMRegressor


@pytest.fixture(autouse=True, scope="session")
def short_forecast() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnn_lstm_hyperopt.search.cost_forecast.SAMPLED", 50)
        yield


@pytest.fixture(scope="session")
def classifier(short_forecast) -> CNNLSTMClassifier:
    x = panel()
    return CNNLSTMClassifier(**QUICK).fit(x, np.where(level(x) > 0, "up", "down"))


@pytest.fixture(scope="session")
def regressor(short_forecast) -> CNNLSTMRegressor:
    x = panel()
    return CNNLSTMRegressor(**QUICK).fit(x, level(x))
