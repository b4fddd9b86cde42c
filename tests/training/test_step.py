"""One step: with every option off it is PyTorch's own; with all on it is finite."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.trainings import AUGMENTATION, SCALE, config, network, windows
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.loss_weighting import LOSS_WEIGHTINGS
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.train_step import Stepper

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


@pytest.mark.parametrize("regression", [True, False])
@pytest.mark.parametrize("balancing", sorted(LOSS_WEIGHTINGS))
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_with_everything_on_all_gradients_are_finite(name, balancing, regression):
    data = windows(24, n_classes=3, values=regression)
    net = network(n_classes=3, has_regression=regression, dropout=0.4)
    options = {"l1": 1e-3, "l2": 1e-3, "weight_decay": 1e-3, "label_smoothing": 0.2, "dropout_schedule": "cosine"}
    stepper = stepper_of(net, data, optimizer=name, balancing=balancing, augmentation=AUGMENTATION, **options)
    for index in torch.arange(24).split(8):
        assert torch.isfinite(stepper.step(index)).all()
        assert all(weight.grad is not None and torch.isfinite(weight.grad).all() for weight in net.parameters())
    assert all(torch.isfinite(weight).all() for weight in [*net.parameters(), *stepper.loss_weighting.parameters()])


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
