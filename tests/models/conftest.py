"""Configurations and batches for the networks' tests."""

import pytest
import torch

from builders.trainings import one_thread_and_a_seed  # noqa: F401
from cnn_lstm_hyperopt import models
from cnn_lstm_hyperopt.config import PARAMETERS, Choices, Fixed, parse_space
from cnn_lstm_hyperopt.search import random_configuration

OF_BARS = {"inputs": {"standardise": False}}
"""Section of the search space of networks whose windows are standardised, as those of bars are."""
SPACE = parse_space(OF_BARS)[0]
FEATURES, LOOKBACK = 11, 12


def network_config(params, **shape):
    usual = {"input_dim": FEATURES, "n_classes": 2, "has_regression": True, "lookback": LOOKBACK}
    return models.network_config(params, **(usual | shape))


@pytest.fixture(scope="session")
def make_config():
    """``make_config({"cnn.attention_heads": 4}, n_classes=5)``: sets parents; the rest is the first choice or lower end."""

    def make(chosen=None, space=SPACE, **shape):
        chosen, params = chosen or {}, {}
        for name in space.active(params):
            domain = space.domains[name]
            first = domain.values[0] if isinstance(domain, Choices) else getattr(domain, "low", None)
            first = domain.value if isinstance(domain, Fixed) else first
            for child in chosen:
                first = PARAMETERS[child].when.get(name, (first,))[0]
            params[name] = space.legal(name, chosen.get(name, first), params)
        return network_config(params, **shape)

    return make


@pytest.fixture(scope="session")
def random_config():
    """``random_config(number)``: drawn from the default or another space, the same each time."""
    return lambda number, space=SPACE, **shape: network_config(random_configuration(space, 7, number), **shape)


@pytest.fixture
def batch():
    """Four windows of 12 bars."""
    return torch.randn(4, LOOKBACK, FEATURES)
