"""Worker process, which reads settings, data and study from a directory and runs trials until the study has all trials.

The module ``worker_pool`` starts a worker by ``python -m cnn_lstm_hyperopt.execution.worker SAVE_DIR NUMBER WORKERS IDENTIFIER``.
The identifier is stored with the trials of a study on a server, whose workers may be on several machines. A line on standard
input asks the worker to save its state and end. When standard input closes, the main process has ended, and the worker ends at
once.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.shared_arrays import load_trial_data
from cnn_lstm_hyperopt.errors import HyperoptError, StorageFailedError, StudyFailedError
from cnn_lstm_hyperopt.execution.artifacts import checkpoint_copies
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import run_trials
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter
from cnn_lstm_hyperopt.execution.worker_plan import as_begun
from cnn_lstm_hyperopt.execution.worker_pool import ALIVE, RECYCLED, STARTUP_SECONDS, STORAGE_FAILED, STUDY_FAILED
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import (
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FOR_WORKERS,
    LOCK_FILE,
    VALIDATION,
)
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import (
    LACKED_MEMORY,
    Assignment,
    Study,
    StudyStorage,
    TrialRecord,
    database_in,
)
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages
from cnn_lstm_hyperopt.training.runtime.device import resolve_device
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.heartbeat import be_at, beat, beats, place
from cnn_lstm_hyperopt.utils.processes import ignore_signals_of_the_group, noticing_stops

log = logging.getLogger("cnn_lstm_hyperopt.execution.worker")

GROWN = "grown memory"
BEAT_SECONDS = 1.0


def main(arguments: Sequence[str]) -> int:
    """Run the trials of a worker; return 0 if the study has all trials or the main process asked the worker to end."""
    save_dir, number, workers, identifier = Path(arguments[0]), int(arguments[1]), int(arguments[2]), arguments[3]
    ignore_signals_of_the_group()
    stop = WatchedStop()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    threading.Thread(target=_send_heartbeats, daemon=True).start()
    try:
        with noticing_stops(), storage_faults(save_dir), run_log(save_dir, f"worker {number}: "):
            _work(save_dir, number, workers, identifier, stop)
    except StudyFailedError as error:
        print(error, file=sys.stderr)
        return STUDY_FAILED
    except StorageFailedError as error:
        print(error, file=sys.stderr)
        return STORAGE_FAILED
    except HyperoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return RECYCLED if stop.reason == GROWN else 0


def _send_heartbeats() -> None:
    """Print a heartbeat of this worker once a second, in a thread.

    A heartbeat has four numbers: progress, trial, epoch and memory (MB).
    """
    started = time.monotonic()
    while True:
        try:
            words = (ALIVE, progress_since(started), *place(), f"{resident_mb():.0f}")
            # In one write: with PYTHONUNBUFFERED, print writes word by word, and the end of the process cuts the line.
            sys.stdout.write(f"{' '.join(map(str, words))}\n")
            sys.stdout.flush()
        except BrokenPipeError:
            return  # the main process has ended, so _listen ends this process
        time.sleep(BEAT_SECONDS)


def progress_since(started: float) -> float:
    """Return the progress of this worker, which grows with each batch and each request for a trial.

    Until the first batch, while the worker reads data and study, the progress is the time since ``started``, for at most
    ``STARTUP_SECONDS``.
    """
    elapsed = time.monotonic() - started
    return elapsed if beats() == 0 and elapsed < STARTUP_SECONDS else beats()


class WatchedStop(StopSignal):
    """Stop signal of a worker. Each time the worker reads the property ``reason``, a heartbeat is recorded."""

    @property
    def reason(self) -> str | None:
        """Reason to end the run; None if the run continues."""
        beat()
        return super().reason


class _Claim:
    """Lock that records heartbeats while it waits, so that the main process does not replace a waiting worker as silent."""

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, timeout=BEAT_SECONDS)

    def __enter__(self) -> None:
        while True:
            beat()
            try:
                self._lock.acquire()
            except Timeout:
                continue
            return

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class TrialPlace(TrialEvents):
    """Subscriber that records the current trial and epoch of this process for its heartbeats."""

    def on_trial_start(self, assignment: Assignment) -> None:
        """Record the trial that starts."""
        be_at(assignment.number, 0.0)

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Record the epoch that the trial has reached."""
        be_at(assignment.number, report.epoch)


class MemoryWatch(TrialEvents):
    """Subscriber that ends this worker process if its memory has grown too much or a trial lacked memory.

    The memory grows if a library does not free its memory. A new process replaces the worker.
    """

    def __init__(self, stop: StopSignal, growth_mb: float) -> None:
        self._stop, self._growth_mb = stop, growth_mb
        self._after_first: float | None = None

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """End the worker if the trial lacked memory, or if memory is now much larger than after the worker's first trial."""
        give_back_pages()
        now = resident_mb()
        if record.reason.startswith(LACKED_MEMORY) and self._stop.reason is None:
            log.info("a new worker takes over: the memory of this one is fragmented")
            self._stop.end(GROWN)
        elif self._after_first is None:
            self._after_first = now
        elif now - self._after_first > self._growth_mb and self._stop.reason is None:
            log.info("grown from %.0f to %.0f MB: a new worker takes over", self._after_first, now)
            self._stop.end(GROWN)


def _work(save_dir: Path, number: int, workers: int, identifier: str, stop: StopSignal) -> None:
    settings = load_settings(save_dir / CONFIG_FILE, environment={})
    data = load_trial_data(save_dir / DATA_FOR_WORKERS)
    device = resolve_device(settings.training.device)
    storage = StudyStorage(database_in(save_dir))
    try:
        runner, plan = as_begun(settings, data, device, storage, workers=workers)
        claim = None if storage.shared else _Claim(save_dir / LOCK_FILE)
        study = Study(storage, plan, claim=claim, worker=identifier if storage.shared else number)
        writer = ValidationWriter(save_dir / VALIDATION, data.folds)
        checkpoints = save_dir / CHECKPOINTS
        callbacks: list[TrialEvents] = [writer, TrialPlace(), MemoryWatch(stop, settings.limits.worker_growth_mb)]
        callbacks += checkpoint_copies(settings, storage, checkpoints)
        run_trials(study, runner, stop=stop, callbacks=callbacks, checkpoints=checkpoints)
    finally:
        storage.close()


def _listen(stop: StopSignal) -> None:
    """End this worker when its standard input closes. The input closes when the main process ends, also after ``kill -9``."""
    for line in sys.stdin:
        stop.end(line.strip())
    log.warning("the main process has ended; this worker ends")
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
