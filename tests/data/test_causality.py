"""Features that are computed again: every way of looking ahead changes a bar's feature, and no honest one does."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.errors import raises
from builders.frames import random_frame
from cnn_lstm_hyperopt.data.lookahead.causality import check_recomputed
from cnn_lstm_hyperopt.errors import DataError


def refused(code: str, function, frame: pd.DataFrame) -> str:
    with raises(DataError, code, "mine") as text:
        check(function, frame)
    return text[0]


def check(function, frame: pd.DataFrame) -> None:
    check_recomputed(lambda part, _: function(part).to_numpy(np.float64)[:, None], frame, ["mine"], "AAPL")


LEAKS = {
    "a centred average": lambda f: f["close"].rolling(5, center=True).mean(),
    "a centred average whose ends are filled": lambda f: f["close"].rolling(21, center=True, min_periods=1).mean(),
    "a standardisation with all bars": lambda f: (f["close"] - f["close"].mean()) / f["close"].std(),
    "a share of the highest close": lambda f: f["close"] / f["close"].max(),
    "a rank among all bars": lambda f: f["volume"].rank(pct=True),
    "a filter that runs back and forth": lambda f: f["close"].ewm(5).mean()[::-1].ewm(5).mean()[::-1],
    "a spectrum": lambda f: pd.Series(np.fft.irfft(np.fft.rfft(f["close"])[:20], len(f)), f.index),
    "values filled backwards": lambda f: f["close"].where(f["close"] > f["close"].shift(1)).bfill(),
    "interpolated values": lambda f: f["close"].where(np.arange(len(f)) % 5 == 0).interpolate(),
    "the next value, the last one filled": lambda f: f["close"].shift(-1).ffill(),
    "the next change of the volume": lambda f: f["volume"].pct_change().shift(-1).fillna(0),
    "the last bar": lambda f: pd.Series(f["close"].iloc[-1], f.index),
    "the number of bars": lambda f: pd.Series(float(len(f)), f.index),
    "the bars that are left": lambda f: pd.Series(np.arange(len(f))[::-1], f.index),
    "a reversed sum": lambda f: f["volume"][::-1].cumsum()[::-1],
}

HONEST = {
    "a lag": lambda f: f["close"].shift(7),
    "an average": lambda f: f["close"].rolling(20).mean(),
    "an exponential average": lambda f: f["volume"].ewm(span=30, adjust=False).mean(),
    "a standardisation with the bars so far": lambda f: (
        (f["close"] - f["close"].expanding().mean()) / f["close"].expanding().std()
    ),
    "a cumulated maximum": lambda f: f["close"].cummax() / f["close"],
    "a trailing rank": lambda f: f["close"].rolling(60).rank(),
    "the day of the week": lambda f: pd.Series(np.asarray(f.index.day_of_week), f.index),
    "the highest of the day so far": lambda f: f["high"].groupby(f.index.normalize()).cummax(),
    "a value filled forwards": lambda f: f["close"].where(f["close"] > f["close"].shift(1)).ffill(),
    "a constant": lambda f: pd.Series(1.0, f.index),
    "nothing at all": lambda f: pd.Series(np.nan, f.index),
    "a difference that cancels out": lambda f: f["volume"].rolling(50).sum() - f["volume"].rolling(50).sum().round(3),
}


@pytest.mark.parametrize("step", ["B", "15min"])
@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_function_that_looks_ahead_is_found(leak, step):
    refused("looks-ahead", leak, random_frame(1500, step=step))


@pytest.mark.parametrize(
    ("unit", "step", "bars"), [("D", "15min", 700), ("W", "h", 1500), ("M", "B", 500), ("Y", "B", 1500)]
)
def test_a_maximum_of_a_day_week_month_or_year_that_is_not_over_is_found(unit, step, bars):
    def highest(f):
        return f["high"].groupby(f.index.to_period(unit)).transform("max")

    refused("looks-ahead", highest, random_frame(bars, step=step))


def test_a_gap_that_is_filled_with_what_comes_after_is_found_though_gaps_are_rare():
    frame = random_frame(1000).assign(mood=1.0)
    frame.iloc[[313, 314, 315], frame.columns.get_loc("mood")] = [np.nan, np.nan, 2.0]
    check(lambda f: f["mood"], frame)
    check(lambda f: f["mood"].ffill(), frame)
    assert "2011-03-18" in refused("looks-ahead", lambda f: f["mood"].bfill(), frame)


@pytest.mark.parametrize("step", ["B", "15min"])
@pytest.mark.parametrize("honest", HONEST.values(), ids=HONEST)
def test_an_honest_function_passes(honest, step):
    check(honest, random_frame(800, step=step))


@settings(max_examples=15)
@given(lead=st.integers(1, 300), seed=st.integers(0, 100))
def test_any_lead_is_found(lead, seed):
    refused("looks-ahead", lambda f: f["close"].shift(-lead), random_frame(700, seed))


def test_a_function_that_looks_ahead_in_whole_frames_only_is_found():
    """Other bars after t reveal it, and fewer bars do not."""
    frame = random_frame(500)
    hidden = frame["close"].shift(-1)
    refused("looks-ahead", lambda f: f["close"].shift(-1) if len(f) == 500 else hidden[: len(f)], frame)


def test_a_random_feature_is_called_random():
    random = np.random.default_rng()
    refused("random-feature", lambda f: pd.Series(random.normal(size=len(f)), f.index), random_frame(200))
