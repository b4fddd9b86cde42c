"""The learning-rate schedules: one file for each. The search space knows them by the names of these files."""

from cnn_lstm_hyperopt.training.schedules.base import Schedule
from cnn_lstm_hyperopt.utils.registry import members

SCHEDULES: dict[str, type[Schedule]] = members(__name__, Schedule)
"""By name; made from an optimiser and the largest number of epochs."""
