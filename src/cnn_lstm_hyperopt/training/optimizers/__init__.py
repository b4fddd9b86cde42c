"""The optimisers: one file for each. The search space knows them by the names of these files."""

from cnn_lstm_hyperopt.training.optimizers.base import Optimizer
from cnn_lstm_hyperopt.utils.registry import members

OPTIMIZERS: dict[str, Optimizer] = {name: kind() for name, kind in members(__name__, Optimizer).items()}
"""By name."""
