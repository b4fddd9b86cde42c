"""When the ensemble is recommended: where confirmation can't separate the first two finalists."""

import numpy as np
import pytest
from scipy import stats

from builders.finalists import Planted, planted
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate, Confirmation
from cnn_lstm_hyperopt.pipeline.recommendation import are_separated, finalists_are_separated


def confirmation(*losses):
    return Confirmation(Candidate(1, 1, {}, 0.5), tuple(0.5 for _ in losses), losses=losses)


@pytest.mark.parametrize(
    ("first", "second", "separated"),
    [
        ((0.60, 0.61, 0.60), (0.70, 0.71, 0.70), True),
        ((0.60, 0.66, 0.63), (0.61, 0.67, 0.64), False),
        ((0.60,), (0.70,), False),  # one seed has no spread
        ((), (), False),
        ((0.6, 0.6), (0.6, 0.6), False),
        ((0.6, 0.6), (0.7, 0.7), True),
    ],
)
def test_the_interval_of_the_difference_of_mean_losses_decides(first, second, separated):
    assert are_separated(confirmation(*first), confirmation(*second)) is separated
    if min(map(len, (first, second))) > 2:
        low, high = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
        assert separated is not bool(low <= 0 <= high)


def test_only_several_confirmed_finalists_need_a_separation():
    model, near, far = Planted(np.ones((1, 2))), confirmation(0.6, 0.61), confirmation(0.9, 0.91)
    finalists = [planted(rank, model, confirmed=each) for rank, each in ((1, near), (2, near), (3, far))]
    assert not finalists_are_separated(finalists)
    assert finalists_are_separated([finalists[0], finalists[2]])
    assert finalists_are_separated(finalists[:1])
    assert finalists_are_separated([planted(1, model), planted(2, model)])
