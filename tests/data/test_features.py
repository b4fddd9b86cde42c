"""Features: causal, scale-free, finite, and equal to their formulas; their scaling is that of scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.preprocessing import StandardScaler

from builders.frames import random_frame
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES, WARM_UP, segments
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.scaling import CLIP, Scaler

BARS = 120


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), t=st.integers(0, BARS - 2), factor=st.floats(0.2, 5))
def test_changing_any_bar_after_t_changes_no_feature_at_t(seed, t, factor):
    frame = random_frame(BARS, seed)
    changed = frame.copy()
    changed.iloc[t + 1 :] *= factor
    np.testing.assert_array_equal(BUILT_IN.compute(changed)[: t + 1], BUILT_IN.compute(frame)[: t + 1])
    np.testing.assert_array_equal(BUILT_IN.compute(frame.iloc[: t + 1]), BUILT_IN.compute(frame)[: t + 1])


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), price=st.floats(1e-6, 1e6), volume=st.floats(1, 1e6))
def test_features_are_scale_free(seed, price, volume):
    frame = random_frame(BARS, seed)
    scaled = frame.copy()
    scaled[["open", "high", "low", "close"]] *= price
    scaled["volume"] *= volume
    np.testing.assert_allclose(BUILT_IN.compute(scaled), BUILT_IN.compute(frame), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("windows", [1, 2, 3, 1000, 2**15, 2**15 + 1, 2**16 + 2, 100_000])
def test_millions_of_bars_have_the_features_that_all_windows_at_once_have_to_the_bit(windows):
    """Averages of 20 bars are taken part by part; the second opinion holds all windows in one array."""
    frame = random_frame(windows + 19, start="1700-01-04", step="min")
    features = BUILT_IN.compute(frame)
    close, volume = frame["close"].to_numpy() / frame["close"].iloc[0], frame["volume"].to_numpy()
    signed = np.sign(np.diff(close, prepend=np.nan)) * volume
    of_volume, of_close, of_signed, of_traded = (
        np.lib.stride_tricks.sliding_window_view(x, 20) for x in (np.log1p(volume), close, signed, volume)
    )
    columns = [FEATURE_NAMES.index(name) for name in ("volume_z20", "bollinger20", "signed_volume20")]
    expected = [
        (of_volume[:, -1] - of_volume.mean(axis=1)) / of_volume.std(axis=1),
        (of_close[:, -1] - of_close.mean(axis=1)) / of_close.std(axis=1) / 2,
        of_signed.sum(axis=1) / of_traded.sum(axis=1),
    ]
    np.testing.assert_array_equal(features[19:, columns], np.column_stack(expected))


@pytest.mark.parametrize("bars", [0, 1, 2, 14, 15, 19, 20, 33, 34, 120])
def test_rows_are_complete_from_the_end_of_the_warm_up_on(bars):
    features = BUILT_IN.compute(random_frame(bars))
    assert features.shape == (bars, len(FEATURE_NAMES)) == (bars, 11)
    assert np.isfinite(features).all(axis=1).tolist() == [place >= WARM_UP for place in range(bars)]


def test_a_market_that_does_not_move_has_neutral_features():
    prices = dict.fromkeys(("open", "high", "low", "close"), 7.3)
    frame = pd.DataFrame({**prices, "volume": 0.0}, index=pd.date_range("2020-01-01", periods=60))
    np.testing.assert_array_equal(BUILT_IN.compute(frame)[WARM_UP:], np.zeros((60 - WARM_UP, 11)))


@pytest.mark.parametrize("still", [14, 60, 900])
def test_features_stay_finite_and_bounded_while_trading_is_halted(still):
    frame = random_frame(60 + still + 60)
    frame.iloc[60 : 60 + still, :4] = frame["close"].iloc[59]
    frame.iloc[60 : 60 + still, 4] = 0.0
    features = BUILT_IN.compute(frame)[WARM_UP:]
    assert np.isfinite(features).all()
    assert np.abs(features).max() < 50
    halted = BUILT_IN.compute(frame)[60 + still - 1]
    assert halted[FEATURE_NAMES.index("rsi14")] == 0
    assert halted[FEATURE_NAMES.index("close_location")] == 0


def test_features_equal_their_formulas_written_as_loops():
    frame = random_frame(90, seed=3)
    o, h, low, c, v = (frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume"))
    features = BUILT_IN.compute(frame)

    def ema(values, n, first):
        """Seeded with the mean of the first n values, at index first + n − 1."""
        out = {first + n - 1: np.mean(values[first : first + n])}
        for i in range(first + n, len(values)):
            out[i] = out[i - 1] + 2 / (n + 1) * (values[i] - out[i - 1])
        return out

    fast, slow = ema(c, 12, 14), ema(c, 26, 0)  # TA-Lib lets both averages start on the same bar
    macd = np.array([fast[i] - slow[i] if i >= 25 else np.nan for i in range(90)])
    signal = ema(macd, 9, 25)
    ranges = [max(h[i], c[i - 1]) - min(low[i], c[i - 1]) for i in range(1, 90)]
    changes = np.diff(c)
    atr, up, down = np.mean(ranges[:14]), changes[:14].clip(0).mean(), (-changes[:14]).clip(0).mean()
    for t in range(14, 90):
        if t > 14:
            atr = (13 * atr + ranges[t - 1]) / 14
            up = (13 * up + max(changes[t - 1], 0)) / 14
            down = (13 * down + max(-changes[t - 1], 0)) / 14
        if t < WARM_UP:
            continue
        last = slice(t - 19, t + 1)
        z = np.log1p(v[last])
        sign = np.sign(c[last] - c[t - 20 : t])
        expected = [
            np.log(c[t] / c[t - 1]),
            np.log(o[t] / c[t - 1]),
            np.log(c[t] / o[t]),
            np.log(h[t] / low[t]),
            (2 * c[t] - h[t] - low[t]) / (h[t] - low[t]),
            (z[-1] - z.mean()) / z.std(),
            2 * up / (up + down) - 1,
            (macd[t] - signal[t]) / atr,
            atr / c[t],
            (c[t] - c[last].mean()) / (2 * c[last].std()),
            (sign * v[last]).sum() / v[last].sum(),
        ]
        np.testing.assert_allclose(features[t], expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    ("dates", "expected"),
    [
        ([f"2020-01-{day}" for day in ("01", "02", "03", "13", "24", "25", "26")], [0, 0, 0, 0, 1, 1, 1]),
        (["2020-01-01"], [0]),
        ([], []),
        ([*(f"2020-0{n}" for n in (1, 2, 3, 4)), "2020-09", "2020-10"], [0, 0, 0, 0, 1, 1]),  # monthly bars
    ],
)
def test_segments_begin_after_holes_longer_than_ten_days_and_three_steps(dates, expected):
    np.testing.assert_array_equal(segments(pd.DatetimeIndex(dates), 10), expected)


@settings(max_examples=30)
@given(rows=arrays(np.float64, (12, 3), elements=st.integers(-1000, 1000).map(lambda x: x / 7)))
def test_equals_scikit_learn_up_to_the_clip_and_survives_json(rows):
    scaler, other = Scaler.fit(rows), rows * 1.5 + 3
    expected = np.clip(StandardScaler().fit(rows).transform(other), -CLIP, CLIP)
    np.testing.assert_allclose(scaler.transform(other), expected, rtol=1e-9, atol=1e-9)
    assert Scaler.from_dict(json.loads(json.dumps(scaler.as_dict()))) == scaler


def test_a_constant_feature_becomes_zero_and_freak_values_are_clipped():
    rows = np.column_stack([np.full(5, 0.1), np.arange(5.0)])
    scaler = Scaler.fit(rows)
    assert scaler.std[0] == 1
    np.testing.assert_allclose(scaler.transform(rows)[:, 0], 0, atol=1e-15)
    scaled = Scaler.fit(np.array([[-1.0], [1.0]])).transform(np.array([[-99.0], [3.0], [99.0]]))
    np.testing.assert_array_equal(scaled, [[-10], [3], [10]])


def test_chosen_rows_and_many_parts_give_the_same_to_the_bit():
    """Millions of rows are summed and scaled part by part; the second opinion is NumPy on all rows at once."""
    random = np.random.default_rng(0)
    rows, chosen = random.normal(2, 3, (140_000, 3)), random.random(140_000) < 0.6
    scaler = Scaler.fit(rows)
    assert scaler == Scaler(tuple(rows.mean(axis=0).tolist()), tuple(rows.std(axis=0).tolist()))
    assert Scaler.fit(rows, chosen) == Scaler.fit(rows[chosen])
    expected = scaler.transform(rows).astype(np.float32)
    np.testing.assert_array_equal(scaler.transform_to_float32(rows), expected)
