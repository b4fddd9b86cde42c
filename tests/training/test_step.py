"""Losses, optimisers, penalties and whole steps against closed forms, autograd and PyTorch."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.trainings import AUGMENTATION, SCALE, config, network, windows
from cnn_lstm_hyperopt.config import TrainingSettings, parse_space
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import TrainingConfig, ValueScale
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig, Mixed
from cnn_lstm_hyperopt.training.losses import mixed_targets, task_losses
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.penalties import add_penalty_gradients
from cnn_lstm_hyperopt.training.train_step import Stepper

BATCH = 7


def smoothed_cross_entropy(logits, target, smoothing):
    """Szegedy et al. 2016, section 7: the target is (1 − ε) · q + ε / K for a distribution q ``(batch, K)``."""
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smoothed = (1 - smoothing) * target + smoothing / logits.shape[1]
    return float(-(smoothed * log_probabilities).sum(axis=1).mean())


def batch(n_classes):
    """Logits, labels, predicted values, true values."""
    rng = np.random.default_rng(n_classes)
    logits, labels = 3 * rng.normal(size=(BATCH, n_classes)), rng.integers(n_classes, size=BATCH)
    return logits, labels, rng.normal(size=BATCH), rng.normal(size=BATCH)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_they_are_the_smoothed_cross_entropy_and_the_mean_squared_error(n_classes, share, smoothing):
    """A mixed batch has soft targets. Its partners are a 7-cycle, not swaps, which would hide an inverted pairing."""
    logits, labels, value, target = (torch.from_numpy(part) for part in batch(n_classes))
    partner = np.roll(np.arange(BATCH), 2)
    none = Mixed(torch.empty(0), None, 1.0)
    mixed = none if share is None else Mixed(none.x, torch.from_numpy(partner), share)
    targets, values = mixed_targets(labels, target, mixed, n_classes=n_classes)
    both = task_losses(Output(logits, value), targets, values, label_smoothing=smoothing)
    one_hot, weight = np.eye(n_classes)[labels.numpy()], 1.0 if share is None else share
    soft = weight * one_hot + (1 - weight) * one_hot[partner]
    mixed_target = (weight * target + (1 - weight) * target[partner]).numpy()
    assert [loss.shape for loss in both] == [(), ()]
    assert float(both[0]) == pytest.approx(smoothed_cross_entropy(logits.numpy(), soft, smoothing))
    assert float(both[1]) == pytest.approx(((value.numpy() - mixed_target) ** 2).mean())
    for output, truth in ((Output(logits, None), values), (Output(logits, value), None)):
        assert task_losses(output, targets, truth, label_smoothing=smoothing) == (both[0], None)
    assert mixed_targets(labels, None, mixed, n_classes=n_classes)[1] is None


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, 0.7), (0.2, 0.7), (0.3, 0.7), (0.45, 0.55), (0.8, 0.2), (0.85, 0.2), (1.0, 0.2)]
)
def test_the_regression_weight_is_the_rest_within_its_bounds(weight, expected):
    assert config(classification_weight=weight).regression_weight == pytest.approx(expected)


SPACE, _ = parse_space({"regularization": {"l1_switch": True}, "augmentation": {"switch": True}})
PARAMS = random_configuration(SPACE, 0, 0) | {
    "multi_task.balancing": "dynamic",
    "multi_task.classification_weight": 0.6,
}
SETTINGS = TrainingSettings(max_epochs=9, min_patience=3, patience_factor=0.75)


def test_a_training_is_read_from_parameters_and_settings():
    read = TrainingConfig.from_params(PARAMS, SETTINGS, max_epochs=77)
    assert (read.max_epochs, read.min_patience, read.patience_factor) == (77, 3, 0.75)
    for name, value in PARAMS.items():
        group, _, field = name.partition(".")
        if group in ("training", "regularization", "multi_task") and field != "l1_switch":
            assert getattr(read, field) == value, name
    assert vars(read.augmentation) == {k: PARAMS[f"augmentation.{k}"] for k in vars(AugmentationConfig())}


def test_what_a_switch_leaves_out_is_off_and_what_it_needs_is_required():
    off = {"regularization.l1_switch": False, "augmentation.switch": False, "multi_task.balancing": "uncertainty"}
    unused = ("regularization.l1", "multi_task.classification_weight")
    without = {name: value for name, value in PARAMS.items() if name not in unused and "augmentation" not in name}
    read = TrainingConfig.from_params(without | off, SETTINGS, max_epochs=1)
    assert (read.l1, read.augmentation, read.augmentation.active) == (0, AugmentationConfig(), False)
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_params(without | {"augmentation.switch": False}, SETTINGS, max_epochs=1)
    assert (caught.value.field, caught.value.code) == ("regularization.l1", "missing-parameter")


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


class OneWeight(nn.Module):
    """The logits are (w, 0) for any window; no regression."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(-1.5, dtype=torch.float64))

    def forward(self, x):
        return Output(torch.stack([self.w, torch.zeros_like(self.w)]).expand(len(x), 2), None)


def one_weight_stepper(data, **changed):
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
    stepper = one_weight_stepper(data, optimizer=name, l1=l1, l2=l2, weight_decay=decay, gradient_clip=1e6)
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
    stepper = one_weight_stepper(windows(8, values=False), **options)
    stepper.step(torch.arange(8))
    expected = (1 - 0.05 * 0.4) * -1.5 + 0.05 * 1.9 * 1e-3  # the gradient is negative
    assert float(stepper.network.w.detach()) == pytest.approx(expected, abs=1e-8)


def test_decay_follows_the_scheduled_learning_rate():
    stepper = one_weight_stepper(windows(8, values=False), optimizer="sgd", weight_decay=0.4)
    stepper.optimizer.param_groups[0]["lr"] = 0.0
    stepper.step(torch.arange(8))
    assert float(stepper.network.w.detach()) == -1.5


PLAIN = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.01),
    "adamw": lambda weights: torch.optim.Adam(weights, lr=0.01),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, nesterov=True),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=0.01),
}


def stepper_of(net, data, seed=0, **changed):
    return Stepper(net, data, config(**changed), scale=SCALE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_with_everything_off_it_is_a_plain_pytorch_step(name):
    data, net = windows(32), network(dropout=0.0)
    other = copy.deepcopy(net)
    optimizer, stepper = PLAIN[name](other.parameters()), stepper_of(net, data, optimizer=name)
    for index in torch.arange(32).split(8):
        seen = stepper.step(index)
        output = other(torch.stack([data.series[s : s + 4] for s in data.starts[index].tolist()]))
        cross_entropy = functional.cross_entropy(output.logits, data.labels[index])
        squared_error = functional.mse_loss(output.value, (data.values[index] - 5.0) / 3.0)
        optimizer.zero_grad()
        (0.5 * cross_entropy + 0.5 * squared_error).backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        optimizer.step()
        assert seen.tolist() == pytest.approx([cross_entropy.item(), squared_error.item()], rel=1e-5)
        assert not seen.requires_grad
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)  # fused kernels round in another order


def test_without_regression_the_loss_is_the_cross_entropy_alone():
    data, net = windows(8, n_classes=3, values=False), network(n_classes=3, has_regression=False, dropout=0.0)
    expected = functional.cross_entropy(net(data.gather(torch.arange(8))).logits, data.labels)
    expected.backward()
    gradients = [weight.grad.clone() for weight in net.parameters()]
    seen = stepper_of(net, data, classification_weight=0.3, gradient_clip=1e6).step(torch.arange(8))
    assert seen.tolist() == [expected.item(), 0.0]
    assert all(torch.equal(weight.grad, g) for weight, g in zip(net.parameters(), gradients, strict=True))


def weights_after(seed=0, **changed):
    net = network(dropout=0.0)
    stepper = stepper_of(net, windows(16), seed, **{"gradient_clip": 100.0, **changed})
    for index in torch.arange(16).split(8):
        stepper.step(index)
    return torch.cat([weight.detach().flatten() for weight in net.parameters()])


def test_augmentation_draws_only_from_its_generator():
    first, _ = weights_after(1, augmentation=AUGMENTATION), torch.rand(3)
    assert torch.equal(first, weights_after(1, augmentation=AUGMENTATION))
    assert not torch.equal(first, weights_after(2, augmentation=AUGMENTATION))


@pytest.mark.parametrize(
    "changed",
    [
        {"l1": 1e-2},
        {"l2": 1e-2},
        {"weight_decay": 1e-2},
        {"label_smoothing": 0.1},
        {"gradient_clip": 1e-2, "optimizer": "sgd"},
        {"balancing": "uncertainty"},
        {"classification_weight": 0.3},
        *(
            {"augmentation": AugmentationConfig(**{kind: 0.5})}
            for kind in ("jitter", "scaling", "time_masking", "mixup")
        ),
    ],
    ids=str,
)
def test_each_option_changes_the_step(changed):
    plain = {"optimizer": "sgd"} if "optimizer" in changed else {}
    assert not torch.equal(weights_after(**changed), weights_after(**plain))
