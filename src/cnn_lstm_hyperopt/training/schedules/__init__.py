"""The learning-rate schedules, one per file. File names are the names in the search space."""

from cnn_lstm_hyperopt.training.schedules.base import Schedule
from cnn_lstm_hyperopt.utils.registry import members

SCHEDULES: dict[str, type[Schedule]] = members(__name__, Schedule)
"""Schedule classes by name."""
