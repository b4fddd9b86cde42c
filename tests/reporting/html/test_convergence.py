"""Whether more trials pay, on searches whose truth is known."""

import math

import numpy as np
import pytest

from cnn_lstm_hyperopt.reporting.html.convergence import MORE, outlook
from cnn_lstm_hyperopt.search import Milestone


def test_growth_by_the_logarithm_goes_on_by_the_logarithm():
    history = [Milestone(n, 0.0, 1 + 0.1 * math.log2(n)) for n in range(1, 401)]
    found = outlook(history, 400)
    assert found.last_doubling == pytest.approx(0.1 / history[-1].hypervolume)
    truth = 0.1 * math.log2(500 / 400)
    assert found.expected == pytest.approx(truth / history[-1].hypervolume)


def test_a_search_that_found_nothing_in_its_second_half_is_over():
    found = outlook([Milestone(3, 0.0, 0.5), Milestone(40, 0.0, 0.8)], 100)
    assert found.expected == 0
    assert not found.worth_it
    assert "not worth it" in found.sentence


def test_a_search_that_still_rises_is_worth_more():
    assert outlook([Milestone(3, 0.0, 0.5), Milestone(90, 0.0, 0.8)], 100).worth_it


@pytest.mark.parametrize(
    ("history", "trials"), [([], 100), ([Milestone(1, 0.0, 0.4)], 19), ([Milestone(1, 0.0, 0.0)], 100)]
)
def test_too_little_says_nothing(history, trials):
    assert outlook(history, trials) is None


def test_the_best_of_random_draws_grows_as_foretold():
    """Exponential draws: the best of n grows by ln 2 a doubling, so the forecast is right on average."""
    generator = np.random.default_rng(0)
    n, errors = 200, []
    for _ in range(400):
        draws = generator.exponential(size=n + MORE)
        best = np.maximum.accumulate(draws)
        history = [Milestone(k + 1, 0.0, float(best[k])) for k in range(n) if k == 0 or best[k] > best[k - 1]]
        errors.append(outlook(history, n).expected * best[n - 1] - (best[-1] - best[n - 1]))
    assert abs(np.mean(errors)) < 0.1
