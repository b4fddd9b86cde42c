"""Patience by hand, and against a second way of counting."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.training.patience import Patience


def ended_after(losses, minimum, factor):
    """The epoch after which training ends; None: never."""
    patience = Patience(minimum=minimum, factor=factor)
    assert (patience.best_epoch, patience.best_loss, patience.exhausted(0)) == (0, math.inf, False)
    for epoch, loss in enumerate(losses, start=1):
        assert patience.improved(epoch, loss) is (loss < min(losses[: epoch - 1], default=math.inf))
        if patience.exhausted(epoch):
            return epoch
    return None


@pytest.mark.parametrize(
    ("best_epoch", "minimum", "factor", "expected"),
    [
        (1, 4, 0.5, 5),  # the minimum counts
        (8, 4, 0.5, 12),  # both say 4
        (9, 4, 0.5, 14),  # ⌈4.5⌉ = 5
        (40, 4, 0.5, 60),  # late progress earns more time
        (40, 4, 0.0, 44),  # a factor of 0: classic patience
        (10, 1, 1.0, 20),
        (3, 1, 0.1, 4),
    ],
)
def test_patience_grows_with_the_best_epoch(best_epoch, minimum, factor, expected):
    losses = [1 / epoch for epoch in range(1, best_epoch + 1)] + [9.0] * 100
    assert ended_after(losses, minimum, factor) == expected


@given(losses=st.lists(st.floats(0, 10), min_size=1, max_size=40), minimum=st.integers(1, 9), factor=st.floats(0, 2))
def test_it_equals_a_second_way_of_counting(losses, minimum, factor):
    expected = None
    for epoch in range(1, len(losses) + 1):
        best = losses.index(min(losses[:epoch])) + 1
        if epoch >= best + minimum and epoch >= best + factor * best:
            expected = epoch
            break
    assert ended_after(losses, minimum, factor) == expected
