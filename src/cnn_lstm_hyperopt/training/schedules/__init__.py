"""All learning-rate schedules; each has a file in this folder. File names are the names in the search space."""

from cnn_lstm_hyperopt.training.schedules.base import Schedule
from cnn_lstm_hyperopt.utils.registry import members

SCHEDULES: dict[str, type[Schedule]] = members(__name__, Schedule)
"""Classes of the learning-rate schedules by name."""
