"""Steps of each optimiser on one weight against the closed form."""

import math

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS

RATE, EPS = 0.1, 1e-8


def adam(w: float, gradients: list[float]) -> float:
    """Kingma & Ba 2015, algorithm 1, β = 0.9, 0.999."""
    m = v = 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= RATE * m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + EPS)
    return w


def nesterov(w: float, gradients: list[float]) -> float:
    """Momentum 0.9, looking ahead (Sutskever et al. 2013, in PyTorch's form: w ← w − η (g + μ b), b ← μ b + g)."""
    buffer = 0.0
    for g in gradients:
        buffer = 0.9 * buffer + g
        w -= RATE * (g + 0.9 * buffer)
    return w


def rmsprop(w: float, gradients: list[float]) -> float:
    """Hinton's lecture 6e with a smoothing of 0.99."""
    square = 0.0
    for g in gradients:
        square = 0.99 * square + 0.01 * g * g
        w -= RATE * g / (math.sqrt(square) + EPS)
    return w


CLOSED = {"adam": adam, "adamw": adam, "sgd": nesterov, "rmsprop": rmsprop}


@pytest.mark.parametrize("gradients", [[0.5], [0.5, -2.0, 0.25], [0.0, 1.0, 0.0, -1.0]])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_equal_the_closed_form(name, gradients):
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = OPTIMIZERS[name].make([weight], RATE)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    assert float(weight.detach()) == pytest.approx(CLOSED[name](2.0, gradients), rel=1e-12)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_none_of_them_decays_weights_by_itself(name):
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = OPTIMIZERS[name].make([weight], RATE)
    for _ in range(3):
        weight.grad = torch.zeros(1)
        optimizer.step()
    assert float(weight.detach()) == 2.0


@pytest.mark.parametrize(
    ("name", "reference"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)], ids=["adam", "adamw"]
)
@pytest.mark.parametrize("decay", [0.0, 1e-4, 0.3])
def test_weight_decay_equals_pytorchs_over_several_steps(name, reference, decay):
    rate, family = 0.05, OPTIMIZERS[name]
    own = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in ((3, 4), (5,))]
    other = [nn.Parameter(weight.detach().clone()) for weight in own]
    optimizer, expected = family.make(own, rate), reference(other, lr=rate, weight_decay=decay)
    for _ in range(6):
        for mine, theirs in zip(own, other, strict=True):
            mine.grad = torch.randn_like(mine)
            theirs.grad = mine.grad.clone()
        family.decay(own, learning_rate=rate, strength=decay)
        optimizer.step()
        expected.step()
    for mine, theirs in zip(own, other, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def test_every_optimiser_of_the_space_is_here():
    assert sorted(OPTIMIZERS) == sorted(PARAMETERS["training.optimizer"].options) == sorted(CLOSED)
