"""Training for a fixed number of epochs without validation windows, which repeats an earlier training on more windows."""

from dataclasses import dataclass

from cnn_lstm_hyperopt.progress import OnReport, ProgressReport
from cnn_lstm_hyperopt.training.checkpoint import Checkpoint
from cnn_lstm_hyperopt.training.fold import FoldTraining
from cnn_lstm_hyperopt.training.outcome import Outcome
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.trainer import Lockstep, OnEpochEnd


@dataclass(frozen=True)
class FixedLength:
    """Length of a training without validation windows, and the validation losses of the earlier training that it repeats.

    Attributes:
        epochs: number of epochs, at least 1.
        losses: validation loss of the earlier training after each of its epochs. The learning-rate schedule ``plateau`` gets
            these losses, so its learning rates are those of the earlier training. After the last loss, the schedule gets the
            last loss again, as if no later epoch had a lower loss. The other schedules depend on the epoch alone.
    """

    epochs: int
    losses: tuple[float, ...] = ()

    def loss_after(self, epoch: int) -> float:
        """Return the loss that the learning-rate schedule gets after an epoch, counted from 1."""
        return self.losses[min(epoch, len(self.losses)) - 1] if self.losses else 0.0


def train_fixed(
    fold: FoldTraining,
    config: TrainingConfig,
    length: FixedLength,
    *,
    on_report: OnReport,
    start: Checkpoint | None = None,
    on_epoch_end: OnEpochEnd | None = None,
) -> Outcome:
    """Train one network for a fixed number of epochs. At the end, the network has its weights of the last epoch.

    ``config.max_epochs`` remains the length of the schedules of learning rate and dropout, so each epoch has the rates that it
    had in the earlier training. The other arguments and errors are those of :func:`.train_folds`.

    Returns:
        Outcome without an evaluation. Its ``best_epoch`` is the last epoch, or 0 if the training was ended early.
    """
    return _FixedTraining(fold, config, length, on_report, on_epoch_end).run(start)


class _FixedTraining(Lockstep):
    """Training of one fold that evaluates nothing."""

    def __init__(
        self,
        fold: FoldTraining,
        config: TrainingConfig,
        length: FixedLength,
        on_report: OnReport,
        on_epoch_end: OnEpochEnd | None,
    ) -> None:
        super().__init__([fold], config, on_report, on_epoch_end, epochs=length.epochs)
        self._fold, self._length = fold, length
        self._about = {**self._about, "fixed epochs": length.epochs}

    def train_epoch(self) -> None:
        """Train for an epoch, unless a decision within the epoch ends the training."""
        self._epoch += 1
        self._fold.start_epoch(self._epoch)
        self._train_until(self._steps)
        if self.over():
            return
        self._require_finite(self._fold, self._fold.loss_so_far())
        self._complete = self._epoch == self._epochs
        if self._complete:
            self.patience.best_epoch = self._epoch
        self.progress = float(self._epoch)
        self.decision = self._on_report(
            ProgressReport(self.progress, self.watch.seconds, self.watch.projected, last=self._complete)
        )
        if not self._complete:
            self._fold.end_epoch(self._length.loss_after(self._epoch))
        self._notify_epoch_end()
