"""Training one network: loop, losses, schedules, patience, metrics. Knows nothing of studies."""

from cnn_lstm_hyperopt.training.config import TrainingConfig
from cnn_lstm_hyperopt.training.loop import NonFiniteLossError, Outcome, train
from cnn_lstm_hyperopt.training.metrics import (
    Evaluation,
    Predictions,
    ValueScale,
    as_predictions,
    evaluate,
    predict,
)

__all__ = [
    "Evaluation",
    "NonFiniteLossError",
    "Outcome",
    "Predictions",
    "TrainingConfig",
    "ValueScale",
    "as_predictions",
    "evaluate",
    "predict",
    "train",
]
