"""Whole sequences of learning rates against their formulas."""

import itertools
import math

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.training.schedules import SCHEDULES

RATE = 0.2


def rates(name, max_epochs, losses=None):
    """The learning rate of each epoch, and after the last one."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)
    schedule = SCHEDULES[name](optimizer, max_epochs)
    seen = [optimizer.param_groups[0]["lr"]]
    for epoch in range(max_epochs):
        optimizer.step()
        schedule.step(1.0 if losses is None else losses[epoch])
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


CLOSED = {
    "cosine": lambda t, last: 0.01 + 0.99 * (1 + math.cos(math.pi * t / last)) / 2,
    "exponential": lambda t, last: 0.01 ** (t / last),
    "step": lambda t, last: 0.1 ** (t // math.ceil(last / 3)),
}


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 6, 20, 198, 200])
@pytest.mark.parametrize("name", CLOSED)
def test_rates_equal_the_closed_form(name, max_epochs):
    expected = [RATE * CLOSED[name](t, max_epochs) for t in range(max_epochs + 1)]
    assert rates(name, max_epochs) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_plateau_keeps_the_rate_while_the_loss_falls_at_least_every_other_epoch():
    assert rates("plateau", 20, [1 / (epoch + 1) for epoch in range(20)]) == [RATE] * 21
    assert rates("plateau", 10, [1.0, 1.0, 0.9, 0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6]) == [RATE] * 11


def test_plateau_halves_the_rate_again_and_again_while_the_loss_does_not_fall():
    seen = rates("plateau", 20)
    levels = list(dict.fromkeys(seen))
    assert levels == pytest.approx([RATE * 0.5**k for k in range(len(levels))])
    stays = [seen.count(level) for level in levels[1:-1]]
    assert len(levels) > 4
    assert len(set(stays)) == 1
    assert stays[0] <= 3


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_no_schedule_ever_raises_the_rate_or_reaches_zero(name):
    assert sorted(SCHEDULES) == sorted(PARAMETERS["training.scheduler"].options)
    for max_epochs in (1, 2, 4, 5, 20, 50):
        seen = rates(name, max_epochs)
        assert seen[0] == RATE
        assert all(later <= earlier for earlier, later in itertools.pairwise(seen))
        assert min(seen) > 0
