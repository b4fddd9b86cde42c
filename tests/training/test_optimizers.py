"""Two steps of each optimiser on one weight against the closed form."""

import math

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS

RATE, EPS = 0.1, 1e-8


def adam(w: float, gradients: list[float], decay: float, *, decoupled: bool = False) -> float:
    """Kingma & Ba 2015, algorithm 1, β = 0.9, 0.999; decoupled decay: Loshchilov & Hutter 2019, algorithm 2."""
    m = v = 0.0
    for t, gradient in enumerate(gradients, start=1):
        g = gradient if decoupled else gradient + decay * w
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        step = m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + EPS)
        w = w - RATE * step - (RATE * decay * w if decoupled else 0.0)
    return w


def sgd(w: float, gradients: list[float], decay: float) -> float:
    """Momentum 0.9 (Sutskever et al. 2013, as PyTorch writes it: the buffer starts with the first gradient)."""
    buffer = 0.0
    for gradient in gradients:
        buffer = 0.9 * buffer + gradient + decay * w
        w -= RATE * buffer
    return w


def rmsprop(w: float, gradients: list[float], decay: float) -> float:
    """Hinton's lecture 6e with a smoothing of 0.99."""
    square = 0.0
    for gradient in gradients:
        g = gradient + decay * w
        square = 0.99 * square + 0.01 * g * g
        w -= RATE * g / (math.sqrt(square) + EPS)
    return w


CLOSED = {
    "adam": adam,
    "adamw": lambda w, gradients, decay: adam(w, gradients, decay, decoupled=True),
    "sgd": sgd,
    "rmsprop": rmsprop,
}


@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("gradients", [[0.5], [0.5, -2.0, 0.25]])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_equal_the_closed_form(name, gradients, decay):
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = OPTIMIZERS[name]([weight], RATE, decay)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    assert float(weight.detach()) == pytest.approx(CLOSED[name](2.0, gradients, decay), rel=1e-12)


def test_every_optimiser_of_the_space_is_here():
    assert sorted(OPTIMIZERS) == ["adam", "adamw", "rmsprop", "sgd"] == sorted(CLOSED)
