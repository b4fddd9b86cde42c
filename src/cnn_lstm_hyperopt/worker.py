"""One worker process: reads the settings, the data and the study in a directory and runs trials until there are enough.

Started by ``execution.workers``: ``python -m cnn_lstm_hyperopt.worker SAVE_DIR NUMBER``. Standard input is the line to the main
process: a line asks it to end in good order, and when the stream ends the main process is gone, and so is the worker.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.store import load_trial_data
from cnn_lstm_hyperopt.exceptions import HyperoptError, StudyFailedError
from cnn_lstm_hyperopt.execution.observer import Observer
from cnn_lstm_hyperopt.execution.plan import as_begun, study_plan
from cnn_lstm_hyperopt.execution.run import run_trials
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.workers import RECYCLED, STUDY_FAILED
from cnn_lstm_hyperopt.folder import (
    CHECKPOINTS,
    CONFIG_FILE,
    DATA_FOR_WORKERS,
    LOCK_FILE,
    STUDY_FILE,
    VALIDATION,
    run_log,
)
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.reporting.validation import ValidationWriter
from cnn_lstm_hyperopt.search import Assignment, SkillGate, Study, StudyStorage, TrialRecord
from cnn_lstm_hyperopt.training.allocator import give_back_pages
from cnn_lstm_hyperopt.training.cost import CostModel
from cnn_lstm_hyperopt.training.device import resolve_device
from cnn_lstm_hyperopt.training.memory import resident_mb
from cnn_lstm_hyperopt.trial_runner import TrainedNetwork, TrialRunner

log = logging.getLogger("cnn_lstm_hyperopt.worker")

GROWN = "grown memory"


def main(arguments: Sequence[str]) -> int:
    """Runs trials; the exit code is 0 when there was no more to do or the main process asked to end."""
    save_dir, number = Path(arguments[0]), int(arguments[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the main process says what to do
    stop = StopSignal()
    threading.Thread(target=_listen, args=(stop,), daemon=True).start()
    try:
        with run_log(save_dir, f"worker {number}: "):
            _work(save_dir, number, stop)
    except StudyFailedError as error:
        print(error, file=sys.stderr)
        return STUDY_FAILED
    except HyperoptError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return RECYCLED if stop.reason == GROWN else 0


class _MemoryWatch:
    """An observer that ends a worker whose memory has grown: libraries leak slowly, and a new process is small."""

    def __init__(self, stop: StopSignal, growth_mb: float) -> None:
        self._stop, self._growth_mb = stop, growth_mb
        self._after_first: float | None = None

    def on_trial_start(self, assignment: Assignment) -> None:
        """Nothing to do."""

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Nothing to do."""

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """Nothing to do."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Looks at what is held between two trials; the trial's network counts too, so this is a little late, never early."""
        give_back_pages()
        now = resident_mb()
        if self._after_first is None:
            self._after_first = now
        elif now - self._after_first > self._growth_mb and self._stop.reason is None:
            log.info("grown from %.0f to %.0f MB: a new worker takes over", self._after_first, now)
            self._stop.end(GROWN)


def _work(save_dir: Path, number: int, stop: StopSignal) -> None:
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
        )
        gate = SkillGate(**storage.attribute("skill_gate"))
        plan = as_begun(study_plan(settings, gate, runner, device), storage)
        study = Study(storage, plan, claim=FileLock(save_dir / LOCK_FILE), worker=number)
        writer = ValidationWriter(save_dir / VALIDATION, data.folds)
        observers: list[Observer] = [writer, _MemoryWatch(stop, settings.limits.worker_growth_mb)]
        run_trials(study, runner, stop=stop, observers=observers, checkpoints=save_dir / CHECKPOINTS)
    finally:
        storage.close()


def _listen(stop: StopSignal) -> None:
    """Ends with the main process: its death, even by kill -9, closes the stream."""
    for line in sys.stdin:
        stop.end(line.strip())
    if stop.reason is None:
        log.warning("the main process is gone; so is this worker")
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
