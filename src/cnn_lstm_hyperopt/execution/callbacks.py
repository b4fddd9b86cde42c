"""Who hears of trials."""

from typing import Protocol

from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, TrialRecord
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork


class Observer(Protocol):
    """The study knows nothing of its observers."""

    def on_trial_start(self, assignment: Assignment) -> None:
        """A trial begins."""

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """A trial has got further."""

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """A trial's training is over and about to be stored as COMPLETE or PRUNED; only in the process that ran it."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """A trial has ended; ``trained`` is None when it failed, or ran in another process."""
