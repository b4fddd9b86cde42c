"""One step: with every option off it is PyTorch's own; with all on it is finite."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from cnn_lstm_hyperopt.training import ValueScale
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.loss_weighting import BALANCINGS
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.train_step import Stepper

SCALE = ValueScale(5.0, 3.0)
ALL = AugmentationConfig(jitter=0.1, scaling=0.2, time_masking=0.3, mixup=0.4)
PLAIN = {
    "adam": lambda weights: torch.optim.Adam(weights, lr=0.01),
    "adamw": lambda weights: torch.optim.Adam(weights, lr=0.01),
    "sgd": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, nesterov=True),
    "rmsprop": lambda weights: torch.optim.RMSprop(weights, lr=0.01),
}


def stepper_of(net, windows, config, seed: int = 0) -> Stepper:
    return Stepper(net, windows, config, scale=SCALE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_with_everything_off_it_is_a_plain_pytorch_step(make_windows, make_network, make_config, name):
    windows, net = make_windows(32), make_network(dropout=0.0)
    other = copy.deepcopy(net)
    optimizer = PLAIN[name](other.parameters())
    stepper = stepper_of(net, windows, make_config(optimizer=name))
    for index in torch.arange(32).split(8):
        seen = stepper.step(index)
        output = other(torch.stack([windows.series[s : s + 4] for s in windows.starts[index].tolist()]))
        cross_entropy = functional.cross_entropy(output.logits, windows.labels[index])
        squared_error = functional.mse_loss(output.value, (windows.values[index] - 5.0) / 3.0)
        optimizer.zero_grad()
        (0.5 * cross_entropy + 0.5 * squared_error).backward()
        nn.utils.clip_grad_norm_(other.parameters(), 1.0)
        optimizer.step()
        assert seen.tolist() == pytest.approx([cross_entropy.item(), squared_error.item()], rel=1e-5)
        assert not seen.requires_grad
    for mine, theirs in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)  # fused kernels round in another order


def test_without_regression_the_loss_is_the_cross_entropy_alone(make_windows, make_network, make_config):
    windows, net = (
        make_windows(8, n_classes=3, values=False),
        make_network(n_classes=3, has_regression=False, dropout=0.0),
    )
    expected = functional.cross_entropy(net(windows.gather(torch.arange(8))).logits, windows.labels)
    expected.backward()
    gradients = [weight.grad.clone() for weight in net.parameters()]
    seen = stepper_of(net, windows, make_config(classification_weight=0.3, gradient_clip=1e6)).step(torch.arange(8))
    assert seen.tolist() == [expected.item(), 0.0]
    assert all(torch.equal(weight.grad, g) for weight, g in zip(net.parameters(), gradients, strict=True))


@pytest.mark.parametrize("regression", [True, False])
@pytest.mark.parametrize("balancing", sorted(BALANCINGS))
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_with_everything_on_all_gradients_are_finite(
    make_windows, make_network, make_config, name, balancing, regression
):
    windows = make_windows(24, n_classes=3, values=regression)
    net = make_network(n_classes=3, has_regression=regression, dropout=0.4)
    config = make_config(
        optimizer=name,
        balancing=balancing,
        l1=1e-3,
        l2=1e-3,
        weight_decay=1e-3,
        label_smoothing=0.2,
        dropout_schedule="cosine",
        augmentation=ALL,
    )
    stepper = stepper_of(net, windows, config)
    for index in torch.arange(24).split(8):
        assert torch.isfinite(stepper.step(index)).all()
        assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in net.parameters())
    assert all(torch.isfinite(weight).all() for weight in net.parameters())
    assert all(torch.isfinite(weight).all() for weight in stepper.balancing.parameters())


def test_augmentation_draws_from_the_generator_it_is_given(make_windows, make_network, make_config):
    def weights(seed):
        net = make_network(dropout=0.0)
        stepper_of(net, make_windows(8), make_config(augmentation=ALL), seed).step(torch.arange(8))
        return torch.cat([weight.detach().flatten() for weight in net.parameters()])

    first = weights(1)
    torch.rand(3)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_each_option_changes_the_step(make_windows, make_network, make_config):
    """An option that is read and never applied would go unnoticed otherwise."""

    def weights(**changed):
        net = make_network(dropout=0.0)
        stepper = stepper_of(net, make_windows(16), make_config(**{"gradient_clip": 100.0, **changed}))
        for index in torch.arange(16).split(8):
            stepper.step(index)
        return torch.cat([weight.detach().flatten() for weight in net.parameters()])

    plain = weights()
    for changed in (
        {"l1": 1e-2},
        {"l2": 1e-2},
        {"weight_decay": 1e-2},
        {"label_smoothing": 0.1},
        {"gradient_clip": 1e-2, "optimizer": "sgd"},
        {"balancing": "uncertainty"},
        {"classification_weight": 0.3},
        {"augmentation": AugmentationConfig(jitter=0.1)},
        {"augmentation": AugmentationConfig(scaling=0.1)},
        {"augmentation": AugmentationConfig(time_masking=0.5)},
        {"augmentation": AugmentationConfig(mixup=0.4)},
    ):
        assert not torch.equal(weights(**changed), plain), changed


def test_the_series_is_never_changed(make_windows, make_network, make_config):
    windows = make_windows(16)
    before = windows.series.clone()
    stepper = stepper_of(make_network(), windows, make_config(augmentation=ALL))
    for index in torch.arange(16).split(8):
        stepper.step(index)
    assert torch.equal(windows.series, before)
