"""Labels: closed forms by hand, brute force bar by bar, and a contract that every target keeps."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.frames import random_frame
from builders.questions import TARGETS
from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.labels import LABELLERS, Labels, average_true_range, labeller


def label(frame: pd.DataFrame, horizon: int, **asked) -> Labels:
    return labeller(DataSettings(horizon=horizon, **asked)).label(frame)


def calm(then_close, then_high=None, then_low=None) -> pd.DataFrame:
    """20 bars of true range 2 around 100, so that ATR = 2 at bar 19 exactly, then what is given."""
    close = [100.0] * 20 + list(then_close)
    high = [101.0] * 20 + list(then_close if then_high is None else then_high)
    low = [99.0] * 20 + list(then_close if then_low is None else then_low)
    return pd.DataFrame({"open": close, "high": high, "low": low, "close": close, "volume": 1.0}, dtype=float)


def wilder(frame: pd.DataFrame) -> list[float]:
    """Wilder's ATR (New Concepts, 1978) bar by bar: the mean of 14 true ranges, then (13 × before + true range) / 14."""
    high, low, close = (frame[name].to_numpy() for name in ("high", "low", "close"))
    true = [np.nan] + [max(high[t], close[t - 1]) - min(low[t], close[t - 1]) for t in range(1, len(frame))]
    atr = [np.nan] * len(frame)
    for t in range(14, len(frame)):
        atr[t] = np.mean(true[1:15]) if t == 14 else (13 * atr[t - 1] + true[t]) / 14
    return atr


class TestContract:
    """What all targets promise."""

    @pytest.mark.parametrize("asked", TARGETS.values(), ids=TARGETS)
    @settings(max_examples=10, deadline=None)
    @given(seed=st.integers(0, 10_000), horizon=st.integers(1, 9), bars=st.integers(0, 110))
    def test_classes_values_reach_and_validity_go_together(self, asked, seed, horizon, bars):
        question = labeller(DataSettings(horizon=horizon, **asked))
        labels = question.label(random_frame(bars, seed))
        place = np.arange(bars)
        np.testing.assert_array_equal(labels.valid, (place >= question.history - 1) & (place + horizon < bars))
        assert (labels.classes.dtype, labels.reach.dtype, labels.values.dtype) == (np.int64, np.int64, np.float64)
        assert set(labels.classes[labels.valid]) <= set(range(len(question.class_names)))
        assert np.isfinite(labels.values[labels.valid]).all()
        assert ((labels.reach[labels.valid] >= 1) & (labels.reach[labels.valid] <= horizon)).all()
        assert (labels.classes[~labels.valid] == -1).all()
        assert np.isnan(labels.values[~labels.valid]).all()
        assert (labels.reach[~labels.valid] == 0).all()

    @pytest.mark.parametrize("asked", TARGETS.values(), ids=TARGETS)
    def test_a_label_looks_no_further_than_its_reach(self, asked):
        """Bars after t + reach are changed, for each t; the label at t does not notice. One bar earlier, some label does."""
        frame, horizon = random_frame(120), 6
        before = label(frame, horizon, **asked)
        noticed = 0
        for t in np.flatnonzero(before.valid)[:40]:
            for cut, must_hold in ((t + before.reach[t] + 1, True), (t + before.reach[t], False)):
                changed = frame.copy()
                changed.iloc[cut:, :4] *= 3
                after = label(changed, horizon, **asked)
                same = after.classes[t] == before.classes[t] and after.values[t] == before.values[t]
                assert same or not must_hold
                noticed += not same
        assert noticed > 5

    @pytest.mark.parametrize("asked", TARGETS.values(), ids=TARGETS)
    def test_prices_in_another_currency_have_the_same_labels(self, asked):
        frame = random_frame(120)
        other = frame.copy()
        other.iloc[:, :4] *= 1024  # a power of two: no rounding
        before, after = label(frame, 5, **asked), label(other, 5, **asked)
        np.testing.assert_array_equal(before.classes, after.classes)
        np.testing.assert_array_equal(before.reach, after.reach)
        np.testing.assert_allclose(before.values, after.values, rtol=1e-12)

    def test_every_target_is_a_member(self):
        assert {asked["target"] for asked in TARGETS.values()} == set(LABELLERS)

    def test_names_say_what_classes_and_values_are(self):
        shown = {name: labeller(DataSettings(horizon=3, **asked)) for name, asked in TARGETS.items()}
        assert {name: (each.class_names, each.value_name) for name, each in shown.items()} == {
            "direction": (("down or flat", "up"), "ln(C[t+3] / C[t])"),
            "direction with a dead zone": (("down", "flat", "up"), "ln(C[t+3] / C[t])"),
            "volatility": (("calm", "volatile"), "ln(ln(high / low)) of bars t+1..t+3"),
            "triple barrier": (("lower barrier", "neither", "upper barrier"), "ln(exit / C[t])"),
        }


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), bars=st.integers(0, 60))
def test_the_average_true_range_is_wilders(seed, bars):
    frame = random_frame(bars, seed)
    np.testing.assert_allclose(average_true_range(frame), wilder(frame), rtol=1e-12)
    np.testing.assert_array_equal(average_true_range(calm([])), [np.nan] * 14 + [2.0] * 6)


def brute_direction(frame, t, horizon, **_):
    now, ahead = (float(frame["close"].iloc[bar]) for bar in (t, t + horizon))
    return int(ahead > now), ahead / now, horizon


def brute_dead_zone(frame, t, horizon, *, dead_zone_atr, atr, **_):
    now, ahead = (float(frame["close"].iloc[bar]) for bar in (t, t + horizon))
    kind = 1 if abs(ahead - now) <= dead_zone_atr * atr[t] else 2 if ahead > now else 0
    return kind, ahead / now, horizon


def brute_volatility(frame, t, horizon, **_):
    def spread(s):
        bars = frame.iloc[s - horizon + 1 : s + 1]
        return max(np.log(bars["high"].max() / bars["low"].min()), 1e-5)

    ahead = spread(t + horizon)
    return int(ahead > np.median([spread(s) for s in range(t - 59, t + 1)])), ahead, horizon


def brute_barriers(frame, t, horizon, *, barriers_atr, atr, **_):
    high, low, close = (frame[name].to_numpy() for name in ("high", "low", "close"))
    upper, lower = close[t] + barriers_atr[0] * atr[t], close[t] - barriers_atr[1] * atr[t]
    for s in range(t + 1, t + horizon + 1):
        if low[s] < lower:
            return 0, lower / close[t], s - t
        if high[s] > upper:
            return 2, upper / close[t], s - t
    return 1, close[t + horizon] / close[t], horizon


def assert_is_brute_force(frame, horizon, brute, first, asked):
    labels, atr = label(frame, horizon, **asked), wilder(frame)
    for t in range(first, len(frame) - horizon):
        kind, ratio, reach = brute(frame, t, horizon, atr=atr, **asked)
        assert (labels.classes[t], labels.reach[t]) == (kind, reach)
        assert abs(labels.values[t] - np.log(ratio)) < 1e-9


BRUTE = {  # brute force, first bar with a label, settings; or several
    "direction": (brute_direction, 0, [{}]),
    "dead zone": (brute_dead_zone, 14, [{"direction_classes": 3, "dead_zone_atr": zone} for zone in (0.1, 1.0, 3.0)]),
    "barriers": (
        brute_barriers,
        14,
        [{"target": "triple_barrier", "barriers_atr": pair} for pair in product((0.3, 1.0, 2.5, 80.0), repeat=2)],
    ),
}


@pytest.mark.parametrize(("brute", "first", "asked"), BRUTE.values(), ids=BRUTE)
@settings(max_examples=20)
@given(st.data(), st.integers(0, 10_000), st.integers(1, 25), st.integers(0, 90), st.booleans())
def test_labels_are_those_of_brute_force(brute, first, asked, data, seed, horizon, bars, ties):
    frame, chosen = random_frame(bars, seed), {"target": "direction", **data.draw(st.sampled_from(asked))}
    assert_is_brute_force(frame.round(0) if ties else frame, horizon, brute, first, chosen)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), horizon=st.integers(1, 7), bars=st.integers(55, 90))
def test_volatility_is_that_of_brute_force(seed, horizon, bars):
    frame = random_frame(bars, seed)
    frame.iloc[30:40, :4] = 55.0  # no range: the floor
    assert_is_brute_force(frame, horizon, brute_volatility, 58 + horizon, {"target": "volatility"})


def test_triple_barrier_on_more_bars_than_are_labelled_at_a_time():
    asked = {"target": "triple_barrier", "barriers_atr": (2.0, 2.0)}
    assert_is_brute_force(random_frame(17_000, step="h"), 9, brute_barriers, 14, asked)


def test_the_border_belongs_to_the_dead_zone():
    """0.25 × 2 on each side."""
    for close, expected in ((100.0, 1), (100.5, 1), (100.51, 2), (99.5, 1), (99.49, 0)):
        labels = label(calm([close]), 1, target="direction", direction_classes=3, dead_zone_atr=0.25)
        assert (labels.classes[19], labels.values[19]) == (expected, pytest.approx(np.log(close / 100)))


@pytest.mark.parametrize(
    ("close", "high", "low", "expected"),  # class, price of the exit, bars until it
    [
        ([100, 100, 105], None, None, (2, 104, 3)),  # the last bar of the horizon counts
        ([100, 100, 100, 105], None, None, (1, 100, 3)),  # the next one does not
        ([100, 100, 100], [104, 104, 104], [98, 98, 98], (1, 100, 3)),  # a touch passes nothing
        ([104, 110, 110], [110, 110, 110], [90, 104, 104], (0, 98, 1)),  # of both in one bar the lower one counts
        ([150, 150, 150], None, None, (2, 104, 1)),  # a gap exits at the barrier
    ],
)
def test_hand_examples_of_the_triple_barrier(close, high, low, expected):
    """At bar 19 the close is 100, ATR 2; the upper barrier of 2 ATR is 104, the lower one of 1 ATR is 98."""
    labels = label(calm(close, high, low), 3, target="triple_barrier", barriers_atr=(2.0, 1.0))
    assert (labels.classes[19], labels.reach[19]) == expected[::2]
    assert labels.values[19] == pytest.approx(np.log(expected[1] / 100))


def test_prices_that_stand_still_pass_no_barrier():
    frame = pd.DataFrame(5.0, index=range(40), columns=["open", "high", "low", "close", "volume"])
    labels = label(frame, 3, target="triple_barrier")
    assert (set(labels.classes[14:37]), set(labels.values[14:37])) == ({1}, {0.0})
