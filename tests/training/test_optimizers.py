"""Optimisers, penalties and weight decay against closed forms, autograd and PyTorch."""

import math

import pytest
import torch
from torch import nn

from builders.trainings import config, windows
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training import ValueScale
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.penalties import add_penalty_gradients, decay_weights
from cnn_lstm_hyperopt.training.train_step import Stepper


def adam():
    """Kingma & Ba 2015, algorithm 1, β = 0.9, 0.999: gradient → direction, once each."""
    m = v = 0.0
    for t in range(1, 100):
        g = yield
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        yield m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)


def nesterov():
    """Momentum 0.9, looking ahead (Sutskever et al. 2013, in PyTorch's form: w ← w − η (g + μ b), b ← μ b + g)."""
    buffer = 0.0
    while True:
        g = yield
        buffer = 0.9 * buffer + g
        yield g + 0.9 * buffer


def rmsprop():
    """Hinton's lecture 6e with a smoothing of 0.99."""
    square = 0.0
    while True:
        g = yield
        square = 0.99 * square + 0.01 * g * g
        yield g / (math.sqrt(square) + 1e-8)


CLOSED = {"adam": adam, "adamw": adam, "sgd": nesterov, "rmsprop": rmsprop}


def test_every_optimiser_of_the_space_is_here():
    assert sorted(OPTIMIZERS) == sorted(PARAMETERS["training.optimizer"].options) == sorted(CLOSED)


@pytest.mark.parametrize("gradients", [[0.5], [0.5, -2.0, 0.25], [0.0, 1.0, 0.0, -1.0], [0.0, 0.0]])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_equal_the_closed_form_without_any_decay(name, gradients):
    weight, expected, direction = nn.Parameter(torch.tensor([2.0], dtype=torch.float64)), 2.0, CLOSED[name]()
    optimizer = OPTIMIZERS[name].make([weight], 0.1)
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        next(direction)
        expected -= 0.1 * direction.send(gradient)
    assert float(weight.detach()) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "reference"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
@pytest.mark.parametrize("decay", [0.0, 1e-4, 0.3])
def test_weight_decay_equals_pytorchs_over_several_steps(name, reference, decay):
    rate, kind, own = 0.05, OPTIMIZERS[name], with_gradients((3, 4), (5,))
    other = [nn.Parameter(weight.detach().clone()) for weight in own]
    optimizer, expected = kind.make(own, rate), reference(other, lr=rate, weight_decay=decay)
    for _ in range(6):
        for mine, theirs in zip(own, other, strict=True):
            mine.grad = torch.randn_like(mine)
            theirs.grad = mine.grad.clone()
        kind.decay(own, learning_rate=rate, strength=decay)
        optimizer.step()
        expected.step()
    for mine, theirs in zip(own, other, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)


def with_gradients(*shapes):
    made = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    for weight in made:
        weight.grad = torch.randn_like(weight)
    return made


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7), (1e-7, 1e-6)])
def test_the_penalty_gradient_is_that_of_the_written_penalty(l1, l2):
    own = with_gradients((3, 4), (5,), ())
    before = [weight.grad.clone() for weight in own]
    penalty = l1 * sum(w.abs().sum() for w in own) + l2 / 2 * sum((w**2).sum() for w in own)
    expected = [g + d for g, d in zip(before, torch.autograd.grad(penalty, own), strict=True)]
    add_penalty_gradients(own, l1=l1, l2=l2)
    for weight, gradient in zip(own, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-14, atol=0.0)


def test_the_penalty_gradient_by_hand_where_the_sign_of_zero_is_zero():
    weight, skipped = nn.Parameter(torch.tensor([2.0, -3.0, 0.0, -0.0], dtype=torch.float64)), with_gradients((3,))[0]
    weight.grad, skipped.grad = torch.ones(4, dtype=torch.float64), None
    add_penalty_gradients([weight, skipped], l1=0.5, l2=0.25)
    assert weight.grad.tolist() == [1 + 0.5 + 0.5, 1 - 0.5 - 0.75, 1.0, 1.0]
    assert weight.tolist() == [2.0, -3.0, 0.0, -0.0]
    assert skipped.grad is None


def test_zero_strengths_change_nothing_to_the_bit():
    own = with_gradients((3, 3), (2,))
    before = [(weight.detach().clone(), weight.grad.clone()) for weight in own]
    add_penalty_gradients(own, l1=0.0, l2=0.0)
    decay_weights(own, learning_rate=0.1, decay=0.0)
    assert all(torch.equal(w, v) and torch.equal(w.grad, g) for w, (v, g) in zip(own, before, strict=True))


class OneWeight(nn.Module):
    """The logits are (w, 0) for any window; no regression."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(-1.5, dtype=torch.float64))

    def forward(self, x):
        return Output(torch.stack([self.w, torch.zeros_like(self.w)]).expand(len(x), 2), None)


def stepper_of(data, **changed):
    settings = config(learning_rate=0.05, **changed)
    return Stepper(OneWeight(), data, settings, scale=ValueScale(0.0, 1.0), generator=torch.Generator())


@pytest.mark.parametrize("name", sorted(CLOSED))
@pytest.mark.parametrize(
    ("l1", "l2", "decay"), [(0.0, 0.0, 0.0), (0.2, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.4), (0.2, 0.3, 0.4)]
)
def test_a_step_has_all_three_whatever_the_optimiser(name, l1, l2, decay):
    """Closed form on one weight: g = σ(w) − [class 0] + l1 sign(w) + l2 w, then w ← (1 − ηλ) w − η · direction(g).

    Adam's weight decay is coupled: w ← w − η · direction(g + λ w).
    """
    rate, w, data, direction = 0.05, -1.5, windows(8, values=False), CLOSED[name]()
    stepper = stepper_of(data, optimizer=name, l1=l1, l2=l2, weight_decay=decay, gradient_clip=1e6)
    label_share = float((data.labels == 0).double().mean())
    for _ in range(4):
        stepper.step(torch.arange(8))
        g = 1 / (1 + math.exp(-w)) - label_share + l1 * math.copysign(1, w) + l2 * w
        next(direction)
        if name == "adam":
            w -= rate * direction.send(g + decay * w)
        else:
            w = (1 - rate * decay) * w - rate * direction.send(g)
        assert float(stepper.network.w.detach()) == pytest.approx(w, rel=1e-9)


def test_the_penalties_are_part_of_what_is_clipped_and_the_decay_is_not():
    """With a tiny bound SGD moves by rate · 1.9 · bound (Nesterov's first step), after the decay."""
    options = {"optimizer": "sgd", "l1": 0.2, "l2": 0.3, "weight_decay": 0.4, "gradient_clip": 1e-3}
    stepper = stepper_of(windows(8, values=False), **options)
    stepper.step(torch.arange(8))
    expected = (1 - 0.05 * 0.4) * -1.5 + 0.05 * 1.9 * 1e-3  # the gradient is negative
    assert float(stepper.network.w.detach()) == pytest.approx(expected, abs=1e-8)


def test_decay_follows_the_scheduled_learning_rate():
    stepper = stepper_of(windows(8, values=False), optimizer="sgd", weight_decay=0.4)
    stepper.optimizer.param_groups[0]["lr"] = 0.0
    stepper.step(torch.arange(8))
    assert float(stepper.network.w.detach()) == -1.5
