"""Result of a training."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.progress import Decision
from cnn_lstm_hyperopt.training.validation import Evaluation


class NonFiniteLossError(Exception):
    """The loss is NaN or infinite, or the score is undefined. The text names the epoch and, of several folds, the fold."""


@dataclass(frozen=True)
class Outcome:
    """Result of a training, counted from its first epoch. Its networks have the weights of the best epoch.

    Attributes:
        best_epoch: epoch of the lowest mean validation loss over folds; 0 if no epoch was finished.
        best: evaluation at that epoch, over all folds (:func:`over_folds`); None if no epoch was finished.
        epochs: epochs done; fractional if the training ended within an epoch.
        seconds: wall seconds in training steps of all folds.
        projected_seconds: estimated seconds of all ``max_epochs``; None while unknown.
        decision: decision that ended the training; CONTINUE if all epochs were done or patience was exhausted.
        evaluation_seconds: wall seconds in evaluations.
        paused_seconds: seconds in which the process was suspended within training steps; ``seconds`` excludes them.
    """

    best_epoch: int
    best: Evaluation | None
    epochs: float
    seconds: float
    projected_seconds: float | None
    decision: Decision
    evaluation_seconds: float = 0.0
    paused_seconds: float = 0.0
