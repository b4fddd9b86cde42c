"""Predictions of whatever there is: bars of one symbol, of several in a frame or a dict, or windows; decided by type."""

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
import torch

from builders.finalists import params
from cnn_lstm_hyperopt.data.frequency import duration, step_seconds
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.window_table import frame_windows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.training import ValueScale

LOOKBACK, DAY = 10, 86_400.0


def model_of(description: ModelDescription) -> SavedModel:
    """Untrained: what is asked here is how inputs are read."""
    network = build_network(description.network_config(), seed=3, device=torch.device("cpu"))
    return SavedModel(network.eval(), description)


@pytest.fixture(scope="module")
def model(apple) -> SavedModel:
    return model_of(ModelDescription.of(apple(lookback=LOOKBACK), params(), max_gap_days=10.0))


@pytest.fixture(scope="module")
def bars() -> dict[str, pd.DataFrame]:
    loaded, _ = EmbeddedSource().load(("AAPL", "IBM"), date(2007, 1, 1), date(2007, 6, 30))
    return {each.symbol: each.frame for each in loaded}


@pytest.fixture(scope="module")
def stacked(bars) -> pd.DataFrame:
    """All symbols in one frame, row by row as the days go."""
    parts = [frame.reset_index().assign(Symbol=symbol) for symbol, frame in bars.items()]
    return pd.concat(parts).sort_values(["date", "Symbol"], ignore_index=True)


@pytest.fixture(scope="module")
def windows(model, bars) -> np.ndarray:
    """``(windows, lookback, features)`` in the features' own units."""
    features, ends, _ = frame_windows(bars["AAPL"], LOOKBACK, 10.0)
    return np.stack([features[end - LOOKBACK + 1 : end + 1] for end in ends])


def test_a_frame_of_one_symbol_is_predicted_as_its_bars_are(model, bars):
    pd.testing.assert_frame_equal(model.predict(bars["AAPL"]), model.predict_bars(bars["AAPL"]))


def test_several_symbols_are_told_apart_by_a_column_or_by_a_dict(model, bars, stacked):
    found = model.predict(bars)
    names = ["symbol", "date", "class", "class_name", "probability_0", "probability_1", "value", "range_percent"]
    assert found.columns.tolist() == names
    for symbol, frame in bars.items():
        own = found[found["symbol"] == symbol].drop(columns="symbol").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, model.predict_bars(frame))
    pd.testing.assert_frame_equal(model.predict(stacked), found)
    assert found.attrs == model.predict(bars["IBM"]).attrs


def test_windows_are_predicted_as_the_bars_that_they_are_of(model, bars, windows):
    expected = model.predict(bars["AAPL"]).drop(columns="date")
    for data in (windows, torch.from_numpy(windows)):
        pd.testing.assert_frame_equal(model.predict(data), expected)


def test_windows_of_a_model_of_own_inputs_come_scaled(model):
    plain = ModelDescription(
        params=params(),
        class_names=("down", "up"),
        value_name=None,
        features=("a", "b"),
        scaler=None,
        value_scale=ValueScale(0.0, 1.0),
        target="y_class",
        lookback=6,
        horizon=1,
        max_gap_days=10.0,
    )
    own = model_of(plain)
    inputs = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(1))
    found = own.predict(inputs)
    assert found.columns.tolist() == ["class", "class_name", "probability_0", "probability_1"]
    with torch.no_grad():
        expected = torch.softmax(own.network(inputs).logits, dim=-1)
    np.testing.assert_allclose(found[["probability_0", "probability_1"]], expected, atol=1e-6)
    with pytest.raises(DataError, match="reads inputs of its own"):
        own.predict(pd.DataFrame({"close": [1.0]}))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "predict needs a pandas DataFrame .*, but got NoneType"),
        ("bars.csv", "but got str; read a file with pandas.read_csv"),
        ([[1.0]], "but got list"),
        ({}, "the bars of one symbol at least"),
        ({"AAPL": 3}, "AAPL: bars must be a pandas DataFrame .*, but are int"),
        (np.zeros((5, 11)), r"the shape \(windows, 10, 11\).*but have the shape \(5, 11\)"),
        (np.zeros((5, 9, 11)), r"have the shape \(5, 9, 11\)"),
        (np.zeros((0, 10, 11)), r"have the shape \(0, 10, 11\)"),
        (np.full((2, 10, 11), "x"), "must hold numbers, but hold <U1"),
        (np.full((2, 10, 11), np.nan), "close_return of window 0 is nan"),
        (np.full((2, 10, 11), np.inf), "close_return of window 0 is inf"),
    ],
)
def test_what_can_not_be_predicted_is_one_clear_line(model, data, message):
    with pytest.raises(DataError, match=message) as raised:
        model.predict(data)
    assert "\n" not in str(raised.value)


def test_a_row_without_a_symbol_is_refused(model, stacked):
    with pytest.raises(DataError, match="row 2 has none"):
        model.predict(stacked.assign(Symbol=stacked["Symbol"].where(stacked.index != 2)))
    with pytest.raises(DataError, match="2 columns symbol"):
        model.predict(stacked.assign(symbol="x"))


def test_a_symbol_with_too_few_bars_is_named(model, bars):
    with pytest.raises(DataError, match="SHORT: 40 bars hold no whole window of 10 bars"):
        model.predict({"AAPL": bars["AAPL"], "SHORT": bars["IBM"].iloc[:40]})


def test_bars_of_another_frequency_are_refused(model, bars):
    assert model.description.bar_seconds == DAY
    weekly = bars["AAPL"].set_axis(pd.date_range("2001-01-05", periods=len(bars["AAPL"]), freq="7D", name="date"))
    with pytest.raises(DataError, match="bars are 7 days apart, but this model was trained on bars 1 day apart"):
        model.predict({"AAPL": weekly})
    unknowing = replace(model, description=replace(model.description, bar_seconds=None))
    assert len(unknowing.predict(weekly)) == len(model.predict(bars["AAPL"]))


def test_a_description_keeps_the_distance_of_bars_and_those_of_before_do_without(model):
    stored = json.loads(json.dumps(model.description.as_dict()))
    assert ModelDescription.from_dict(stored) == model.description
    del stored["bar_seconds"]
    assert ModelDescription.from_dict(stored).bar_seconds is None
    with pytest.raises(ValueError, match="bar_seconds must be greater than 0"):
        ModelDescription.from_dict({**stored, "bar_seconds": 0.0})


def test_distances_are_told_in_words():
    assert [duration(each) for each in (DAY, 7 * DAY, 300.0, 60.0, 3_600.0, 1.5)] == [
        "1 day",
        "7 days",
        "5 minutes",
        "1 minute",
        "1 hour",
        "1.5 seconds",
    ]
    assert step_seconds(np.array([5], dtype=np.int64)) is None
