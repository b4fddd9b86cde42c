"""Training one network: loop, losses, schedules, patience, metrics. Knows nothing of studies."""

from cnn_lstm_hyperopt.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from cnn_lstm_hyperopt.training.config import TrainingConfig
from cnn_lstm_hyperopt.training.loop import NonFiniteLossError, OnEpochEnd, Outcome, train
from cnn_lstm_hyperopt.training.metrics import (
    Evaluation,
    Predictions,
    ValueScale,
    as_predictions,
    evaluate,
    predict,
)

__all__ = [
    "Checkpoint",
    "Evaluation",
    "NonFiniteLossError",
    "OnEpochEnd",
    "Outcome",
    "Predictions",
    "TrainingConfig",
    "ValueScale",
    "as_predictions",
    "evaluate",
    "predict",
    "read_checkpoint",
    "train",
    "write_checkpoint",
]
