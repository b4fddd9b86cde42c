"""Class probabilities from quantile forecasts: a normal forecast is exact, others are proper probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from cnn_lstm_hyperopt.evaluation.baselines.quantiles import (
    barrier_probabilities,
    interval_probabilities,
    probabilities_below,
)

LEVELS = np.linspace(0.1, 0.9, 9)
NUMBERS = st.floats(-100, 100, width=32)


def forecasts(mean: float, deviation: float, edges: list[float]):
    return LEVELS, norm.ppf(LEVELS, mean, deviation)[None], np.array([edges])


@given(st.floats(-1, 1), st.floats(0.5, 3), st.floats(-1.4, 1.4))
def test_a_normal_forecast_is_exact_between_and_beyond_the_quantiles(mean, deviation, edge):
    expected = norm.cdf(edge, mean, deviation)
    assert probabilities_below(*forecasts(mean, deviation, [edge])) == pytest.approx(
        np.clip(expected, 1e-4, 1 - 1e-4), abs=1e-4
    )


@given(arrays(float, (3, 5), elements=NUMBERS), arrays(float, (3, 2), elements=NUMBERS))
def test_any_forecast_gives_probabilities_that_fall_with_a_higher_forecast(quantiles, edges):
    levels, edges = np.array([0.05, 0.2, 0.5, 0.8, 0.95]), np.sort(edges, axis=1)
    for convert in (interval_probabilities, barrier_probabilities):
        found = convert(levels, quantiles, edges)
        np.testing.assert_allclose(found.sum(axis=1), 1.0)
        assert found.min() >= 0
    higher = probabilities_below(levels, quantiles + 1.0, edges)
    assert (higher <= probabilities_below(levels, quantiles, edges) + 1e-9).all()


def test_barriers_are_passed_as_often_as_by_a_random_walk():
    """Monte Carlo: 20,000 walks of 400 small steps, so that few steps jump over a barrier."""
    steps = np.random.default_rng(0).normal(0, 1 / 20, (4_000, 400)).cumsum(axis=1)
    lower, upper = -1.5, 2.0
    first = [
        np.where((hit := passed).any(axis=1), hit.argmax(axis=1), 1_000) for passed in (steps < lower, steps > upper)
    ]
    shares = [np.mean(first[0] < first[1]), np.mean(first[0] == first[1]), np.mean(first[1] < first[0])]
    found = barrier_probabilities(*forecasts(0, 1, [lower, upper]))
    np.testing.assert_allclose(found[0], shares, atol=0.02)


@pytest.mark.parametrize(
    ("levels", "quantiles"),
    [
        ([0.5], [[1.0]]),
        ([0.5, 0.1], [[1.0, 2.0]]),
        ([0.1, 1.0], [[1.0, 2.0]]),
        ([0.1, 0.9], [[1.0]]),
        ([0.1, 0.9], [[1, np.nan]]),
    ],
)
def test_wrong_quantiles_are_refused(levels, quantiles):
    with pytest.raises(ValueError, match="must"):
        probabilities_below(np.array(levels), np.array(quantiles), np.zeros((1, 1)))
