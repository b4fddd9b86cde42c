"""How a training ended."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.progress import Decision
from cnn_lstm_hyperopt.training.validation import Evaluation


class NonFiniteLossError(Exception):
    """The loss became NaN or infinite, or the score is not defined; the text names the epoch, and the fold where several are."""


@dataclass(frozen=True)
class Outcome:
    """What a training gave; its networks hold the weights of the best epoch. All counts from the first epoch on.

    Attributes:
        best_epoch: epoch of the lowest validation loss, of its mean over folds; 0 when no epoch was finished.
        best: evaluation at that epoch, over all folds (:func:`over_folds`); None when no epoch was finished.
        epochs: epochs done, fractional when it was ended within one.
        seconds: wall seconds in training steps, of all folds together.
        projected_seconds: what all ``max_epochs`` would take; None when it could not be told.
        decision: what ended it: CONTINUE when it ran to its own end (all epochs, or patience).
        evaluation_seconds: wall seconds in evaluations.
        paused_seconds: seconds for which the process was stopped within training steps; they are not in ``seconds``.
    """

    best_epoch: int
    best: Evaluation | None
    epochs: float
    seconds: float
    projected_seconds: float | None
    decision: Decision
    evaluation_seconds: float = 0.0
    paused_seconds: float = 0.0
