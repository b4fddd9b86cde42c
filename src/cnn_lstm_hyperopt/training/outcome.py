"""Result of a training."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.progress import Decision
from cnn_lstm_hyperopt.training.validation import Evaluation


class NonFiniteLossError(Exception):
    """Error: the loss is NaN or infinite, or the score is undefined. The text names the epoch and, if necessary, the fold."""


@dataclass(frozen=True)
class Outcome:
    """Result of a training. After the training, the networks have the weights of the best epoch.

    All numbers are counted from the first epoch, also if the training was resumed.

    Attributes:
        best_epoch: epoch with the lowest mean of the folds' validation losses; 0 if no epoch was finished, or if no epoch is
            better than the linear solution at which the networks started.
        best: evaluation at the best epoch, over all folds (:func:`over_folds`); None if no epoch was finished.
        epochs: number of epochs done; fractional if the training ended within an epoch.
        seconds: wall-clock seconds of the training steps of all folds.
        projected_seconds: estimated seconds of the training steps of all ``max_epochs`` epochs; None if unknown.
        decision: decision that ended the training; CONTINUE if all epochs were done or patience was exhausted.
        evaluation_seconds: wall-clock seconds of evaluations.
        paused_seconds: seconds for which the process was suspended during training steps; ``seconds`` does not include these
            seconds.
        losses: validation loss of each epoch, as the mean over the folds; empty for a training without validation windows.
    """

    best_epoch: int
    best: Evaluation | None
    epochs: float
    seconds: float
    projected_seconds: float | None
    decision: Decision
    evaluation_seconds: float = 0.0
    paused_seconds: float = 0.0
    losses: tuple[float, ...] = ()
