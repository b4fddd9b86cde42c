"""Whole sequences of learning rates against their formulas."""

import itertools
import math

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.training.schedules import SCHEDULES

RATE = 0.2


def rates(name: str, max_epochs: int, losses: list[float] | None = None) -> list[float]:
    """The learning rate of each epoch, and after the last one."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=RATE)
    schedule = SCHEDULES[name](optimizer, max_epochs)
    seen = [optimizer.param_groups[0]["lr"]]
    for epoch in range(max_epochs):
        optimizer.step()
        schedule.step(1.0 if losses is None else losses[epoch])
        seen.append(optimizer.param_groups[0]["lr"])
    return seen


@pytest.mark.parametrize("max_epochs", [1, 2, 20, 200])
def test_cosine_falls_to_one_percent_along_half_a_cosine(max_epochs):
    expected = [RATE * (0.01 + 0.99 * (1 + math.cos(math.pi * t / max_epochs)) / 2) for t in range(max_epochs + 1)]
    assert rates("cosine", max_epochs) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("max_epochs", [1, 2, 20, 200])
def test_exponential_falls_to_one_percent_by_the_same_factor_each_epoch(max_epochs):
    expected = [RATE * 0.01 ** (t / max_epochs) for t in range(max_epochs + 1)]
    assert rates("exponential", max_epochs) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("max_epochs", [3, 6, 21, 198])
def test_step_falls_to_a_tenth_after_each_third(max_epochs):
    expected = [RATE * 0.1 ** (3 * t // max_epochs) for t in range(max_epochs + 1)]
    assert rates("step", max_epochs) == pytest.approx(expected, rel=1e-9)


def test_plateau_keeps_the_rate_while_the_loss_falls():
    assert rates("plateau", 20, [1 / (epoch + 1) for epoch in range(20)]) == [RATE] * 21


def test_plateau_halves_the_rate_again_and_again_while_the_loss_does_not_fall():
    seen = rates("plateau", 20)
    levels = list(dict.fromkeys(seen))
    assert levels == pytest.approx([RATE * 0.5**k for k in range(len(levels))])
    stays = [seen.count(level) for level in levels[1:-1]]
    assert len(levels) > 4
    assert len(set(stays)) == 1
    assert stays[0] <= 3


def test_a_lower_loss_gives_plateau_its_patience_back():
    losses = [1.0, 1.0, 0.9, 0.9, 0.8, 0.8, 0.7, 0.7, 0.6, 0.6]
    assert rates("plateau", 10, losses) == [RATE] * 11


def test_every_schedule_of_the_space_is_here():
    assert sorted(SCHEDULES) == sorted(PARAMETERS["training.scheduler"].options)


@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_no_schedule_ever_raises_the_rate_or_reaches_zero(name):
    for max_epochs in (1, 2, 4, 5, 20, 50):
        seen = rates(name, max_epochs)
        assert seen[0] == RATE
        assert all(later <= earlier for earlier, later in itertools.pairwise(seen))
        assert min(seen) > 0
