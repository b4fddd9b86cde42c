"""One worker process: reads the settings, the data and the study in a directory and runs trials until there are enough.

Started by ``execution.worker_pool``: ``python -m cnn_lstm_hyperopt.execution.worker SAVE_DIR NUMBER WORKERS``. Standard input is
the line to the main process: a line asks it to end in good order, and when the stream ends the main process is gone, and so is
the worker.
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
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.execution.trial_loop import run_trials
from cnn_lstm_hyperopt.execution.validation_files import ValidationWriter
from cnn_lstm_hyperopt.execution.worker_plan import as_begun, memory_limit, study_plan
from cnn_lstm_hyperopt.execution.worker_pool import ALIVE, RECYCLED, STARTUP_SECONDS, STORAGE_FAILED, STUDY_FAILED
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import (
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FOR_WORKERS,
    LOCK_FILE,
    STUDY_FILE,
    VALIDATION,
)
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import LACKED_MEMORY, Assignment, SkillThreshold, Study, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages
from cnn_lstm_hyperopt.training.runtime.device import resolve_device
from cnn_lstm_hyperopt.training.runtime.memory import resident_mb
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork, TrialRunner
from cnn_lstm_hyperopt.utils.heartbeat import be_at, beat, beats, place
from cnn_lstm_hyperopt.utils.processes import ignore_signals_of_the_group, noticing_stops

log = logging.getLogger("cnn_lstm_hyperopt.execution.worker")

GROWN = "grown memory"
BEAT_SECONDS = 1.0


def main(arguments: Sequence[str]) -> int:
    """Runs trials; the exit code is 0 when there was no more to do or the main process asked to end."""
    save_dir, number, workers = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    ignore_signals_of_the_group()
    stop = _WatchedStop()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    threading.Thread(target=_tell, daemon=True).start()
    try:
        with noticing_stops(), storage_faults(save_dir), run_log(save_dir, f"worker {number}: "):
            _work(save_dir, number, workers, stop)
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


def _tell() -> None:
    """Tells the main process once a second how far this one is, without end, in a thread of its own.

    The first number that it tells grows with each batch and each look for a trial; its trial, its epoch and its memory follow.
    Before the first of them, while data and study are read, it is enough that the process runs; for a while.
    """
    begun = time.monotonic()
    while True:
        starting = beats() == 0 and time.monotonic() - begun < STARTUP_SECONDS
        try:
            life = time.monotonic() - begun if starting else beats()
            print(ALIVE, life, *place(), f"{resident_mb():.0f}", flush=True)
        except BrokenPipeError:
            return  # the main process is gone, which _listen hears of
        time.sleep(BEAT_SECONDS)


class _WatchedStop(StopSignal):
    """Is asked between two trials and while others run the last ones: each time a sign of life."""

    @property
    def reason(self) -> str | None:
        """As it was told."""
        beat()
        return super().reason


class _Claim:
    """A lock that is waited for with signs of life: who holds it and hangs is found out, not who waits."""

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


class _Place(TrialEvents):
    """Says which trial this process is at."""

    def on_trial_start(self, assignment: Assignment) -> None:
        """A new one."""
        be_at(assignment.number, 0.0)

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """It has got further."""
        be_at(assignment.number, report.epoch)


class _MemoryWatch(TrialEvents):
    """Ends a worker whose memory has grown or did not suffice: libraries leak, and a new process is small."""

    def __init__(self, stop: StopSignal, growth_mb: float) -> None:
        self._stop, self._growth_mb = stop, growth_mb
        self._after_first: float | None = None

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Looks at what is held between two trials; the trial's network counts too, so this is a little late, never early."""
        give_back_pages()
        now = resident_mb()
        if record.reason.startswith(LACKED_MEMORY) and self._stop.reason is None:
            log.info("a new worker takes over, which has the memory that this one keeps in pieces")
            self._stop.end(GROWN)
        elif self._after_first is None:
            self._after_first = now
        elif now - self._after_first > self._growth_mb and self._stop.reason is None:
            log.info("grown from %.0f to %.0f MB: a new worker takes over", self._after_first, now)
            self._stop.end(GROWN)


def _work(save_dir: Path, number: int, workers: int, stop: StopSignal) -> None:
    settings = load_settings(save_dir / CONFIG_FILE, environment={})
    data = load_trial_data(save_dir / DATA_FOR_WORKERS)
    device = resolve_device(settings.training.device)
    storage = StudyStorage(save_dir / STUDY_FILE)
    try:
        speeds = CostModel.from_dict(storage.attribute("speeds"))
        runner = TrialRunner(
            data,
            settings.training,
            seed=settings.study.seed,
            device=device,
            speeds=speeds,
            metric=settings.study.metric,
            memory_mb=memory_limit(settings, device, workers=workers),
        )
        skill = SkillThreshold(**storage.attribute("skill_gate"))
        plan = as_begun(study_plan(settings, skill, runner, device, workers=workers), storage)
        study = Study(storage, plan, claim=_Claim(save_dir / LOCK_FILE), worker=number)
        writer = ValidationWriter(save_dir / VALIDATION, data.folds)
        callbacks: list[TrialEvents] = [writer, _Place(), _MemoryWatch(stop, settings.limits.worker_growth_mb)]
        run_trials(study, runner, stop=stop, callbacks=callbacks, checkpoints=save_dir / CHECKPOINTS)
    finally:
        storage.close()


def _listen(stop: StopSignal) -> None:
    """Ends with the main process: its death, even by kill -9, closes the stream."""
    for line in sys.stdin:
        stop.end(line.strip())
    log.warning("the main process is gone; so is this worker")
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
