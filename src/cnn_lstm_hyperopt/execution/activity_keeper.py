"""Tells others what this run is at."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cnn_lstm_hyperopt.execution.activity_file import Activity, write_activity
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, TrialRecord
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork

EVERY_SECONDS = 1.0


class ActivityKeeper:
    """An observer that keeps :data:`.ACTIVITY_FILE` and passes on what it hears, once a second at most.

    Args:
        save_dir: where the file lies.
        tell: hears the same.
    """

    def __init__(self, save_dir: Path, tell: Callable[[Sequence[Activity]], None]) -> None:
        self._save_dir, self._tell = save_dir, tell
        self._told = 0.0

    def keep(self, activities: Sequence[Activity]) -> None:
        """What all processes are at now."""
        now = time.monotonic()
        if now - self._told < EVERY_SECONDS:
            return
        self._told = now
        self._tell(activities)
        write_activity(self._save_dir, activities)

    def on_trial_start(self, assignment: Assignment) -> None:
        """See execution.Observer."""
        self.keep([Activity(0, assignment.number, 0.0, resident_mb())])

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """See execution.Observer."""
        self.keep([Activity(0, assignment.number, report.epoch, resident_mb())])

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """See execution.Observer; the next report says more."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """See execution.Observer; the next report says more."""
