"""300 configurations of the whole space, drawn as the random sampler draws them, take one step with finite gradients."""

import itertools

import numpy as np
import pytest
import torch

from builders.trainings import CPU, FEATURES, windows
from cnn_lstm_hyperopt import models
from cnn_lstm_hyperopt.config import TrainingSettings, parse_space
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.training import TrainingConfig, ValueScale
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.train_step import Stepper

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


def test_they_cover_the_whole_space(configurations):
    """Every choice of every parameter occurs, each range from its lowest to its highest fifth, conditions hold."""
    for name, domain in SPACE.domains.items():
        drawn = [params[name] for params in configurations if name in params]
        if hasattr(domain, "values"):
            assert set(drawn) == set(domain.values), name
        else:
            place = np.log if domain.log else np.asarray
            low, high = place(domain.low), place(domain.high)
            share = (place(np.array(drawn, dtype=float)) - low) / (high - low)
            assert share.min() < 0.2, name
            assert share.max() > 0.8, name
    assert len({tuple(sorted(params.items())) for params in configurations}) == GROUPS * SIZE
    for params in configurations:
        for name, spec in PARAMETERS.items():
            assert (name in params) is all(params[parent] in values for parent, values in spec.when.items()), name


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


@pytest.mark.slow
def test_the_largest_network_of_the_space_takes_a_step_too(configurations):
    """The largest choices; the rest as it was drawn."""
    largest = {
        "cnn.num_filters": 256,
        "cnn.filter_sizes": "3-5-7-11",
        "cnn.attention": True,
        "cnn.attention_heads": 8,
        "lstm.hidden_dim": 1024,
        "lstm.num_layers": 4,
        "lstm.skip_connections": True,
        "lstm.bidirectional": True,
        "lstm.attention": True,
        "lstm.attention_heads": 8,
        "fusion.method": "attention",
        "fusion.dim": 1024,
        "fusion.attention_heads": 16,
    }
    one_step(0, configurations[0] | largest)
