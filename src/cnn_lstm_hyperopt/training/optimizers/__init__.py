"""All optimisers. Each optimiser has a file in this folder; the file's name is the optimiser's name in the search space."""

from cnn_lstm_hyperopt.training.optimizers.base import Optimizer
from cnn_lstm_hyperopt.utils.registry import members

OPTIMIZERS: dict[str, Optimizer] = {name: kind() for name, kind in members(__name__, Optimizer).items()}
"""Optimisers by their name in the search space."""
