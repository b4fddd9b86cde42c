"""The block bootstrap: against loops, on simulated truth, and on correlated errors."""

import numpy as np
import pytest

from cnn_lstm_hyperopt.evaluation import accuracy_interval, difference_interval
from cnn_lstm_hyperopt.evaluation.bootstrap import RESAMPLES, block_length
from cnn_lstm_hyperopt.randomness import stream


def width(interval) -> float:
    return interval.high - interval.low


@pytest.mark.parametrize(
    ("n_dates", "horizon", "expected"),
    [
        (1, 1, 1),
        (1, 5, 1),
        (2, 1, 1),
        (8, 1, 2),
        (9, 1, 3),
        (27, 1, 3),
        (28, 1, 4),
        (1000, 1, 10),
        (1000, 20, 20),
        (30, 50, 10),
    ],
)
def test_blocks_are_the_cube_root_of_the_dates_but_span_the_horizon_and_at_most_a_third(n_dates, horizon, expected):
    assert block_length(n_dates, horizon) == expected


@pytest.mark.parametrize("horizon", [1, 4, 7])
def test_the_interval_equals_loops_that_wrap_round_the_end(horizon):
    """Dates hold 1 to 4 windows, in no order; a block that runs past the last date goes on with the first."""
    rng = np.random.default_rng(horizon)
    dates = rng.permutation(np.repeat(np.arange(11), rng.integers(1, 5, size=11)))
    right = rng.random(len(dates)) < 0.6
    length = block_length(11, horizon)
    starts = stream(5, 0, "bootstrap").integers(11, size=(RESAMPLES, -(-11 // length)))
    means = []
    for row in starts:
        drawn = [right[dates == (start + step) % 11] for start in row for step in range(length)]
        means.append(np.concatenate(drawn).mean())
    interval = accuracy_interval(right, dates, horizon=horizon, seed=5)
    assert interval == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_the_interval_covers_the_truth_about_95_times_in_100():
    """300 independent dates, 200 times: the standard error of the share is 0.015."""
    rng = np.random.default_rng(0)
    dates, truth, covered = np.arange(300), 0.55, 0
    for seed in range(200):
        low, high = accuracy_interval(rng.random(300) < truth, dates, horizon=1, seed=seed)
        covered += low <= truth <= high
    assert 0.90 <= covered / 200 <= 0.985


def test_on_independent_dates_the_width_is_that_of_the_normal_approximation():
    right = np.random.default_rng(1).random(2000) < 0.6
    interval = accuracy_interval(right, np.arange(2000), horizon=1, seed=0)
    p = right.mean()
    assert width(interval) == pytest.approx(2 * 1.96 * np.sqrt(p * (1 - p) / 2000), rel=0.15)
    assert interval.low < p < interval.high


@pytest.mark.parametrize("horizon", [1, 20])
def test_it_widens_when_errors_come_in_runs(horizon):
    rng = np.random.default_rng(2)
    runs = np.repeat(rng.random(50) < 0.5, 20)
    shuffled = rng.permutation(runs)
    dates = np.arange(1000)
    in_runs, alone = (accuracy_interval(each, dates, horizon=horizon, seed=0) for each in (runs, shuffled))
    assert width(in_runs) > 2 * width(alone)


def test_it_widens_when_symbols_of_a_date_err_together():
    rng = np.random.default_rng(3)
    day = rng.random(400) < 0.5
    together, alone = np.repeat(day, 5), rng.permutation(np.repeat(day, 5))
    dates = np.repeat(np.arange(400), 5)
    ratio = width(accuracy_interval(together, dates, horizon=1, seed=0)) / width(
        accuracy_interval(alone, dates, horizon=1, seed=0)
    )
    assert ratio == pytest.approx(np.sqrt(5), rel=0.25)


def test_the_order_of_windows_and_the_kind_of_date_do_not_matter():
    rng = np.random.default_rng(4)
    dates, right = np.arange(60), rng.random(60) < 0.5
    order = rng.permutation(60)
    days = np.datetime64("2020-01-01", "ns") + dates.astype("timedelta64[D]")
    expected = accuracy_interval(right, dates, horizon=1, seed=0)
    assert accuracy_interval(right[order], dates[order], horizon=1, seed=0) == expected
    assert accuracy_interval(right, days, horizon=1, seed=0) == expected


def test_the_same_seed_gives_the_same_interval_and_another_seed_a_near_one():
    right, dates = np.random.default_rng(5).random(300) < 0.5, np.arange(300)
    first, again, other = (accuracy_interval(right, dates, horizon=1, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other
    assert first == pytest.approx(other, abs=0.02)


@pytest.mark.parametrize("right", [True, False])
def test_all_right_or_all_wrong_has_no_width(right):
    assert accuracy_interval(np.full(50, right), np.arange(50), horizon=3, seed=0) == (right, right)


def test_one_date_has_an_interval_of_its_mean():
    interval = accuracy_interval(np.array([True, False, True, True]), np.zeros(4), horizon=1, seed=0)
    assert interval == (0.75, 0.75)


def test_the_difference_of_identical_predictions_is_exactly_zero():
    right, dates = np.random.default_rng(6).random(301) < 0.5, np.repeat(np.arange(43), 7)
    assert difference_interval(right, right, dates, horizon=2, seed=0) == (0.0, 0.0)


def test_the_difference_is_paired():
    """Two classifiers that differ in few windows: the paired interval is far narrower than that of either accuracy."""
    rng = np.random.default_rng(7)
    theirs = rng.random(500) < 0.5
    ours = theirs.copy()
    wrong = rng.choice(np.flatnonzero(~theirs), 20, replace=False)
    ours[wrong] = True
    dates = np.arange(500)
    paired = difference_interval(ours, theirs, dates, horizon=1, seed=0)
    assert width(paired) < 0.6 * width(accuracy_interval(ours, dates, horizon=1, seed=0))
    assert paired.low < 20 / 500 < paired.high
    reverse = difference_interval(theirs, ours, dates, horizon=1, seed=0)
    assert reverse == pytest.approx((-paired.high, -paired.low))
