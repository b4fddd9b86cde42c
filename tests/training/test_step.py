"""Losses, their weightings, optimisers, penalties and whole steps against closed forms, papers, autograd and PyTorch."""

import copy
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.trainings import CPU, SCALE, config, network, windows
from cnn_lstm_hyperopt.config import TrainingSettings, parse_space
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.metrics import class_weights
from cnn_lstm_hyperopt.models.network import Network, Output
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import TrainingConfig
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig, Mixed
from cnn_lstm_hyperopt.training.loss_weighting import LOSS_WEIGHTINGS
from cnn_lstm_hyperopt.training.losses import mixed_targets, task_losses
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.penalties import add_penalty_gradients
from cnn_lstm_hyperopt.training.train_step import Stepper


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_they_are_the_smoothed_cross_entropy_and_the_mean_squared_error(n_classes, share, smoothing):
    """Szegedy et al. 2016, section 7: the target is (1 − ε) · q + ε / K for a distribution q over K classes.

    A mixed batch has soft targets. Its partners are a 7-cycle, not swaps, which would hide an inverted pairing.
    """
    logits, value, target = (torch.randn(size, dtype=torch.float64) for size in ((7, n_classes), (7,), (7,)))
    labels, partner = torch.randint(n_classes, (7,)), np.roll(np.arange(7), 2)
    mixed = Mixed(torch.empty(0), None, 1.0)
    mixed = mixed if share is None else Mixed(mixed.x, torch.from_numpy(partner), share)
    targets, values = mixed_targets(labels, target, mixed, n_classes=n_classes)
    both = task_losses(Output(logits, value), targets, values, label_smoothing=smoothing)
    one_hot, weight = np.eye(n_classes)[labels.numpy()], 1.0 if share is None else share
    soft = weight * one_hot + (1 - weight) * one_hot[partner]
    smoothed = (1 - smoothing) * soft + smoothing / n_classes
    log_probabilities = (logits - logits.exp().sum(dim=1, keepdim=True).log()).numpy()
    mixed_target = weight * target + (1 - weight) * target[partner]
    expected = -(smoothed * log_probabilities).sum(axis=1).mean(), float(((value - mixed_target) ** 2).mean())
    assert [loss.item() for loss in both] == pytest.approx(expected)
    for output, truth in ((Output(logits, None), values), (Output(logits, value), None)):
        assert task_losses(output, targets, truth, label_smoothing=smoothing) == (both[0], None)
    assert mixed_targets(labels, None, mixed, n_classes=n_classes)[1] is None


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_multiply_the_cross_entropy_and_leave_the_probabilities_unweighted(smoothing):
    """PyTorch's weighted cross-entropy of shifted logits; its mean divides by the sum of the weights."""
    labels = torch.from_numpy(np.repeat([0, 1, 2], [60, 30, 10]))
    weights = torch.from_numpy(class_weights(labels.numpy(), 3))
    assert weights == pytest.approx(torch.tensor([100 / 180, 100 / 90, 100 / 30], dtype=torch.float64))
    logits = torch.randn((100, 3), dtype=torch.float64)

    def loss(logits, targets=labels):
        return task_losses(Output(logits, None), targets, None, label_smoothing=smoothing, class_weights=weights)[0]

    parts = functional.cross_entropy(logits + weights.log(), labels, reduction="none", label_smoothing=smoothing)
    assert loss(logits) == pytest.approx((weights[labels] * parts).mean().item())
    assert loss(logits, functional.one_hot(labels, 3).double()) == pytest.approx(loss(logits).item())
    if not smoothing:  # the best constant prediction is the frequencies
        shares = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log().tile(100, 1).requires_grad_()
        loss(shares).backward()
        assert shares.grad.sum(dim=0) == pytest.approx(torch.zeros(3, dtype=torch.float64), abs=1e-12)


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, 0.7), (0.2, 0.7), (0.3, 0.7), (0.45, 0.55), (0.8, 0.2), (0.85, 0.2), (1.0, 0.2)]
)
def test_the_regression_weight_is_the_rest_within_its_bounds(weight, expected):
    assert config(classification_weight=weight).regression_weight == pytest.approx(expected)


SPACE, _ = parse_space({"regularization": {"l1_switch": True}, "augmentation": {"switch": True}})
PARAMS = random_configuration(SPACE, 0, 0)
PARAMS |= {"multi_task.balancing": "dynamic", "multi_task.classification_weight": 0.6}
SETTINGS = TrainingSettings(max_epochs=9, min_patience=3, patience_factor=0.75)


def test_a_training_is_read_from_parameters_and_settings_and_what_a_switch_leaves_out_is_off():
    read = TrainingConfig.from_params(PARAMS, SETTINGS, max_epochs=77)
    assert (read.max_epochs, read.min_patience, read.patience_factor) == (77, 3, 0.75)
    for name, value in PARAMS.items():
        group, _, field = name.partition(".")
        if group in ("training", "regularization", "multi_task") and field != "l1_switch":
            assert getattr(read, field) == value, name
    assert vars(read.augmentation) == {k: PARAMS[f"augmentation.{k}"] for k in vars(AugmentationConfig())}
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


def with_gradients(*shapes):
    made = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    for weight in made:
        weight.grad = torch.randn_like(weight)
    return made


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
    torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("l1", "l2"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.7), (0.3, 0.7), (1e-7, 1e-6)])
def test_the_penalty_gradient_is_that_of_the_written_penalty(l1, l2):
    """A weight without a gradient is skipped; the sign of 0 is 0."""
    own, skipped = with_gradients((3, 4), (5,), ()), nn.Parameter(torch.randn(3))
    own[1].data[:2] = torch.tensor([0.0, -0.0])
    before = [weight.grad.clone() for weight in own]
    penalty = l1 * sum(w.abs().sum() for w in own) + l2 / 2 * sum((w**2).sum() for w in own)
    expected = [g + d for g, d in zip(before, torch.autograd.grad(penalty, own), strict=True)]
    add_penalty_gradients([*own, skipped], l1=l1, l2=l2)
    assert torch.equal(own[1].grad[:2], before[1][:2])
    assert skipped.grad is None
    torch.testing.assert_close([weight.grad for weight in own], expected, rtol=1e-14, atol=0.0)


class OneWeight(Network):
    """The logits are (w, 0) for any window; no regression."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(-1.5, dtype=torch.float64))

    def recompute_in_backward(self, recompute):
        """Store nothing."""

    def forward(self, x):
        return Output(torch.stack([self.w, torch.zeros_like(self.w)]).expand(len(x), 2), None)


@pytest.mark.parametrize("name", sorted(CLOSED))
@pytest.mark.parametrize(
    ("l1", "l2", "decay"), [(0.0, 0.0, 0.0), (0.2, 0.0, 0.0), (0.0, 0.3, 0.0), (0.0, 0.0, 0.4), (0.2, 0.3, 0.4)]
)
def test_a_step_has_all_three_whatever_the_optimiser(name, l1, l2, decay):
    """Closed form on one weight: g = σ(w) − [class 0] + l1 sign(w) + l2 w, then w ← (1 − ηλ) w − η · direction(g).

    Adam's weight decay is coupled: w ← w − η · direction(g + λ w). The rate η is that of the schedule.
    """
    w, data, direction = -1.5, windows(8, values=False), CLOSED[name]()
    stepper = stepper_of(OneWeight(), data, optimizer=name, l1=l1, l2=l2, weight_decay=decay, gradient_clip=1e6)
    label_share = float((data.labels == 0).double().mean())
    for rate in (0.05, 0.05, 0.02, 0.0):
        stepper.optimizer.param_groups[0]["lr"] = rate
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
    stepper = stepper_of(OneWeight(), windows(8, values=False), learning_rate=0.05, **options)
    stepper.step(torch.arange(8))
    expected = (1 - 0.05 * 0.4) * -1.5 + 0.05 * 1.9 * 1e-3  # the gradient is negative
    assert float(stepper.network.w.detach()) == pytest.approx(expected, abs=1e-8)


PLAIN = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.Adam,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "rmsprop": torch.optim.RMSprop,
}


def stepper_of(net, data, **changed):
    return Stepper(net, data, config(**changed), scale=SCALE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("regression", "weight", "smoothing"), [(True, 0.5, 0.0), (True, 0.3, 0.1), (False, 0.3, 0.1)])
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_without_penalties_it_is_a_plain_pytorch_step(name, regression, weight, smoothing):
    assert sorted(OPTIMIZERS) == sorted(PARAMETERS["training.optimizer"].options)
    data, net = windows(32, values=regression), network(dropout=0.0, has_regression=regression)
    other = copy.deepcopy(net)
    stepper = stepper_of(net, data, optimizer=name, classification_weight=weight, label_smoothing=smoothing)
    optimizer = PLAIN[name](other.parameters(), lr=0.01)
    for index in torch.arange(32).split(8):
        seen = stepper.step(index)
        output = other(torch.stack([data.series[s : s + 4] for s in data.starts[index].tolist()]))
        loss = cross_entropy = functional.cross_entropy(output.logits, data.labels[index], label_smoothing=smoothing)
        squared_error = torch.zeros(())
        if regression:
            squared_error = functional.mse_loss(output.value, (data.values[index] - 5.0) / 3.0)
            loss = weight * cross_entropy + (1 - weight) * squared_error
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        optimizer.step()
        assert seen.tolist() == pytest.approx([cross_entropy.item(), squared_error.item()], rel=1e-5)
        assert not seen.requires_grad
    # Fused kernels round in another order.
    torch.testing.assert_close([*net.parameters()], [*other.parameters()], rtol=1e-5, atol=1e-6)


def losses(cross_entropy=1.25, squared_error=3.5):
    return torch.tensor(cross_entropy, dtype=torch.float64), torch.tensor(squared_error, dtype=torch.float64)


def made(name, classification=0.6, regression=0.4):
    return LOSS_WEIGHTINGS[name](classification=classification, regression=regression, device=CPU)


def test_the_search_space_has_all_of_them_and_searches_the_classification_weight_where_it_is_used():
    assert tuple(LOSS_WEIGHTINGS) == PARAMETERS["multi_task.balancing"].options
    pairs = {n: [made(n, w, 1 - w).combine(*losses(1.0, 4.0)) for w in (0.3, 0.8)] for n in LOSS_WEIGHTINGS}
    used = tuple(name for name, (one, other) in pairs.items() if one != other)
    assert PARAMETERS["multi_task.classification_weight"].when == {"multi_task.balancing": used}
    learned = {name: len(list(made(name).parameters())) for name in LOSS_WEIGHTINGS}
    assert learned == {"fixed": 0, "dynamic": 0, "uncertainty": 1}


class TestDynamic:
    """Liu, Johns & Davison 2019, arXiv 1803.10704, section 3.3, with K = 2 and T = 2."""

    def weights_by_the_paper(self, history):
        """λ(t) for t = len(history) + 1: w_k(t−1) = L_k(t−1) / L_k(t−2), w_k = 1 for t = 1, 2; λ_k = K · softmax(w / T)."""
        if len(history) < 2:
            return 1.0, 1.0
        e = [math.exp(now / before / 2) for now, before in zip(history[-1], history[-2], strict=True)]
        return 2 * e[0] / sum(e), 2 * e[1] / sum(e)

    @pytest.mark.parametrize(("w", "v"), [(0.5, 0.5), (0.3, 0.7)])
    def test_each_epoch_has_the_papers_weights_times_the_fixed_ones(self, w, v):
        epochs = [(0.69, 1.1), (0.6, 1.0), (0.5, 1.05), (0.45, 0.4), (0.46, 0.1), (0.2, 0.09)]
        weighting = made("dynamic", w, v)
        for done in range(len(epochs) + 1):
            a, b = self.weights_by_the_paper(epochs[:done])
            assert weighting.factors == pytest.approx((a, b))
            assert float(weighting.combine(*losses())) == pytest.approx(w * a * 1.25 + v * b * 3.5)
            if done < len(epochs):
                weighting.end_epoch(*epochs[done])

    @pytest.mark.parametrize("which", [0, 1])
    def test_a_huge_ratio_does_not_overflow(self, which):
        weighting = made("dynamic")
        for extreme in (1e-45, 3e38):  # float32's smallest and largest
            weighting.end_epoch(*((extreme, 1.0) if which == 0 else (1.0, extreme)))
        assert list(weighting.factors) == [2.0 * (which == 0), 2.0 * (which == 1)]

    def test_a_loss_of_zero_counts_as_constant(self):
        weighting, e = made("dynamic"), (math.exp(0.25), math.exp(0.5))
        factors = [weighting.end_epoch(*means) or weighting.factors for means in ((0.5, 0.0), (0.5, 0.0), (0.25, 0.5))]
        assert factors == [pytest.approx(each) for each in ((1, 1), (1, 1), (2 * e[0] / sum(e), 2 * e[1] / sum(e)))]

    def test_it_gets_the_mean_losses_of_each_epoch(self, monkeypatch, training):
        means, seen, step = [], [], Stepper.step
        monkeypatch.setattr(LOSS_WEIGHTINGS["dynamic"], "end_epoch", lambda self, *mean: means.append(mean))
        monkeypatch.setattr(
            Stepper, "step", lambda self, index, **share: seen.append(step(self, index, **share)) or seen[-1]
        )
        training(windows(32, 1), windows(16, 2), balancing="dynamic", max_epochs=3)
        for epoch, mean in enumerate(means[:2]):
            assert mean == pytest.approx(torch.stack(seen[4 * epoch : 4 * epoch + 4]).mean(dim=0).tolist())
        assert len(means) >= 2  # the call after the last epoch changes nothing


class TestUncertainty:
    """Kendall, Gal & Cipolla 2018, arXiv 1705.07115: e^(−s₁) L₁ + s₁/2 + e^(−s₂)/2 · L₂ + s₂/2 with s = ln σ²."""

    @pytest.mark.parametrize("s", [(0.0, 0.0), (0.7, -1.3), (-2.0, 3.0)])
    def test_value_and_gradients_equal_the_written_formula(self, s):
        weighting = made("uncertainty")
        weighting.log_variances.data = torch.tensor(s, dtype=torch.float64)
        own, other = ([loss.requires_grad_() for loss in losses()] for _ in range(2))
        total = weighting.combine(*own)
        total.backward()
        # The paper's form: L₁ / σ₁² + L₂ / (2 σ₂²) + ln σ₁ + ln σ₂.
        sigma = torch.tensor([math.exp(each / 2) for each in s], dtype=torch.float64, requires_grad=True)
        written = other[0] / sigma[0] ** 2 + other[1] / (2 * sigma[1] ** 2) + sigma.log().sum()
        written.backward()
        assert total.item() == pytest.approx(written.item())
        for mine, theirs in zip(own, other, strict=True):
            assert float(mine.grad) == pytest.approx(float(theirs.grad))
        # ∂/∂s = ∂/∂σ · ∂σ/∂s with σ = e^(s/2), so ∂σ/∂s = σ / 2.
        assert weighting.log_variances.grad.tolist() == pytest.approx((sigma.grad * sigma.detach() / 2).tolist())

    def test_its_log_variances_are_neither_penalised_nor_decayed_nor_clipped(self):
        """One step of SGD from s = 0 moves them by −rate · 1.9 · (1/2 − L₁, (1 − L₂) / 2) whatever the penalties."""
        moved = []
        for changed in ({}, {"l1": 0.5, "l2": 0.5, "weight_decay": 0.5, "gradient_clip": 1e-3}):
            options = {"learning_rate": 0.1, "optimizer": "sgd", **changed}
            stepper = stepper_of(network(dropout=0.0), windows(32), balancing="uncertainty", **options)
            cross_entropy, squared_error = stepper.step(torch.arange(32)).tolist()
            expected = [-0.19 * (0.5 - cross_entropy), -0.19 * (1 - squared_error) / 2]
            moved.append(stepper.loss_weighting.log_variances.tolist())
            assert moved[-1] == pytest.approx(expected, rel=1e-4)
        assert moved[0] == moved[1]

    def test_without_regression_its_log_variances_do_not_move(self):
        net = network(has_regression=False)
        stepper = stepper_of(net, windows(16, values=False), balancing="uncertainty")
        cross_entropy, squared_error = stepper.step(torch.arange(16)).tolist()
        assert stepper.loss_weighting.log_variances.tolist() == [0.0, 0.0]
        assert (cross_entropy > 0, squared_error) == (True, 0.0)
