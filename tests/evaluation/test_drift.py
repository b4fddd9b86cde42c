"""Detection of changes: ADWIN and two-sample tests against brute force, and false alarms and power on simulated streams."""

import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cnn_lstm_hyperopt.evaluation.drift.adwin import MIN_PART, Change, adwin
from cnn_lstm_hyperopt.evaluation.drift.two_sample import (
    benjamini_hochberg,
    independent_spacing,
    kolmogorov_smirnov,
    spent_level,
)
from cnn_lstm_hyperopt.pipeline.updates.drift import ERROR_CONFIDENCE

streams = st.lists(st.sampled_from([0.0, 0.2, 0.5, 1.0]), min_size=1, max_size=20).flatmap(
    lambda first: st.lists(st.sampled_from([0.0, 0.9, 1.0]), max_size=40).map(lambda second: 2 * first + second)
)


def every_cut(values: list[float], confidence: float) -> list[tuple[int, int]]:
    """All changes by the paper's formula, computed from the lists themselves."""
    window: list[tuple[int, float]] = []
    found = []
    for place, value in enumerate(values):
        window.append((place, value))
        while True:
            numbers = [each for _, each in window]
            best = None
            for cut in range(MIN_PART, len(window) - MIN_PART + 1):
                one, two = numbers[:cut], numbers[cut:]
                m = 1 / (1 / len(one) + 1 / len(two))
                strict = math.log(2 * math.log(len(numbers)) / confidence)
                epsilon = math.sqrt(2 / m * statistics.pvariance(numbers) * strict) + 2 / (3 * m) * strict
                excess = abs(statistics.fmean(one) - statistics.fmean(two)) - epsilon
                if best is None or excess > best[0] + 1e-12:
                    best = excess, cut
            if best is None or best[0] <= 1e-12:
                break
            window = window[best[1] :]
            found.append((place, window[0][0]))
    return found


@settings(max_examples=25)
@given(streams, st.sampled_from([0.002, 0.2]))
def test_adwin_finds_what_a_search_over_all_cuts_finds(values, confidence):
    found = adwin(np.array(values), confidence)
    assert [(each.found_at, each.cut) for each in found] == every_cut(values, confidence)
    assert all(isinstance(each, Change) for each in found)


def test_adwin_names_the_date_and_the_means_of_a_clear_change():
    values = np.r_[np.zeros(100), np.ones(50)]
    (found,) = adwin(values, 0.05)
    assert (found.cut, found.before, found.after) == (100, 0.0, 1.0)
    assert 100 < found.found_at < 120
    assert adwin(np.full(200, 0.4), 0.05) == []
    assert adwin(np.empty(0), 0.05) == []


def errors(seed: int, rates: np.ndarray, correlation: float) -> np.ndarray:
    """Mean error of five symbols on each date, whose errors are dependent as in a normal copula."""
    random = np.random.default_rng(seed)
    common, own = random.standard_normal((len(rates), 1)), random.standard_normal((len(rates), 5))
    latent = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own
    limit = np.array([statistics.NormalDist().inv_cdf(rate) for rate in rates])
    return (latent < limit[:, None]).mean(axis=1)


@pytest.mark.slow
def test_a_rise_of_the_error_rate_is_found_and_a_constant_rate_is_not():
    constant, risen = np.full(1_000, 0.45), np.r_[np.full(1_000, 0.45), np.full(250, 0.55)]
    alarms = sum(bool(adwin(errors(seed, constant, 0.3), ERROR_CONFIDENCE)) for seed in range(10))
    found = sum(bool(adwin(errors(seed, risen, 0.0), ERROR_CONFIDENCE)) for seed in range(5))
    assert alarms <= 1
    assert found >= 4


@given(arrays(np.float64, st.integers(1, 8), elements=st.sampled_from([0.001, 0.01, 0.02, 0.04, 0.2, 0.9])))
def test_benjamini_hochberg_rejects_the_largest_set_that_its_rule_allows(p_values):
    """The rule over all numbers k of rejections: the k-th smallest p-value is at most level · k / m."""
    level, m = 0.05, len(p_values)
    allowed = [k for k in range(m + 1) if k == 0 or sorted(p_values)[k - 1] <= level * k / m]
    rejected = benjamini_hochberg(p_values, level)
    assert rejected.sum() == max(allowed)
    assert p_values[rejected].max(initial=0) <= p_values[~rejected].min(initial=1)


def test_the_p_value_is_the_share_of_divisions_with_a_distance_as_large():
    random = np.random.default_rng(3)
    one, two = random.standard_normal(5), random.standard_normal(4) + 1.5
    every = np.r_[one, two]

    def distance(first: np.ndarray, second: np.ndarray) -> float:
        return max(abs((first <= x).mean() - (second <= x).mean()) for x in every)

    seen = distance(one, two)
    divisions = [np.isin(np.arange(9), chosen) for chosen in itertools.combinations(range(9), 5)]
    share = np.mean([distance(every[first], every[~first]) >= seen - 1e-12 for first in divisions])
    assert kolmogorov_smirnov(one, two) == pytest.approx(share)


def test_samples_are_so_far_apart_that_they_do_not_depend_on_each_other():
    """Second opinion: numpy's correlation of all lagged pairs."""
    noise = np.random.default_rng(0).standard_normal(2_000)
    moving = np.convolve(noise, np.ones(35) / 35, "valid")  # independent from lag 35 on
    assert independent_spacing(noise, 10) == 10
    found = independent_spacing(moving, 10)
    assert 30 <= found <= 70
    bound = 2 * math.sqrt(math.log10(len(moving)) / len(moving))
    lags = range(10, found + 1, 10)
    assert [abs(np.corrcoef(moving[lag:], moving[:-lag])[0, 1]) < bound for lag in lags] == [
        lag == found for lag in lags
    ]
    trend = np.arange(50.0)
    assert independent_spacing(trend, 10) > 10
    assert independent_spacing(np.full(50, 0.1), 7) == 7
    assert independent_spacing(np.empty(0), 7) == 7


def test_the_levels_of_all_tests_of_a_version_add_up_to_the_level():
    levels = [spent_level(0.05, test) for test in range(1, 20_000)]
    assert levels == sorted(levels, reverse=True)
    assert sum(levels) == pytest.approx(0.05, rel=1e-3)
    assert sum(levels) < 0.05
