"""Tells of trials that other programs added to the study or changed, as soon as a trial starts or ends."""

from collections.abc import Callable

from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork


class OutsideKeeper:
    """An observer that passes on each such trial once.

    Args:
        storage: of the study.
        warn: shows a warning.
    """

    def __init__(self, storage: StudyStorage, warn: Callable[[str], None]) -> None:
        self._storage, self._warn = storage, warn

    def tell(self) -> None:
        """Pass on what is new."""
        for line in self._storage.news():
            self._warn(line)

    def on_trial_start(self, assignment: Assignment) -> None:
        """See execution.Observer."""
        self.tell()

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """See execution.Observer; nothing to do."""

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """See execution.Observer; nothing to do."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """See execution.Observer."""
        self.tell()
