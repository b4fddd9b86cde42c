"""Statistics of columns that can't be recomputed: copies of later bars are found, honest columns are not accused."""

from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.errors import raises
from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.lookahead.foresight import check_foresight
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from cnn_lstm_hyperopt.data.sources.synthetic import SyntheticSource
from cnn_lstm_hyperopt.errors import DataError

QUESTIONS = {
    "direction": DataSettings(target="direction"),
    "volatility of 20 bars": DataSettings(target="volatility", horizon=20),
    "triple barrier": DataSettings(target="triple_barrier", horizon=10),
}

PAIRS = [
    ("real", "volatility of 20 bars"),
    ("synthetic", "direction"),
    ("random walk", "triple barrier"),
    ("short", "direction"),
    ("sessions", "volatility of 20 bars"),
    ("a wave", "direction"),
]


def frame_of(close, high, low, volume, index, open_=None) -> pd.DataFrame:
    columns = {"open": close if open_ is None else open_, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame(columns, index=pd.DatetimeIndex(index, name="date"))


def session_frame(days: int = 50, seed: int = 3) -> pd.DataFrame:
    """Five-minute bars of trading days: the open is wild and busy, the noon calm, and calm and wild weeks take turns."""
    random, bar = np.random.default_rng(seed), np.tile(np.arange(78), days)
    n = len(bar)
    minutes = np.arange(570, 960, 5) * np.timedelta64(1, "m")
    index = (pd.bdate_range("2020-01-01", periods=days).to_numpy()[:, None] + minutes).ravel()
    level = np.convolve(random.normal(0, 0.05, n), 0.995 ** np.arange(2000))[:n]
    season = np.exp(2.5 * ((bar - 39) / 39) ** 4) * np.where(bar == 0, 3, 1)
    size = 0.001 * np.sqrt(season) * np.exp(level)
    close = 50 * np.exp(np.cumsum(random.standard_t(4, n) * size))
    open_ = np.concatenate([[50.0], close[:-1]]) * np.exp(np.where(bar == 0, random.normal(0, 0.01, n), 0))
    wick = np.exp(np.abs(random.normal(0, 1, (2, n))) * size)
    volume = np.round(np.exp(10 + random.normal(0, 0.3, n) + level) * season)
    return frame_of(close, np.maximum(open_, close) * wick[0], np.minimum(open_, close) / wick[1], volume, index, open_)


@pytest.fixture(scope="module")
def markets() -> dict[str, pd.DataFrame]:
    (apple,), _ = EmbeddedSource().load(("AAPL",), date(2000, 3, 1), date(2013, 3, 1))
    (synthetic,), _ = SyntheticSource(0).load(("SYN1",), None, None)
    wave = 50 * np.exp(0.1 * np.sin(np.arange(1500) / 7))  # yesterday's price predicts tomorrow's
    return {
        "real": apple.frame,
        "synthetic": synthetic.frame,
        "random walk": random_frame(1500),
        "short": random_frame(250, seed=1),
        "sessions": session_frame(),
        "a wave": frame_of(wave, wave * 1.001, wave * 0.999, 1000.0, pd.date_range("2010-01-01", periods=1500)),
    }


def check(frame: pd.DataFrame, column, question: DataSettings = QUESTIONS["direction"]) -> None:
    own = np.asarray(column, dtype=np.float64)[:, None]
    check_foresight(frame, own, ["mood"], labeller(question).label(frame), question.horizon, "AAPL")


def accused(frame: pd.DataFrame, column, question: DataSettings = QUESTIONS["direction"]) -> None:
    with raises(DataError, "knows-later-bars", "mood"):
        check(frame, column, question)


def honest_columns(f: pd.DataFrame, seed: int) -> dict[str, object]:
    random = np.random.default_rng(seed)
    close, n = f["close"], len(f)
    returns = np.log(close).diff()
    minute = f.index.hour * 60 + f.index.minute

    def so_far(series):
        return series.shift(1).expanding().mean()

    return {
        "a constant": np.full(n, 3.0),
        "a trend": np.arange(n),
        "the close in another currency": 2 * close + 1,
        "an average, rounded": close.ewm(50).mean().round(1),
        "a smooth random walk": np.cumsum(np.cumsum(random.normal(size=n))),
        "noise": random.normal(size=n),
        "coins": random.integers(0, 2, n),
        "rare events": random.random(n) < 0.01,
        "three events": np.isin(np.arange(n), [n // 3, n // 2, n - 60]),
        "volatility of long": np.log(returns.abs().ewm(300).mean()),
        "ranges": np.log(f["high"] / f["low"]).rolling(100).mean(),
        "usual volume of the time of day": f["volume"].groupby(minute).transform(so_far),
        "on-balance volume": (np.sign(returns) * f["volume"]).cumsum(),
        "the sign of the return": np.sign(returns),
        "a trailing rank": close.rolling(250).rank(),
        "a drawdown": close / close.cummax() - 1,
        "day of the week": np.asarray(f.index.day_of_week),
        "time of the day": np.asarray(minute),
        "the last bar of the day": np.append(np.diff(f.index.normalize().asi8) != 0, False),
        "the time to the next bar": np.append(np.diff(f.index.asi8), 0),
        **dict(zip(FEATURE_NAMES, BUILT_IN.compute(f).T, strict=True)),
    }


def known_ahead(f: pd.DataFrame, question: DataSettings) -> dict[str, object]:
    close, labels = f["close"], labeller(question).label(f)
    returns = np.log(close).diff()
    noise = np.random.default_rng(5).normal(0, float(returns.std()) / 4, len(f))
    return {
        "the next close": close.shift(-1),
        "the next high": f["high"].shift(-1),
        "the next low in another unit": 3 - 7 * f["low"].shift(-1),
        "the logarithm of the next close": np.log(close).shift(-1),
        "the next volume": f["volume"].shift(-1),
        "the next return": close.pct_change().shift(-1),
        "the next return, with noise": returns.shift(-1) + noise,
        "the return after the next, turned": -returns.shift(-2),
        "the size of the next return": returns.abs().shift(-1),
        "the next range": np.log(f["high"] / f["low"]).shift(-1),
        "the sign of the next return": np.sign(returns).shift(-1),
        "the sign of the return in 3 bars": np.sign(returns).shift(-3),
        "a centred average": close.rolling(5, center=True).mean(),
        "the label's value": np.where(labels.valid, labels.values, np.nan),
        "the label's class": np.where(labels.valid, labels.classes, np.nan),
    }


LATER_KNOWN = {
    "the close in 5 bars": lambda f: f["close"].shift(-5),
    "the return over 5 bars": lambda f: f["close"].pct_change(5).shift(-5),
    "a long centred average": lambda f: f["close"].rolling(21, center=True).mean(),
    "a very long centred average": lambda f: f["close"].rolling(101, center=True).mean(),
    "tomorrow's RSI": lambda f: pd.Series(BUILT_IN.compute(f)[:, 6], f.index).shift(-1),
    "tomorrow's MACD": lambda f: pd.Series(BUILT_IN.compute(f)[:, 7], f.index).shift(-1),
}


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(
    ("market", "asked"),
    [pytest.param(*pair, marks=[pytest.mark.slow] if place % 4 else []) for place, pair in enumerate(PAIRS)],
)
def test_honest_columns_are_never_accused(markets, market, asked):
    frame, question = markets[market], QUESTIONS[asked]
    labels = labeller(question).label(frame)
    columns = {name: np.asarray(column, np.float64) for name, column in honest_columns(frame, seed=1).items()}
    begins = {name: int(np.argmax(np.isfinite(column))) for name, column in columns.items()}
    for begin in set(begins.values()):  # together, as long as that leaves out no bars
        names = [name for name in columns if begins[name] == begin]
        own = np.column_stack([columns[name] for name in names])
        check_foresight(frame, own, names, labels, question.horizon, "AAPL")


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(("market", "asked"), PAIRS[:-1])
def test_copies_of_later_bars_are_found(markets, market, asked):
    frame, question = markets[market], QUESTIONS[asked]
    for column in known_ahead(frame, question).values():
        accused(frame, column, question)


@pytest.mark.parametrize("leak", LATER_KNOWN.values(), ids=LATER_KNOWN)
def test_what_is_slow_and_known_ahead_is_found_given_enough_bars(markets, leak):
    accused(markets["real"], leak(markets["real"]))


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    persistence=st.floats(0, 0.999),
    window=st.integers(2, 120),
    lag=st.integers(0, 20),
    bars=st.integers(150, 900),
    kind=st.sampled_from(["average", "deviation", "rank", "level"]),
    of=st.sampled_from(["close", "volume", "range", "other"]),
)
def test_no_function_of_earlier_bars_is_accused(seed, persistence, window, lag, bars, kind, of):
    """Markets whose volatility and volume persist for long or not at all, and what people compute of them."""
    random = np.random.default_rng(seed)
    level = np.zeros(bars)
    for t in range(1, bars):
        level[t] = persistence * level[t - 1] + random.normal(0, 0.2)
    level = np.clip(level, -4, 4)  # so that prices stay finite
    close = np.exp(np.cumsum(random.normal(0, 0.01, bars) * np.exp(level)))
    wick = np.exp(np.abs(random.normal(0, 0.005, (2, bars))) * np.exp(level))
    days = pd.date_range("2000-01-03", periods=bars, freq="B")
    frame = frame_of(close, close * wick[0], close / wick[1], np.exp(9 + level), days)
    series = {
        "close": frame["close"],
        "volume": frame["volume"],
        "range": np.log(frame["high"] / frame["low"]),
        "other": pd.Series(np.cumsum(random.normal(size=bars)), frame.index),
    }[of]
    rolling = series.rolling(window)
    made = {"average": rolling.mean(), "deviation": rolling.std(), "rank": rolling.rank(), "level": series}[kind]
    check(frame, made.shift(lag), QUESTIONS["volatility of 20 bars"])


def test_a_feature_that_foretells_as_well_as_the_synthetic_market_allows_is_not_accused(markets):
    """Right in 72 % of the cases about the next direction, which is the most that is possible without the future."""
    frame = markets["synthetic"]
    up = np.sign(np.log(frame["close"]).diff().shift(-1))
    wrong = np.random.default_rng(0).random(len(frame)) > 0.72
    check(frame, np.where(wrong, -up, up))


def test_a_single_crash_that_a_column_happens_to_foretell_and_few_bars_say_nothing():
    frame = random_frame(1000)
    frame.iloc[600:, :4] *= 0.2
    mood = np.random.default_rng(0).normal(size=1000)
    mood[599] = -1000.0
    check(frame, mood)
    check(frame[:99], frame["close"].shift(-1)[:99])
