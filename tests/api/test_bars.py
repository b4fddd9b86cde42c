"""Bars in memory, in the forms that people have."""

import numpy as np
import pandas as pd
import pytest

from cnn_lstm_hyperopt import search_bars
from cnn_lstm_hyperopt.api.estimators.bars import _write, tables_by_symbol
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.sources.files import FileSource
from cnn_lstm_hyperopt.errors import DataError, InputError, SaveDirError


def frame(rows=30, seed=0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    opened = np.roll(close, 1)
    return pd.DataFrame(
        {
            "Open": opened,
            "High": np.maximum(opened, close) * 1.01,
            "Low": np.minimum(opened, close) * 0.99,
            "Close": close,
            "Volume": rng.integers(1000, 2000, rows),
        },
        index=pd.bdate_range("2020-01-01", periods=rows, name="Date"),
    )


A, B = frame(), frame(25, 1)


def yfinance(*, symbols_first):
    names = ["Ticker", "Price"] if symbols_first else ["Price", "Ticker"]
    both = pd.concat({"AAA": A, "BBB": B}, axis=1, names=["Ticker", "Price"])
    return both if symbols_first else both.swaplevel(axis=1).set_axis(both.columns.swaplevel().set_names(names), axis=1)


FORMS = {
    "dict": {"AAA": A, "BBB": B},
    "yfinance": yfinance(symbols_first=False),
    "yfinance, by ticker": yfinance(symbols_first=True),
    "column": pd.concat([A.assign(Symbol="AAA"), B.assign(Symbol="BBB")]),
    "index level": pd.concat({"AAA": A, "BBB": B}, names=["ticker", "Date"]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_bars_as_files(form, tmp_path):
    folder = _write(tables_by_symbol(FORMS[form]), tmp_path / "results")
    bars, _ = FileSource(folder).load([], None, None)
    assert [each.symbol for each in bars] == ["AAA", "BBB"]
    for each, expected in zip(bars, (A, B), strict=True):
        np.testing.assert_array_equal(each.frame["close"], expected["Close"])
        assert list(each.frame.index) == list(expected.index)


@pytest.mark.parametrize(
    "table", [A, A.reset_index(), A.tz_localize("America/New_York")], ids=["index", "column", "time zone"]
)
def test_a_table_of_one_symbol_needs_no_name(table, tmp_path):
    bars, _ = FileSource(_write(tables_by_symbol(table), tmp_path / "results")).load([], None, None)
    assert [(each.symbol, len(each.frame)) for each in bars] == [("bars", 30)]


@pytest.mark.parametrize(
    ("bars", "field", "code"),
    [
        ([A], "bars", "not-bars"),
        ({}, "bars", "no-symbols"),
        ({"AAA": [1]}, "bars", "not-bars"),
        ({1: A}, "bars", "not-bars"),
        ({"a/b": A}, "data.symbols", "bad-symbol"),
        ({"AAA": A, "aaa": B}, "data.symbols", "duplicate-symbol"),
        (A.assign(symbol=None), "bars", "symbol-missing"),
        (pd.concat({"x": A[["Open"]]}, axis=1), "bars", "missing-column"),
    ],
)
def test_other_bars_are_refused(bars, field, code):
    with pytest.raises(DataError) as caught:
        tables_by_symbol(bars)
    assert (caught.value.field, caught.value.code) == (field, code)


def test_a_refused_call_leaves_no_bars_and_a_directory_in_use_is_not_changed(tmp_path):
    with pytest.raises(InputError):
        search_bars(A.drop(columns="Close"), save_dir=tmp_path / "results", quiet=True)
    assert not (tmp_path / "results" / "bars").exists()
    (tmp_path / "results" / "bars").mkdir(parents=True)
    with pytest.raises(SaveDirError) as caught:
        search_bars(A, save_dir=tmp_path / "results", quiet=True)
    assert (caught.value.field, caught.value.code) == ("save_dir", "files-without-study")


@pytest.mark.slow
def test_a_search_on_bars_in_memory_is_that_on_the_same_files(tiny, tmp_path):
    bars, _ = EmbeddedSource().load(("AAPL", "IBM"), None, None)
    tables = {each.symbol: each.frame.loc["2004":"2008"] for each in bars}
    data = {"lookback": 10, "train_share": 0.5}
    config = {**{name: value for name, value in tiny.items() if name != "save_dir"}, "data": data}
    found = search_bars(
        tables,
        target="volatility",
        budget="10m",
        n_trials=2,
        save_dir=tmp_path / "r",
        retrain_best=False,
        config=config,
        quiet=True,
    )
    assert found["n_trials_completed"] == 2
    assert sorted(path.name for path in (tmp_path / "r" / "bars").iterdir()) == ["AAPL.parquet", "IBM.parquet"]
