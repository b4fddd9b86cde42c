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
from cnn_lstm_hyperopt.execution.plan import study_plan
from cnn_lstm_hyperopt.execution.run import run_trials
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.workers import STUDY_FAILED
from cnn_lstm_hyperopt.folder import CONFIG_FILE, DATA_FOR_WORKERS, LOCK_FILE, STUDY_FILE, run_log
from cnn_lstm_hyperopt.reporting.validation import ValidationWriter
from cnn_lstm_hyperopt.search import SkillGate, Study, StudyStorage
from cnn_lstm_hyperopt.training.device import resolve_device
from cnn_lstm_hyperopt.trial_runner import TrialRunner


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
    return 0


def _work(save_dir: Path, number: int, stop: StopSignal) -> None:
    settings = load_settings(save_dir / CONFIG_FILE, environment={})
    data = load_trial_data(save_dir / DATA_FOR_WORKERS)
    device = resolve_device(settings.training.device)
    runner = TrialRunner(data, settings.training, seed=settings.study.seed, device=device)
    storage = StudyStorage(save_dir / STUDY_FILE)
    try:
        plan = study_plan(settings, SkillGate(**storage.attribute("skill_gate")), runner, device)
        study = Study(storage, plan, claim=FileLock(save_dir / LOCK_FILE), worker=number)
        run_trials(study, runner, stop=stop, observers=[ValidationWriter(save_dir / "validation", data.validation)])
    finally:
        storage.close()


def _listen(stop: StopSignal) -> None:
    """Ends with the main process: its death, even by kill -9, closes the stream."""
    for line in sys.stdin:
        stop.end(line.strip())
    if stop.reason is None:
        logging.getLogger("cnn_lstm_hyperopt").warning("the main process is gone; so is this worker")
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
