"""Training of one network, or of one network per fold. The code of this package does not depend on studies."""

from cnn_lstm_hyperopt.training.checkpoint import (
    Checkpoint,
    delete_checkpoint,
    last_good,
    read_checkpoint,
    write_checkpoint,
)
from cnn_lstm_hyperopt.training.fold import FoldTraining
from cnn_lstm_hyperopt.training.outcome import NonFiniteLossError, Outcome
from cnn_lstm_hyperopt.training.runtime.memory import is_out_of_memory
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.trainer import OnEpochEnd, train, train_folds
from cnn_lstm_hyperopt.training.validation import (
    Evaluation,
    Predictions,
    ValueScale,
    as_predictions,
    evaluate,
    over_folds,
    predict,
)

__all__ = [
    "Checkpoint",
    "Evaluation",
    "FoldTraining",
    "NonFiniteLossError",
    "OnEpochEnd",
    "Outcome",
    "Predictions",
    "TrainingConfig",
    "ValueScale",
    "as_predictions",
    "delete_checkpoint",
    "evaluate",
    "is_out_of_memory",
    "last_good",
    "over_folds",
    "predict",
    "read_checkpoint",
    "train",
    "train_folds",
    "write_checkpoint",
]
