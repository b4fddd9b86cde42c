"""All learning-rate schedules. Each schedule has a file in this folder; the file's name is its name in the search space."""

from cnn_lstm_hyperopt.training.schedules.base import Schedule
from cnn_lstm_hyperopt.utils.registry import members

SCHEDULES: dict[str, type[Schedule]] = members(__name__, Schedule)
"""Classes of the learning-rate schedules by the schedule's name in the search space."""
