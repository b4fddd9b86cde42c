"""The baselines in examples/, on real bars: their windows, their scores, and the error without weights."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss

from builders.errors import raises
from cnn_lstm_hyperopt.config import DataSettings, Settings, load_settings
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.data.own_function import load_callable
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.evaluation.baselines.own_model import OwnModel
from cnn_lstm_hyperopt.pipeline.own_baselines import baseline_windows, forecasts_of

ROOT = Path(__file__).parents[1]
TARGETS = {
    "direction": {"horizon": 3},
    "direction of 3": {"horizon": 3, "direction_classes": 3, "dead_zone_atr": 0.5},
    "volatility": {"horizon": 2},
    "triple_barrier": {"horizon": 4, "barriers_atr": (1.0, 1.5)},
}
NAMES = {"fracast": "examples.baselines.fracast_zero_shot:forecast", "har": "examples.baselines.har:fit"}


def settings_of(reference: str = "examples.baselines.har:fit") -> Settings:
    return load_settings({"evaluation": {"baselines": [reference]}}, environment={})


def bars_of(name: str) -> Dataset:
    """Windows of one symbol over four years, with prices."""
    data = {
        "start": date(2005, 1, 3),
        "end": date(2008, 12, 31),
        "lookback": 20,
        "target": name.split()[0],
        **TARGETS[name],
    }
    return prepare_dataset(
        DataSettings(source="embedded", symbols=("AAPL",), **data), evaluation=settings_of().evaluation
    )


@pytest.fixture
def example(monkeypatch):
    """Load an example from the root of the repository."""
    monkeypatch.chdir(ROOT)
    return lambda reference: load_callable(reference, "evaluation.baselines")


@pytest.mark.parametrize("name", TARGETS)
def test_a_series_continues_to_the_value_and_edges_separate_the_classes(name):
    (train,) = baseline_windows(dataset := bars_of(name), [dataset.train], 0)
    series, horizon, n = train.series(5), train.horizon, len(train)
    later = series[horizon:, -1] if name == "volatility" else -series[horizon:, -1 - horizon]
    passed = (train.values[:, None] > train.edges).sum(axis=1)
    if name == "triple_barrier":  # the value is that of the exit, which is the barrier itself if a barrier is passed
        neither = np.flatnonzero(train.labels[: n - 2 * horizon] == 1)  # the last windows are purged by their own reach
        np.testing.assert_allclose(later[neither], train.values[neither], atol=1e-6)
        hit = np.flatnonzero(train.labels != 1)
        np.testing.assert_allclose(train.values[hit], train.edges[hit, train.labels[hit] // 2], atol=1e-6)
    else:
        np.testing.assert_allclose(later, train.values[: n - horizon], atol=1e-6)
        np.testing.assert_array_equal(passed, train.labels)


def test_har_is_better_than_chance_on_ranges(example):
    train, validation, test = baseline_windows(
        dataset := bars_of("volatility"), [dataset.train, dataset.validation, dataset.test.open()], 0
    )
    model = OwnModel(NAMES["har"], example(NAMES["har"]), train, validation)
    model.require_separate(test)
    assert log_loss(test.labels, model.probabilities(test)) < log_loss(
        test.labels, np.full(len(test), train.labels.mean())
    )
    assert np.corrcoef(model.values(test), test.values)[0, 1] > 0.3


def test_missing_weights_are_one_clear_line(example, monkeypatch):
    monkeypatch.setenv("CHRONOS2_PATH", "/nowhere/chronos-2")
    (train,) = baseline_windows(dataset := bars_of("volatility"), [dataset.train], 0)
    with raises(DataError, "function-raises", "evaluation.baselines") as text:
        OwnModel("examples.baselines.chronos2:forecast", example("examples.baselines.chronos2:forecast"), train, train)
    assert "/nowhere/chronos-2" in text[0]
    assert text[0].isprintable()


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize("name", ["volatility", "direction", "direction of 3", "triple_barrier"])
def test_a_zero_shot_model_forecasts_every_target(example, name):
    """On ranges the model is better than chance, without any training."""
    pytest.importorskip("fracast")
    dataset = bars_of(name)
    test = dataset.test.open()
    found = forecasts_of(
        NAMES["fracast"], dataset, (dataset.train, dataset.validation, test), settings_of(NAMES["fracast"])
    )
    assert found.probabilities.shape == (len(test), dataset.n_classes)
    if name == "volatility":
        labels, rates = test.labels.numpy(), dataset.train.labels.numpy().mean()
        assert log_loss(labels, found.probabilities) < log_loss(labels, np.full(len(test), rates))
