"""Whole networks: all weights learn, over the whole space; seeds; no leak between windows."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from builders.trainings import CPU, FEATURES, SCALE, windows
from cnn_lstm_hyperopt import models
from cnn_lstm_hyperopt.config import PARAMETERS, Choices, TrainingSettings, parse_space
from cnn_lstm_hyperopt.models.build import build_network, new_network
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import TrainingConfig
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout
from cnn_lstm_hyperopt.training.train_step import Stepper

CHOICES = {
    name: spec.default.values
    for name, spec in PARAMETERS.items()
    if name.startswith(("cnn.", "lstm.", "fusion.", "highway.")) and isinstance(spec.default, Choices)
} | {"lstm.num_layers": (1, 2, 3, 4)}


def assert_every_weight_learns(config, batch):
    """Forward and backward in training mode; every gradient is there, finite, and not all zero."""
    network = build_network(config, seed=1, device=CPU).train()
    output = network(batch)
    assert output.logits.shape == (len(batch), config.n_classes)
    loss = functional.cross_entropy(output.logits, torch.arange(len(batch)) % config.n_classes)
    assert (output.value is not None) is config.has_regression
    if config.has_regression:
        loss = loss + functional.mse_loss(output.value, torch.linspace(-1, 1, len(batch)))  # warns about another shape
    loss.backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None, name
        assert 0 < float(torch.linalg.vector_norm(weight.grad)) < math.inf, name  # NaN is in no range


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CHOICES.items() for value in values])
def test_every_choice_of_the_default_space_learns_in_all_its_weights(make_config, batch, name, value):
    assert_every_weight_learns(make_config({name: value}), batch)


@pytest.mark.mostly_slow(1)
@pytest.mark.mostly_thorough(3)
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_configurations_learn_in_all_their_weights(random_config, batch, first):
    for number in range(first, first + 20):
        assert_every_weight_learns(random_config(number), batch)


@pytest.mark.parametrize("method", list(FUSIONS))
@pytest.mark.parametrize(
    ("windows", "lookback", "n_classes", "has_regression"), [(1, 2, 2, False), (3, 2, 5, True), (1, 60, 5, False)]
)
def test_any_shape_fits(make_config, method, windows, lookback, n_classes, has_regression):
    heads = {"cnn.attention_heads": 8, "lstm.attention_heads": 8, "fusion.method": method}
    config = make_config(heads, n_classes=n_classes, has_regression=has_regression)
    assert_every_weight_learns(config, torch.randn(windows, lookback, config.input_dim))


@torch.no_grad()
def test_a_highway_adds_a_linear_model_of_window_means_to_the_same_network(make_config):
    """The means by hand, over 30 bars; in 12 bars, the mean over 22 bars is that of the window."""
    with_highway, without = (
        build_network(make_config({"highway.enabled": enabled}), seed=1, device=CPU).eval() for enabled in (True, False)
    )
    for bars in (30, 12):
        x = torch.randn(4, bars, 11)
        means = torch.cat([x[:, -1], x[:, -5:].mean(1), x[:, -min(22, bars) :].mean(1), x.mean(1)], dim=1)
        linear = means @ with_highway.highway.weights.weight.T
        found, plain = with_highway(x), without(x)
        torch.testing.assert_close(found.logits, plain.logits + linear[:, :2])
        torch.testing.assert_close(found.value, plain.value + linear[:, 2])


def test_dropout_rates_and_flags_reach_their_layers(make_config):
    chosen = {"cnn.dropout": 0.11, "lstm.dropout": 0.22, "fusion.dropout": 0.33, "cnn.activation": "gelu"}
    network = new_network(make_config(chosen))
    assert (network.cnn.dropout.p, network.lstm.dropout.p, network.dropout.p) == (0.11, 0.22, 0.33)
    assert any(isinstance(module, nn.GELU) for module in network.modules())
    assert not list(network.buffers())  # no BatchNorm


@pytest.mark.parametrize("number", range(6))
def test_a_window_is_predicted_alike_alone_and_in_a_batch(random_config, batch, number):
    network = build_network(random_config(number), seed=1, device=CPU).eval()
    alone = zip(*(network(window[None]) for window in batch), strict=True)
    for apart, together in zip(alone, network(batch), strict=True):
        torch.testing.assert_close(torch.cat(apart), together, rtol=1e-4, atol=1e-6)


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
    for name, weight in first.items():
        assert torch.equal(weight, again[name])
        assert torch.equal(weight, other[name]) is name.startswith("cnn.norm")


GROUPS, SIZE, LARGE, BATCH, LOOKBACK = 12, 25, 4, 4, 4
INPUTS = {key: [False, True] for key in ("relative_ranges", "volume_ratios", "market", "window_norm", "standardise")}
SPACE = parse_space(
    {
        "architecture": "full",
        "augmentation": {"switch": [False, True]},
        "highway": {"enabled": [False, True], "init": ["random", "linear"]},
        "inputs": INPUTS,
    }
)[0]
COLUMNS = {"relative_ranges": (7, 8), "volume_ratios": (9,), "market": (10,)}


def network_config(params):
    shape = {"input_dim": FEATURES, "n_classes": 3, "has_regression": True, "lookback": LOOKBACK}
    return models.network_config(params, **shape, columns=COLUMNS)


@pytest.fixture(scope="module")
def configurations():
    """As they are drawn, but of networks above 50 MB the first four only: they take most of the time."""
    assert set(SPACE.searched()) == set(SPACE.domains)
    drawn = (random_configuration(SPACE, 0, number) for number in itertools.count())
    large = itertools.count()

    def chosen(params):
        return network_config(params).cost(lookback=LOOKBACK).size_mb <= 50 or next(large) < LARGE

    return list(itertools.islice(filter(chosen, drawn), GROUPS * SIZE))


def test_they_cover_every_choice_and_the_ends_of_every_range(configurations):
    for name, domain in SPACE.domains.items():
        drawn = [params[name] for params in configurations if name in params]
        if isinstance(domain, Choices):
            assert set(drawn) == set(domain.values), name
        else:
            low, high, *places = map(math.log if domain.log else float, (domain.low, domain.high, *drawn))
            assert min(places) < 0.8 * low + 0.2 * high, name
            assert max(places) > 0.2 * low + 0.8 * high, name
    for params, (name, spec) in itertools.product(configurations, PARAMETERS.items()):
        assert (name in params) is all(params.get(parent) in values for parent, values in spec.when.items()), name


@pytest.mark.mostly_slow(2)
@pytest.mark.mostly_thorough(5)
@pytest.mark.parametrize("group", range(GROUPS))
def test_one_step_has_finite_losses_gradients_and_weights(configurations, group):
    for number in range(group * SIZE, (group + 1) * SIZE):
        params = configurations[number]
        config = TrainingConfig.from_params(params, TrainingSettings(), max_epochs=1)
        with seeded_dropout(number, CPU):
            network = build_network(network_config(params), seed=number, device=CPU)
            data, generator = windows(BATCH, n_classes=3), torch.Generator().manual_seed(number)
            stepper = Stepper(network, data, config, scale=SCALE, generator=generator)
            losses = stepper.step(torch.arange(BATCH))
        weights = [*network.parameters(), *stepper.loss_weighting.parameters()]
        assert all(bool(each.isfinite().all()) for each in (losses, *weights)), params
        norm = torch.stack([weight.grad.norm() for weight in network.parameters()]).norm()  # NaN is in no range
        assert 0 < float(norm) <= config.gradient_clip * 1.002, params
