"""Predictions of bars of one symbol or of several, of windows, and of inputs that can't be used."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from builders.models import own_inputs, untrained
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.window_table import frame_windows
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.inference.metadata import ModelDescription

LOOKBACK, WARM_UP = 20, 33


@pytest.fixture(scope="module")
def symbols(bars):
    (other,), _ = EmbeddedSource().load(("IBM",), bars.index[0].date(), bars.index[299].date())
    return {"AAPL": bars.iloc[:300], "IBM": other.frame}


@pytest.fixture(scope="module")
def stacked(symbols):
    """All symbols in one frame, in the order of the days."""
    parts = [frame.reset_index().assign(Symbol=symbol) for symbol, frame in symbols.items()]
    return pd.concat(parts).sort_values(["date", "Symbol"], ignore_index=True)


def error_of(call):
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value).isprintable()
    return caught.value.field, caught.value.code


def test_bars_are_predicted_as_their_windows_are(model, dataset, bars):
    frame = model.predict_bars(bars, "AAPL").set_index("date")
    for windows in (dataset.train, dataset.validation, dataset.test.open()):
        predictions = model.predict_windows(windows)
        same = frame.loc[windows.dates]
        assert len(same) == len(windows)
        np.testing.assert_allclose(same[["probability_0", "probability_1"]], predictions.probabilities, atol=1e-5)
        np.testing.assert_allclose(same["value"], predictions.values, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(same["class"], predictions.classes)


def test_the_last_bar_is_predicted_though_its_label_is_not_known_yet(model, bars):
    frame = model.predict_bars(bars)
    assert frame["date"].iloc[-1] == bars.index[-1]
    assert len(frame) == len(bars) - WARM_UP - LOOKBACK + 1
    columns = "date class class_name probability_0 probability_1 value range_percent"
    assert " ".join(frame.columns) == columns
    assert (frame["class_name"] == np.where(frame["class"] == 1, "volatile", "calm")).all()
    assert frame.attrs == {"class_names": ["calm", "volatile"], "value_name": "ln(ln(high / low)) of bar t+1"}


def test_values_are_also_given_in_per_cent_but_not_a_users_own(model, dataset, bars):
    predicted = model.predict_bars(bars)
    expected = 100 * (np.exp(np.exp(predicted["value"].to_numpy(np.float64))) - 1)
    np.testing.assert_allclose(predicted["range_percent"], expected, rtol=1e-6)
    actual = model.description.own_unit.convert(dataset.train.values.numpy().astype(np.float64))
    following = bars.shift(-1).loc[dataset.train.dates]
    np.testing.assert_allclose(actual, 100 * (following["high"] / following["low"] - 1), rtol=1e-4)
    unit = replace(model.description, target="direction").own_unit
    assert unit.column == "change_percent"
    np.testing.assert_allclose(unit.convert(np.log([1.02, 0.95])), [2, -5])
    assert own_inputs(target="volatility", value_name="y_reg").own_unit is None


def test_only_the_last_windows_are_computed_when_only_they_are_wanted(model, bars):
    computed = []
    with model.network.register_forward_hook(lambda module, args, output: computed.append(len(args[0]))):
        last = model.predict_frame(bars, "AAPL", last=3)
    assert sum(computed) == 3
    pd.testing.assert_frame_equal(last, model.predict_bars(bars, "AAPL").tail(3).reset_index(drop=True), rtol=1e-5)


def test_a_prediction_looks_back_only_and_bars_may_come_in_any_order_and_case(model, bars):
    every, until = (model.predict_bars(frame).set_index("date") for frame in (bars, bars.iloc[:300]))
    columns = ["probability_0", "probability_1", "value"]
    np.testing.assert_allclose(every.loc[until.index, columns], until[columns], rtol=1e-4, atol=1e-6)
    mixed = bars.iloc[:300].reset_index().sample(frac=1, random_state=0).rename(columns=str.upper)
    pd.testing.assert_frame_equal(model.predict_bars(mixed).set_index("date"), until)


def test_no_window_crosses_a_hole(model, bars):
    frame = model.predict_bars(pd.concat([bars.iloc[:100], bars.iloc[140:260]]))
    whole = model.predict_bars(bars.iloc[140:260])
    assert len(frame) == (100 - WARM_UP - LOOKBACK + 1) + len(whole)
    np.testing.assert_allclose(frame["value"].tail(len(whole)), whole["value"], rtol=1e-4, atol=1e-6)


def test_several_symbols_are_predicted_from_a_column_or_a_dict(model, symbols, stacked):
    found = model.predict(symbols)
    for symbol, frame in symbols.items():
        own = found[found["symbol"] == symbol].drop(columns="symbol").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, model.predict_bars(frame))
        pd.testing.assert_frame_equal(own, model.predict(frame))
    pd.testing.assert_frame_equal(model.predict(stacked), found)
    pd.testing.assert_frame_equal(model.predict(stacked.set_index(["Symbol", "date"])), found)
    assert found.attrs == model.predict(symbols["IBM"]).attrs


def test_windows_are_predicted_as_the_bars_that_they_are_of(model, symbols):
    features, ends, _ = frame_windows(symbols["AAPL"], LOOKBACK, 10.0)
    windows = np.stack([features[end - LOOKBACK + 1 : end + 1] for end in ends])  # in the features' own units
    expected = model.predict(symbols["AAPL"]).drop(columns="date")
    for data in (windows, torch.from_numpy(windows)):
        pd.testing.assert_frame_equal(model.predict(data), expected)
    halves = torch.from_numpy(windows).bfloat16()
    pd.testing.assert_frame_equal(model.predict(halves), model.predict(halves.float().numpy()))


def test_windows_of_a_model_of_own_inputs_come_scaled(bars):
    own = untrained(own_inputs())
    inputs = torch.randn(4, 6, 2, generator=torch.Generator().manual_seed(1))
    found = own.predict(inputs)
    assert found.columns.tolist() == ["class", "class_name", "probability_0", "probability_1"]
    with torch.no_grad():
        expected = torch.softmax(own.network(inputs).logits, dim=-1)
    np.testing.assert_allclose(found[["probability_0", "probability_1"]], expected, atol=1e-6)
    assert error_of(lambda: own.predict(bars)) == ("bars", "model-reads-no-bars")


@pytest.mark.parametrize(
    ("data", "field", "code"),
    [
        *((nonsense, "data", "not-bars") for nonsense in (None, "bars.csv", [[1.0]], 3)),
        ({}, "data", "no-symbols"),
        ({"AAPL": 3}, "bars", "not-bars"),
        *((np.zeros(shape), "data", "windows-shape") for shape in ((5, 11), (5, 9, 11), (0, 20, 11))),
        (np.full((2, 20, 11), "x"), "data", "windows-not-numbers"),
        (np.full((2, 20, 11), np.nan), "data", "windows-not-finite"),
        (np.full((2, 20, 11), np.inf), "data", "windows-not-finite"),
    ],
)
def test_what_is_neither_bars_nor_windows_is_refused(model, data, field, code):
    assert error_of(lambda: model.predict(data)) == (field, code)


def test_invalid_bars_are_refused(model, symbols, stacked, bars):
    short = {"AAPL": symbols["AAPL"], "SHORT": symbols["IBM"].iloc[:40]}
    nameless = stacked.assign(Symbol=stacked["Symbol"].where(stacked.index != 2))
    assert error_of(lambda: model.predict(short)) == ("SHORT", "too-few-bars")
    assert error_of(lambda: model.predict(nameless)) == ("symbol", "symbol-missing")
    assert error_of(lambda: model.predict(stacked.assign(symbol="x"))) == ("symbol", "ambiguous-columns")
    assert error_of(lambda: model.predict_bars(bars.iloc[:200].assign(volume=-1.0), "X\x1b"))[1] == "negative-volume"


def test_bars_of_another_frequency_are_refused_unless_an_old_description_has_none(model, symbols):
    assert model.description.bar_seconds == 86_400
    weekly = symbols["AAPL"].set_axis(pd.date_range("2001-01-05", periods=300, freq="7D", name="date"))
    assert error_of(lambda: model.predict({"AAPL": weekly})) == ("AAPL", "other-frequency")
    stored = json.loads(json.dumps(model.description.as_dict()))
    assert ModelDescription.from_dict(stored) == model.description
    del stored["bar_seconds"]
    older = replace(model, description=ModelDescription.from_dict(stored))
    assert len(older.predict(weekly)) == len(model.predict(symbols["AAPL"]))
