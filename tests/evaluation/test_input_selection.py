"""Importance of inputs: intervals of means, and groups against the best shadow."""

import numpy as np
import pytest

from cnn_lstm_hyperopt.evaluation.input_selection import MIN_UNITS, best_shadow, importances, mean_intervals

UNITS = np.arange(400)


def test_intervals_of_independent_values_are_those_of_the_normal_distribution():
    values = np.random.default_rng(0).normal(0.3, 2.0, 400)
    low, high = mean_intervals({"x": values}, UNITS, in_time=False)["x"]
    reach = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - reach, values.mean() + reach), abs=0.1 * reach)


def test_intervals_are_wider_for_dependent_values():
    random = np.random.default_rng(1)
    slow = np.repeat(random.standard_normal(40), 10)
    independent = mean_intervals({"x": slow}, UNITS, in_time=False)["x"]
    in_blocks = mean_intervals({"x": slow}, UNITS, in_time=True)["x"]
    of_groups = mean_intervals({"x": slow}, np.repeat(np.arange(40), 10), in_time=False)["x"]
    width = independent.high - independent.low
    assert in_blocks.high - in_blocks.low > 1.8 * width
    assert of_groups.high - of_groups.low == pytest.approx(np.sqrt(10) * width, rel=0.2)


def test_too_few_units_have_no_interval():
    with pytest.raises(ValueError, match=str(MIN_UNITS)):
        mean_intervals({"x": np.zeros(MIN_UNITS - 1)}, np.arange(MIN_UNITS - 1), in_time=True)


def test_a_group_is_kept_if_it_beats_the_best_shadow_and_its_interval_is_above_zero():
    noise = np.random.default_rng(2).standard_normal((4, 400))
    increases = {"strong": 0.5 + noise[0], "weak": 0.01 + noise[1], "always": noise[2]}
    shadows = {"strong": np.full(400, 0.1), "weak": np.full(400, -0.2)}
    found = importances(increases, shadows, UNITS, in_time=True)
    assert {group: each.kept for group, each in found.items()} == {"strong": True, "weak": False, "always": True}
    assert (found["weak"].shadow, found["always"].shadow) == (pytest.approx(-0.2), None)
    high = {**shadows, "weak": np.full(400, 0.6)}  # the shadow of another group
    assert not importances(increases, high, UNITS, in_time=True)["strong"].kept


def test_the_best_shadow_is_at_least_zero():
    assert (best_shadow([-0.1, 0.2]), best_shadow([-0.1]), best_shadow([])) == (0.2, 0.0, 0.0)
