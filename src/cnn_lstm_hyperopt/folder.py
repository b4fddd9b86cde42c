"""The names of what lies in ``save_dir``, and the log there."""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from cnn_lstm_hyperopt.exceptions import SaveDirError

STUDY_FILE, CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE, LOG_FILE = (
    "study.db",
    "config.yaml",
    "data.json",
    "results.json",
    "trials.csv",
    "run.log",
)
VALIDATION = "validation"
"""What each finished trial said of the validation windows."""
CHECKPOINTS = "checkpoints"
"""While trials run: the states of probes that may be continued."""
RUN_LOCK = ".run.lock"
"""Held by the process that runs the study; the system frees it when that process ends, in whatever way."""
LOCK_FILE, DATA_FOR_WORKERS = ".claim.lock", ".data.safetensors"
"""While workers run: whose turn it is to claim a trial, and the windows that all of them map into memory."""


@contextlib.contextmanager
def run_log(save_dir: Path, prefix: str = "") -> Iterator[None]:
    """Appends what the package logs to ``run.log``; several processes may do so at once."""
    logger = logging.getLogger("cnn_lstm_hyperopt")
    handler = logging.FileHandler(save_dir / LOG_FILE, encoding="utf-8")
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
    before = logger.level
    if not logger.isEnabledFor(logging.INFO):
        logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        handler.close()


@contextlib.contextmanager
def only_run(save_dir: Path) -> Iterator[None]:
    """Holds the directory for this process.

    Raises:
        SaveDirError: another process has it.
    """
    lock = FileLock(save_dir / RUN_LOCK, timeout=1)  # status may hold it for a moment
    try:
        lock.acquire()
    except Timeout as error:
        raise SaveDirError(
            f"another run is at work in {save_dir}; wait for it, stop it, or choose another --save-dir"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):  # Windows does not remove an open file; it does no harm where it is
            (save_dir / RUN_LOCK).unlink(missing_ok=True)  # while it is held: afterwards it may be another run's
        lock.release()


def is_running(save_dir: Path) -> bool:
    """Whether a process holds the directory now."""
    if not (save_dir / RUN_LOCK).exists():
        return False
    try:
        with FileLock(save_dir / RUN_LOCK, timeout=0):
            return False
    except Timeout:
        return True
