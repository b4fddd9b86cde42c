"""Subscribers that exchange checkpoints and validation predictions of trials with an artifact store."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

from cnn_lstm_hyperopt.config import Settings
from cnn_lstm_hyperopt.errors import CheckpointError, StorageFailedError
from cnn_lstm_hyperopt.execution.artifacts.study_files import StudyFiles, stored_files
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import checkpoint_path
from cnn_lstm_hyperopt.execution.validation_files import validation_path
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.search.databases.base import persistently
from cnn_lstm_hyperopt.training import last_good, read_checkpoint
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.atomic_io import new_part
from cnn_lstm_hyperopt.utils.heartbeat import beating

log = logging.getLogger(__name__)

SEND_SECONDS = 10.0
"""Min seconds between two copies of a running trial's checkpoint. If a machine is lost, its trial repeats the time since the last
copied epoch."""


class CheckpointCopies(TrialEvents):
    """Subscriber that copies the checkpoint of the running trial to a store, so that workers of other machines can continue it.

    A store that fails does not end the trial: then only the copy is missing.

    Args:
        files: files of the study in the store.
        checkpoints: folder of the checkpoints of this worker.
        seconds: seconds between two copies.
    """

    def __init__(self, files: StudyFiles, checkpoints: Path, seconds: float = SEND_SECONDS) -> None:
        self._files, self._checkpoints, self._seconds = files, checkpoints, seconds
        self._sent_at, self._sent = 0.0, 0

    def on_trial_start(self, assignment: Assignment) -> None:
        """Get the checkpoint in the store if it is of a later epoch than the checkpoint of this worker."""
        path = self._path(assignment)
        path.parent.mkdir(exist_ok=True)
        part = new_part(path)
        name = self._files.checkpoint(assignment.seeded_as)
        try:
            with beating():
                found = persistently(lambda: self._files.store.get(name, part), StorageFailedError)
            if found:
                there, here = read_checkpoint(part), last_good(path)
                if here is None or there.epoch > here.epoch:
                    part.replace(path)
        except (StorageFailedError, CheckpointError) as error:
            log.warning("trial %d: %s", assignment.number, error)
        finally:
            part.unlink(missing_ok=True)
        self._sent_at, self._sent = time.monotonic(), 0

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Copy the last checkpoint, unless the last copy is too recent."""
        if time.monotonic() - self._sent_at >= self._seconds:
            self._send(assignment)

    def on_trial_pause(self, assignment: Assignment) -> None:
        """Copy the last checkpoint before another worker may continue the trial."""
        self._send(assignment)

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Remove the copy."""
        self._guarded(record.number, lambda: self._files.store.delete(self._files.checkpoint(record.seeded_as)))

    def _send(self, assignment: Assignment) -> None:
        path = self._path(assignment)
        if not path.exists() or (written := path.stat().st_mtime_ns) == self._sent:
            return
        name = self._files.checkpoint(assignment.seeded_as)
        if self._guarded(assignment.number, lambda: self._files.store.put(name, path)):
            self._sent = written
        self._sent_at = time.monotonic()

    def _guarded(self, number: int, action: Callable[[], None]) -> bool:
        """Call a function. If the store fails, log a warning and return False."""
        try:
            with beating():
                action()
        except StorageFailedError as error:
            log.warning("trial %d: %s", number, error)
            return False
        return True

    def _path(self, assignment: Assignment) -> Path:
        return checkpoint_path(self._checkpoints, assignment.seeded_as)


class SentPredictions(TrialEvents):
    """Subscriber that moves the validation predictions of this worker's trials to a store; it follows a ValidationWriter.

    Args:
        files: files of the study in the store.
        folder: folder of the predictions of this worker.
    """

    def __init__(self, files: StudyFiles, folder: Path) -> None:
        self._files, self._folder = files, folder

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """Move the predictions before the trial is stored; while the store fails, repeat this for up to five minutes."""
        path, name = validation_path(self._folder, assignment.number), self._files.predictions(assignment.number)
        if path.exists():
            persistently(lambda: self._files.store.put(name, path), StorageFailedError)
            path.unlink()


def checkpoint_copies(settings: Settings, storage: StudyStorage, checkpoints: Path) -> list[TrialEvents]:
    """Return the subscriber that copies checkpoints if the study has artifacts; none otherwise."""
    files = stored_files(settings, storage)
    return [] if files is None else [CheckpointCopies(files, checkpoints)]
