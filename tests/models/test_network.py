"""Whole networks: all weights learn, over the whole space; seeds; no leak between windows."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.trainings import CPU, FEATURES, windows
from cnn_lstm_hyperopt import models
from cnn_lstm_hyperopt.config import PARAMETERS, Choices, TrainingSettings, parse_space
from cnn_lstm_hyperopt.models.build import build_network, new_network
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import TrainingConfig, ValueScale
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.train_step import Stepper

CHOICES = {
    name: spec.default.values
    for name, spec in PARAMETERS.items()
    if name.startswith(("cnn.", "lstm.", "fusion.")) and isinstance(spec.default, Choices)
} | {"lstm.num_layers": (1, 2, 3, 4)}


def assert_every_weight_learns(config, batch):
    """Forward and backward in training mode; every gradient is there, finite, and not all zero."""
    network = build_network(config, seed=1, device=CPU).train()
    output = network(batch)
    assert output.logits.shape == (len(batch), config.n_classes)
    loss = functional.cross_entropy(output.logits, torch.arange(len(batch)) % config.n_classes)
    assert (output.value is not None) is config.has_regression
    if config.has_regression:
        assert output.value.shape == (len(batch),)
        loss = loss + functional.mse_loss(output.value, torch.linspace(-1, 1, len(batch)))
    assert bool(loss.isfinite())
    loss.backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert 0 < float(torch.linalg.vector_norm(weight.grad)) < math.inf, name  # NaN is in no range


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHOICES.items() for value in values])
def test_every_choice_of_the_default_space_learns_in_all_its_weights(make_config, batch, name, value):
    assert_every_weight_learns(make_config({name: value}), batch)


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_configurations_learn_in_all_their_weights(random_config, batch, first):
    for number in range(first, first + 20):
        assert_every_weight_learns(random_config(number), batch)


@pytest.mark.parametrize("method", list(FUSIONS))
@pytest.mark.parametrize(("n_classes", "has_regression"), [(2, False), (5, True), (5, False)])
def test_any_number_of_classes_with_and_without_regression(make_config, batch, method, n_classes, has_regression):
    config = make_config({"fusion.method": method}, n_classes=n_classes, has_regression=has_regression)
    assert_every_weight_learns(config, batch)


@pytest.mark.parametrize(("windows", "lookback"), [(1, 2), (3, 2), (1, 60), (2, 7)])
def test_any_batch_and_lookback_fit(make_config, windows, lookback):
    config = make_config({"cnn.attention_heads": 8, "lstm.attention_heads": 8, "fusion.attention_heads": 8})
    assert_every_weight_learns(config, torch.randn(windows, lookback, config.input_dim))


def test_the_heaviest_configuration_of_the_default_space_runs(make_config):
    heaviest = {name: values[-1] for name, values in CHOICES.items()}
    config = make_config(heaviest | {"fusion.method": "attention", "fusion.attention_heads": 16})
    assert (config.cnn.width, config.lstm.width, config.fusion.dim) == (1024, 2048, 1024)
    assert_every_weight_learns(config, torch.randn(2, 4, config.input_dim))


def test_dropout_rates_and_flags_reach_their_layers(make_config):
    config = make_config({"cnn.dropout": 0.11, "lstm.dropout": 0.22, "fusion.dropout": 0.33, "cnn.activation": "gelu"})
    network = new_network(config)
    assert (network.cnn.dropout.p, network.lstm.dropout.p, network.dropout.p) == (0.11, 0.22, 0.33)
    assert any(isinstance(module, nn.GELU) for module in network.modules())
    assert not list(network.buffers())  # no BatchNorm


@pytest.mark.parametrize("number", range(6))
def test_a_window_is_predicted_alike_alone_and_in_a_batch(random_config, batch, number):
    network = build_network(random_config(number), seed=1, device=CPU).eval()
    alone = [network(batch[row : row + 1]) for row in range(len(batch))]
    for part, together in zip(("logits", "value"), network(batch), strict=True):
        apart = torch.cat([getattr(output, part) for output in alone])
        torch.testing.assert_close(apart, together, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", list(FUSIONS))
def test_a_window_has_no_influence_on_another_in_training_mode_either(make_config, batch, method):
    config = make_config({"fusion.method": method, "cnn.attention_heads": 2, "lstm.attention_heads": 2})
    batch.requires_grad_()
    output = build_network(config, seed=1, device=CPU).train()(batch)
    (output.logits[1].sum() + output.value[1]).backward()
    influence = batch.grad.abs().sum(dim=(1, 2))
    assert influence[1] > 0
    assert influence[[0, 2, 3]].tolist() == [0, 0, 0]


@pytest.mark.parametrize("method", list(FUSIONS))
def test_every_bar_and_feature_of_a_window_matters(make_config, batch, method):
    network = build_network(make_config({"fusion.method": method}), seed=1, device=CPU).eval()
    network(batch.requires_grad_()).logits[:, 0].sum().backward()
    assert bool((batch.grad != 0).all())


def test_only_the_seed_decides_the_weights_and_the_global_generator_is_left_alone(make_config):
    config, before = make_config(), torch.get_rng_state()
    first = build_network(config, seed=3, device=CPU).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    again, other = (build_network(config, seed=seed, device=CPU).state_dict() for seed in (3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if not name.startswith("cnn.norm")]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


GROUPS, SIZE, LARGE, BATCH, LOOKBACK = 12, 25, 4, 4, 4
SPACE = parse_space({"augmentation": {"switch": [False, True]}})[0]


def network_config(params):
    return models.network_config(params, input_dim=FEATURES, n_classes=3, has_regression=True)


@pytest.fixture(scope="module")
def configurations():
    """As they are drawn, but of networks above 50 MB the first four only: they take most of the time."""
    assert set(SPACE.searched()) == set(SPACE.domains)
    drawn = (random_configuration(SPACE, 0, number) for number in itertools.count())
    large = itertools.count()

    def chosen(params):
        return network_config(params).cost(lookback=LOOKBACK).size_mb <= 50 or next(large) < LARGE

    return list(itertools.islice(filter(chosen, drawn), GROUPS * SIZE))


def one_step(number, params):
    config = TrainingConfig.from_params(params, TrainingSettings(), max_epochs=1)
    with one_thread(), seeded_dropout(number, CPU):
        network = build_network(network_config(params), seed=number, device=CPU)
        data, generator = windows(BATCH, n_classes=3), torch.Generator().manual_seed(number)
        stepper = Stepper(network, data, config, scale=ValueScale(5.0, 3.0), generator=generator)
        losses = stepper.step(torch.arange(BATCH))
    assert bool(losses.isfinite().all()), params
    for name, weight in network.named_parameters():
        assert weight.grad is not None, (name, params)
        assert bool(weight.grad.isfinite().all()), (name, params)
        assert bool(weight.isfinite().all()), (name, params)
    norm = torch.stack([weight.grad.norm() for weight in network.parameters()]).norm()
    assert 0 < float(norm) <= config.gradient_clip * 1.002, params
    assert all(bool(weight.isfinite().all()) for weight in stepper.loss_weighting.parameters())


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("group", range(GROUPS))
def test_one_step_has_finite_losses_gradients_and_weights(configurations, group):
    for number in range(group * SIZE, (group + 1) * SIZE):
        one_step(number, configurations[number])
