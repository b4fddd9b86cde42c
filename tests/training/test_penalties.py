"""L1, L2 and weight decay against autograd and closed forms."""

import math

import pytest
import torch
from torch import nn

from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training import ValueScale
from cnn_lstm_hyperopt.training.penalties import add_penalty_gradients, decay_weights
from cnn_lstm_hyperopt.training.train_step import Stepper


def weights(*shapes: tuple[int, ...]) -> list[nn.Parameter]:
    """Double precision, with random gradients."""
    made = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    for weight in made:
        weight.grad = torch.randn_like(weight)
    return made


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7), (1e-7, 1e-6)])
def test_the_gradient_is_that_of_the_written_penalty(l1, l2):
    own = weights((3, 4), (5,), ())
    before = [weight.grad.clone() for weight in own]
    penalty = l1 * sum(w.abs().sum() for w in own) + l2 / 2 * sum((w**2).sum() for w in own)
    expected = [g + d for g, d in zip(before, torch.autograd.grad(penalty, own), strict=True)]
    add_penalty_gradients(own, l1=l1, l2=l2)
    for weight, gradient in zip(own, expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-14, atol=0.0)


def test_the_gradient_by_hand_where_the_sign_of_zero_is_zero():
    weight = nn.Parameter(torch.tensor([2.0, -3.0, 0.0, -0.0], dtype=torch.float64))
    weight.grad = torch.tensor([1.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    add_penalty_gradients([weight], l1=0.5, l2=0.25)
    assert weight.grad.tolist() == [1 + 0.5 + 0.5, 1 - 0.5 - 0.75, 1.0, 1.0]


def test_weights_without_a_gradient_are_skipped_and_no_weight_is_changed():
    own = weights((2,), (3,), (2,))
    own[1].grad = None
    before = [weight.detach().clone() for weight in own]
    add_penalty_gradients(own, l1=0.5, l2=0.5)
    assert own[1].grad is None
    assert own[0].grad is not None
    assert all(torch.equal(weight, old) for weight, old in zip(own, before, strict=True))


def test_zero_strengths_change_nothing_to_the_bit():
    own = weights((3, 3), (2,))
    before = [(weight.detach().clone(), weight.grad.clone()) for weight in own]
    add_penalty_gradients(own, l1=0.0, l2=0.0)
    decay_weights(own, learning_rate=0.1, decay=0.0)
    for weight, (value, gradient) in zip(own, before, strict=True):
        assert torch.equal(weight, value)
        assert torch.equal(weight.grad, gradient)


class OneWeight(nn.Module):
    """The class's logits are (w, 0) whatever the window; no regression."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, x):
        return Output(torch.stack([self.w, torch.zeros_like(self.w)]).expand(len(x), 2), None)


def adam_steps():
    m = v = 0.0
    for t in range(1, 100):
        g = yield
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        yield m / (1 - 0.9**t) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)


def nesterov_steps():
    buffer = 0.0
    while True:
        g = yield
        buffer = 0.9 * buffer + g
        yield g + 0.9 * buffer


def rmsprop_steps():
    square = 0.0
    while True:
        g = yield
        square = 0.99 * square + 0.01 * g * g
        yield g / (math.sqrt(square) + 1e-8)


@pytest.mark.parametrize(
    ("name", "directions"),
    [("sgd", nesterov_steps), ("adam", adam_steps), ("adamw", adam_steps), ("rmsprop", rmsprop_steps)],
)
@pytest.mark.parametrize(
    ("l1", "l2", "decay"), [(0.0, 0.0, 0.0), (0.2, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.4), (0.2, 0.3, 0.4)]
)
def test_a_step_has_all_three_whatever_the_optimiser(make_windows, make_config, name, directions, l1, l2, decay):
    """Closed form on one weight: g = σ(w) − [class 0] + l1 sign(w) + l2 w, then w ← (1 − ηλ) w − η · direction(g).

    Adam's weight decay is coupled: w ← w − η · direction(g + λ w).
    """
    rate, w = 0.05, -1.5
    net, windows = OneWeight(w), make_windows(8, values=False)
    stepper = Stepper(
        net,
        windows,
        make_config(optimizer=name, learning_rate=rate, l1=l1, l2=l2, weight_decay=decay, gradient_clip=1e6),
        scale=ValueScale(0.0, 1.0),
        generator=torch.Generator(),
    )
    label_share = float((windows.labels == 0).double().mean())
    direction = directions()
    for _ in range(4):
        stepper.step(torch.arange(8))
        g = 1 / (1 + math.exp(-w)) - label_share + l1 * math.copysign(1, w) + l2 * w
        next(direction)
        if name == "adam":
            w -= rate * direction.send(g + decay * w)
        else:
            w = (1 - rate * decay) * w - rate * direction.send(g)
        assert float(net.w.detach()) == pytest.approx(w, rel=1e-9)


def test_the_penalties_are_part_of_what_is_clipped_and_the_decay_is_not(make_windows, make_config):
    """With a tiny bound SGD moves by rate · 1.9 · bound (Nesterov's first step), after the decay."""
    net = OneWeight(-1.5)
    changed = {"l1": 0.2, "l2": 0.3, "weight_decay": 0.4, "gradient_clip": 1e-3, "learning_rate": 0.05}
    stepper = Stepper(
        net,
        make_windows(8, values=False),
        make_config(optimizer="sgd", **changed),
        scale=ValueScale(0.0, 1.0),
        generator=torch.Generator(),
    )
    stepper.step(torch.arange(8))
    expected = (1 - 0.05 * 0.4) * -1.5 + 0.05 * 1.9 * 1e-3  # the gradient is negative
    assert float(net.w.detach()) == pytest.approx(expected, abs=1e-8)


def test_decay_follows_the_scheduled_learning_rate(make_windows, make_config):
    net = OneWeight(-1.5)
    stepper = Stepper(
        net,
        make_windows(8, values=False),
        make_config(optimizer="sgd", weight_decay=0.4),
        scale=ValueScale(0.0, 1.0),
        generator=torch.Generator(),
    )
    stepper.optimizer.param_groups[0]["lr"] = 0.0
    stepper.step(torch.arange(8))
    assert float(net.w.detach()) == -1.5
