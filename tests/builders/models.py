"""Untrained models with a description, for tests of what is saved, loaded, predicted and exported."""

from dataclasses import replace
from typing import Any

import torch

from builders.finalists import params
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.training import ValueScale


def own_inputs(**changed: Any) -> ModelDescription:
    """The description of a model of two features of a user's DataLoaders, or with other facts."""
    plain = ModelDescription(
        params=params(),
        class_names=("down", "up"),
        value_name=None,
        features=("a", "b"),
        scaler=None,
        value_scale=ValueScale(-4.0, 0.5),
        target="y_class",
        lookback=6,
        horizon=1,
        max_gap_days=10.0,
    )
    return replace(plain, **changed)


def untrained(description: ModelDescription, seed: int = 3) -> SavedModel:
    """A model of this description."""
    network = build_network(description.network_config(), seed=seed, device=torch.device("cpu"))
    return SavedModel(network.eval(), description)


def three_seeds(description: ModelDescription) -> SavedModel:
    """The mean of three untrained networks of this description; the first has seed 2."""
    return untrained(description).with_seeds(2, {seed: untrained(description, seed=10 + seed) for seed in (1, 3)})
