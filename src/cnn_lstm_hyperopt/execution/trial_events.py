"""Base class of the subscribers to events of trials, and the subscribers that every run has."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.run_dir.activity import Activity, write_activity
from cnn_lstm_hyperopt.search import Assignment, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork

BACKUP_SECONDS = 600.0
ACTIVITY_SECONDS = 1.0


class TrialEvents:
    """Subscriber to the events of trials. Each method does nothing; a subclass overrides methods."""

    def on_trial_start(self, assignment: Assignment) -> None:
        """Handle the start of a trial."""

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Handle a progress report of a trial."""

    def on_trial_pause(self, assignment: Assignment) -> None:
        """Handle the interruption of a trial, before another worker can continue it. Only the training process calls this."""

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """Handle the end of training, before a trial is stored as COMPLETE or PRUNED. Only the training process calls this."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Handle the end of a trial; ``trained`` is None if the trial failed or ran in another process."""


class Backup(TrialEvents):
    """Subscriber that backs up the study when a trial ends, unless the last backup is younger than ``seconds``."""

    def __init__(self, storage: StudyStorage, seconds: float = BACKUP_SECONDS) -> None:
        self._storage, self._seconds = storage, seconds
        self._copied = -math.inf

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Back up the study if the last backup is too old."""
        if time.monotonic() - self._copied >= self._seconds:
            self._storage.back_up()
            self._copied = time.monotonic()


class OutsideTrials(TrialEvents):
    """Subscriber that warns once about each trial that another program added or changed.

    Args:
        storage: storage of the study.
        warn: function that shows a warning.
    """

    def __init__(self, storage: StudyStorage, warn: Callable[[str], None]) -> None:
        self._storage, self._warn = storage, warn

    def check(self) -> None:
        """Warn about trials that other programs added or changed since the last call."""
        for line in self._storage.news():
            self._warn(line)

    def on_trial_start(self, assignment: Assignment) -> None:
        """Warn about trials that other programs added or changed before this trial."""
        self.check()

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Warn about trials that other programs added or changed during this trial."""
        self.check()


class ActivityReporter(TrialEvents):
    """Subscriber that writes the activity of each process of the run, for the command ``status``; at most once a second.

    Args:
        save_dir: directory of the run.
        show: function that shows the activities to the user. The function is called after each write.
    """

    def __init__(self, save_dir: Path, show: Callable[[Sequence[Activity]], None]) -> None:
        self._save_dir, self._show = save_dir, show
        self._written = 0.0

    def report(self, activities: Sequence[Activity]) -> None:
        """Write and show the activities of all processes."""
        now = time.monotonic()
        if now - self._written < ACTIVITY_SECONDS:
            return
        self._written = now
        self._show(activities)
        write_activity(self._save_dir, activities)

    def on_trial_start(self, assignment: Assignment) -> None:
        """Report the start of a trial."""
        self.report([Activity(0, assignment.number, 0.0, resident_mb())])

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Report the progress of a trial."""
        self.report([Activity(0, assignment.number, report.epoch, resident_mb())])
