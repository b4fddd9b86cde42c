"""Configurations and batches for the networks' tests."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from cnn_lstm_hyperopt import models
from cnn_lstm_hyperopt.config import (
    PARAMETERS,
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    parse_space,
)
from cnn_lstm_hyperopt.models import NetworkConfig
from cnn_lstm_hyperopt.search import random_configuration
from cnn_lstm_hyperopt.space.domains import Scalar

SPACE = parse_space(None)[0]
FEATURES = 11


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed() -> Iterator[None]:
    """Two cores are shared by many tests; dropout and inputs draw from torch's global generator."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(before)


def whole(chosen: dict[str, Scalar]) -> dict[str, Scalar]:
    """A configuration with ``chosen`` in it; the rest is the first choice or the lower end of the default space."""
    params: dict[str, Scalar] = {}
    for name in SPACE.active(params):
        domain = SPACE.domains[name]
        match domain:
            case Choices(values):
                first = values[0]
            case Fixed(value):
                first = value
            case IntRange(low) | FloatRange(low):
                first = low
        for child in chosen:
            first = PARAMETERS[child].when.get(name, (first,))[0]
        params[name] = SPACE.legal(name, chosen.get(name, first), params)
    return params


def network_config(params: dict[str, Scalar], **shape: Any) -> NetworkConfig:
    """The network of a configuration; two classes and a regression head unless ``shape`` says otherwise."""
    return models.network_config(params, **({"input_dim": FEATURES, "n_classes": 2, "has_regression": True} | shape))


@pytest.fixture(scope="session")
def make_config() -> Callable[..., NetworkConfig]:
    """``make_config({"cnn.attention_heads": 4}, n_classes=5)``: parents of what is chosen are set."""

    def make(chosen: dict[str, Scalar] | None = None, **shape: Any) -> NetworkConfig:
        return network_config(whole(chosen or {}), **shape)

    return make


@pytest.fixture(scope="session")
def random_config() -> Callable[..., NetworkConfig]:
    """``random_config(number)``: drawn from the default space, the same each time."""

    def make(number: int, **shape: Any) -> NetworkConfig:
        return network_config(random_configuration(SPACE, 7, number), **shape)

    return make


@pytest.fixture
def batch() -> Tensor:
    """Four windows of 12 bars."""
    return torch.randn(4, 12, FEATURES)
