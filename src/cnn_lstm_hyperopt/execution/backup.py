"""A copy of the study while it runs."""

import math
import time

from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork

BACKUP_SECONDS = 600.0


class BackupKeeper:
    """An observer that copies the study when the first trial ends, and then when the last copy is older than ``seconds``."""

    def __init__(self, storage: StudyStorage, seconds: float = BACKUP_SECONDS) -> None:
        self._storage, self._seconds = storage, seconds
        self._copied = -math.inf

    def on_trial_start(self, assignment: Assignment) -> None:
        """Nothing to do."""

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Nothing to do."""

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """Nothing to do."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Copies, if it is time."""
        if time.monotonic() - self._copied >= self._seconds:
            self._storage.back_up()
            self._copied = time.monotonic()
