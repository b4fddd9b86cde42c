"""All trackers. Each tracker is a subclass of :class:`Tracker` in a file or folder of this folder."""

from cnn_lstm_hyperopt.tracking.base import Tracker
from cnn_lstm_hyperopt.tracking.trackers.mlflow import Mlflow
from cnn_lstm_hyperopt.tracking.trackers.tensorboard import TensorBoard
from cnn_lstm_hyperopt.tracking.trackers.wandb import WeightsAndBiases

TRACKERS: dict[str, type[Tracker]] = {each.name: each for each in (Mlflow, TensorBoard, WeightsAndBiases)}
"""Tracker classes by the name of the tracker in the settings."""

__all__ = ["TRACKERS"]
