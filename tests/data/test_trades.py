"""Trades at the prices of execution, read again from the frames; half-spreads of a market with a known spread."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from builders.errors import raises
from cnn_lstm_hyperopt.config import DataSettings, load_settings
from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings
from cnn_lstm_hyperopt.data.bars import Bars
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.trades import half_spreads
from cnn_lstm_hyperopt.errors import ConfigError

SETTINGS = DataSettings(source="embedded", symbols=("IBM", "MSFT"), start=date(2011, 1, 3), horizon=3, lookback=10)
"""MSFT has a gap from 2013 to 2015."""


@pytest.mark.parametrize("execution", ["next_open", "next_close", "same_close"])
def test_trades_are_those_of_the_frames_and_end_in_their_own_part(execution):
    """None crosses a gap or the end of the bars, and none decided before the test period ends in it."""
    frames = {bars.symbol: bars.frame for bars in load_bars(SETTINGS)[0]}
    dataset = prepare_dataset(SETTINGS, evaluation=EvaluationSettings(execution=execution))
    test = dataset.test.open()
    column = execution.partition("_")[2]
    delay = 1 if execution.startswith("next") else 0
    missing = 0
    for part in (dataset.train, dataset.validation, test):
        for day, symbol, found in zip(part.dates, part.symbols, part.traded, strict=True):
            frame = frames[str(symbol)]
            place = frame.index.get_loc(day)
            held = frame.iloc[place : place + delay + 4]
            whole = len(held) == delay + 4 and held.index.to_series().diff().max() < pd.Timedelta(days=30)
            reaches_test = day < test.dates.min() <= held.index[-1]
            if whole and not reaches_test:
                assert found == pytest.approx(held[column].iloc[-1] / held[column].iloc[delay] - 1)
            else:
                assert np.isnan(found)
                missing += 1
    assert missing == delay * 4  # at the end of IBM, before the gap, before the test period, at the end of MSFT


def roll_market(half_bps: float, *, bars: int = 1000, ticks: int = 100) -> Bars:
    """Bars of a random walk of which each trade is at the bid or at the ask (Roll 1984)."""
    random = np.random.default_rng(3)
    steps = random.normal(0, 0.01 / np.sqrt(ticks), bars * ticks)
    steps = np.exp(np.cumsum(steps) + half_bps / 1e4 * random.choice([-1, 1], bars * ticks)).reshape(bars, ticks)
    prices = {"open": steps[:, 0], "high": steps.max(axis=1), "low": steps.min(axis=1), "close": steps[:, -1]}
    index = pd.bdate_range("2010-01-04", periods=bars, name="date")
    return Bars("A", pd.DataFrame({**prices, "volume": np.ones(bars)}, index=index), "none")


def test_half_spreads_are_given_or_estimated_before_the_test_set():
    bars = roll_market(25.0)
    cut = bars.index[800].to_datetime64()
    found = half_spreads([bars], "auto", before=cut)
    assert found["A"] == pytest.approx(25, abs=3)
    bars.frame.iloc[800:] *= np.linspace(1, 9, 200)[:, None]  # the test set
    assert half_spreads([bars], "auto", before=cut) == found
    assert half_spreads([bars], 3, before=cut) == half_spreads([bars], {"a": 3.0, "B": 1.0}, before=cut) == {"A": 3.0}


def test_a_half_spread_that_is_missing_or_unknown_is_an_error_before_the_search():
    with raises(ConfigError, field="evaluation.half_spread_bps", code="half-spread-missing"):
        prepare_dataset(SETTINGS, evaluation=EvaluationSettings(half_spread_bps={"IBM": 1.0}))
    with raises(ConfigError, field="evaluation.half_spread_bps", code="half-spread-unknown"):
        half_spreads([roll_market(25.0)], "auto", before=np.datetime64("2010-01-05"))
    for value, field, code in ((-1, "", "greater-than-equal"), ({"IBM": "x"}, ".IBM", "float-parsing")):
        with raises(ConfigError, field=f"evaluation.half_spread_bps{field}", code=code) as text:
            load_settings({"evaluation": {"half_spread_bps": value}}, environment={})
        assert "\n" not in text[0]
