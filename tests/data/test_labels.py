"""Labels against brute force."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.data.labels import make_labels


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), horizon=st.integers(1, 12), bars=st.integers(0, 40))
def test_direction_equals_brute_force(make_frame, seed, horizon, bars):
    frame = make_frame(bars, seed).round(0)  # rounding makes ties
    labels = make_labels(frame, "direction", horizon)
    close = frame["close"].to_numpy()
    for t in range(bars):
        assert labels.valid[t] == (t + horizon < bars)
        if labels.valid[t]:
            assert labels.classes[t] == (1 if close[t + horizon] > close[t] else 0)
            assert labels.values[t] == pytest.approx(np.log(close[t + horizon] / close[t]))
        else:
            assert labels.classes[t] == -1
            assert np.isnan(labels.values[t])


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), horizon=st.integers(1, 7), bars=st.integers(55, 90))
def test_volatility_equals_brute_force(make_frame, seed, horizon, bars):
    frame = make_frame(bars, seed)
    frame.iloc[30:40, :4] = 55.0  # no range: the floor
    labels = make_labels(frame, "volatility", horizon)
    high, low = frame["high"].to_numpy(), frame["low"].to_numpy()

    def spread(s):
        return max(np.log(high[s - horizon + 1 : s + 1].max() / low[s - horizon + 1 : s + 1].min()), 1e-5)

    for t in range(bars):
        assert labels.valid[t] == (t + horizon < bars and t - 59 - (horizon - 1) >= 0)
        if labels.valid[t]:
            usual = np.median([spread(s) for s in range(t - 59, t + 1)])
            assert labels.classes[t] == (1 if spread(t + horizon) > usual else 0)
            assert labels.values[t] == pytest.approx(np.log(spread(t + horizon)))


@pytest.mark.parametrize("target", ["direction", "volatility"])
def test_a_label_looks_no_further_than_its_horizon(make_frame, target):
    frame = make_frame(120)
    changed = frame.copy()
    changed.iloc[100:] *= 3
    before, after = make_labels(frame, target, 4), make_labels(changed, target, 4)
    np.testing.assert_array_equal(before.values[:96], after.values[:96])
    assert before.values[96] != after.values[96]


def test_an_unchanged_close_is_class_0():
    frame = pd.DataFrame({name: [5.0, 5.0, 5.1] for name in ("open", "high", "low", "close", "volume")})
    np.testing.assert_array_equal(make_labels(frame, "direction", 1).classes, [0, 1, -1])
