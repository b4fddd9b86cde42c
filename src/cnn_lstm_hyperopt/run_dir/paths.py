"""What lies in ``save_dir``: its names, the log, the lock, and what to say when nothing can be written there."""

import contextlib
import errno
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from cnn_lstm_hyperopt.errors import SaveDirError, StorageFailedError
from cnn_lstm_hyperopt.utils.atomic_io import whole_path
from cnn_lstm_hyperopt.utils.secrets import masked

STUDY_FILE, CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE, LOG_FILE = (
    "study.db",
    "config.yaml",
    "data.json",
    "results.json",
    "trials.csv",
    "run.log",
)
MLFLOW_FILE, MLFLOW_ARTIFACTS = "mlflow.db", "mlartifacts"
"""MLflow's own, unless another store is named."""
REPORT_FILE, FIGURES = "report.html", "figures"
"""The page, and its charts as pictures."""
BACKUP_FILE = "study.backup.db"
"""A whole copy of the study, at most ten minutes of trials old."""
VALIDATION = "validation"
"""What each finished trial said of the validation windows."""
CHECKPOINTS = "checkpoints"
"""While there is something to go on with: states of trials."""
FINAL = "final"
"""In ``checkpoints/``: the trainings of confirmation and retraining, until the verdict is written."""
ENSEMBLE = "ensemble"
"""The folder of the finalists' ensemble, beside those of the retrained models and made like them."""
ENSEMBLE_FILE = "ensemble.json"
"""In it: its members, their weights and their folders."""
MODEL_CARD = "README.md"
"""In the folder of each model."""
ACTIVITY_FILE = ".activity.json"
"""While a search is at work: what each of its processes trains."""
RUN_LOCK = ".run.lock"
"""Held by the process that runs the study; the system frees it when that process ends, in whatever way."""
LOCK_FILE, DATA_FOR_WORKERS = ".claim.lock", ".data.safetensors"
"""While workers run: whose turn it is to claim a trial, and the windows that all of them map into memory."""
STUDY_FILES = (
    STUDY_FILE,
    BACKUP_FILE,
    CONFIG_FILE,
    DATA_FILE,
    RESULTS_FILE,
    TRIALS_FILE,
    LOG_FILE,
    REPORT_FILE,
    MLFLOW_FILE,
)
"""Files of a study that a user sees."""
STUDY_FOLDERS = (VALIDATION, CHECKPOINTS, FIGURES, MLFLOW_ARTIFACTS)
"""Folders of a study, beside those of models."""

FULL = ("the disk is full", "free some space")
READ_ONLY = ("the file system is read-only", "make it writable")
FAILING = ("the disk or a limit does not let it", "look after the disk and its limits (quota, ulimit -f)")
_FAULTS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: ("the disk quota is used up", "free some space"),
    errno.EFBIG: ("a file has reached the largest size that is allowed", "raise the limit (ulimit -f)"),
    errno.EROFS: READ_ONLY,
    errno.EACCES: ("that is not allowed", "make it writable"),
    errno.EPERM: ("that is not allowed", "make it writable"),
    errno.EIO: FAILING,
}
"""What is wrong and what helps, by the number of the system's error."""


_LITTLE = 2**16
"""Bytes: with fewer left, a disk counts as full."""


def disk_is_full(folder: Path) -> bool:
    """Whether nothing more of any size can be written there."""
    return shutil.disk_usage(folder).free < _LITTLE


def require_usable(save_dir: Path) -> None:
    """Whether the directory is there or can be made, and what lies in it under our names is what it should be.

    Raises:
        SaveDirError: it can't be used; the text says why.
    """
    there = next(place for place in (save_dir, *save_dir.parents) if place.exists())
    if not there.is_dir():
        made = "" if there == save_dir else f"can't be made: {there} "
        raise SaveDirError(f"--save-dir {save_dir} {made}is no directory; name another")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SaveDirError(
            f"--save-dir {save_dir} can't be written: {there} is read-only; make it writable, or name another"
        )
    folders = [*STUDY_FOLDERS, *(path.name for path in model_folders(save_dir))]
    for name, right, kind in (
        *((name, Path.is_file, "file") for name in (*STUDY_FILES, RUN_LOCK)),
        *((name, Path.is_dir, "directory") for name in folders),
    ):
        place = save_dir / name
        if os.path.lexists(place) and not right(place):
            raise SaveDirError(
                f"{place} is in the way: a run needs this name for a {kind}; move it, or name another --save-dir"
            )


def model_folder(save_dir: Path, rank: int) -> Path:
    """``retrained_model_1`` …"""
    return save_dir / f"retrained_model_{rank}"


def ensemble_folder(save_dir: Path) -> Path:
    """``ensemble``."""
    return save_dir / ENSEMBLE


MODEL_FOLDERS = rf"retrained_model_\d+|{ENSEMBLE}"
"""Pattern of the names of model folders."""


def model_folders(save_dir: Path, pattern: str = MODEL_FOLDERS) -> list[Path]:
    """What is named like the folder of a model or ensemble, or by another pattern; nothing else is ever touched."""
    if not save_dir.is_dir():
        return []
    return sorted(path for path in save_dir.iterdir() if re.fullmatch(pattern, path.name))


def resume_command(save_dir: Path) -> str:
    """What goes on with a study from the command line."""
    return f"cnn-lstm-hyperopt resume --save-dir {shlex.quote(str(save_dir))}"


def resume_in_python(save_dir: Path, description: Mapping[str, Any]) -> str:
    """Return the Python expression that resumes a study on DataLoaders.

    Args:
        save_dir: of the study.
        description: of its ``data.json``: dates and groups that it was begun with have to be given again.
    """
    splits = list((description.get("splits") or {}).values())
    marks = [name for name, key in (("dates", "first"), ("groups", "groups")) if any(key in each for each in splits)]
    given = "".join(f"{name}={name}, " for name in marks)
    return f"CNNLSTMHyperparameterOptimizer(data_loaders, save_dir={str(save_dir)!r}, {given}resume=True)"


def cant_write(path: Path, save_dir: Path, problem: str, cure: str) -> StorageFailedError:
    """The error of a run that can't store anything more."""
    return StorageFailedError(
        f"{path} can't be written: {problem}; what was finished is kept. Remedy: {cure}, then go on with:"
        f" {resume_command(save_dir)} (in Python: resume=True)"
    )


def gone(path: Path) -> StorageFailedError:
    """The error of a run whose file or directory was taken away."""
    return StorageFailedError(
        f"{path} was removed, moved or replaced while the run was at work, so nothing more can be stored. Put it back in its"
        f" place and go on with: {resume_command(path.parent)} (in Python: resume=True); without it, begin again"
    )


@contextlib.contextmanager
def storage_faults(save_dir: Path) -> Iterator[None]:
    """Whatever can't be written in ``save_dir`` is told as what the user can do about it.

    Errors of the system that are about other places, such as the user's own files, stay what they are.

    Raises:
        StorageFailedError: the disk is full or read-only, or the directory is gone.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        told = _storage_failed(save_dir, error)
        if told is None:
            raise
        raise told from error


def _storage_failed(save_dir: Path, error: OSError | SafetensorError) -> StorageFailedError | None:
    named = error.filename if isinstance(error, OSError) and isinstance(error.filename, str) else None
    if named is not None and not Path(named).absolute().is_relative_to(save_dir.absolute()):
        return None
    if not save_dir.is_dir():
        return gone(save_dir / STUDY_FILE)
    code = error.errno if isinstance(error, OSError) else _os_error(error)
    if code not in _FAULTS or (named is None and code in (errno.EACCES, errno.EPERM)):
        return None
    return cant_write(save_dir if named is None else whole_path(Path(named)), save_dir, *_FAULTS[code])


def _os_error(error: SafetensorError) -> int | None:
    """The number of the system's error, of which there is only a text."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return None if found is None else int(found[1])


class _Masking(logging.Formatter):
    """Writes no password and no token of a URI into the log."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and the traceback if there is one."""
        return masked(super().format(record))


class _RunLog(logging.FileHandler):
    """Says once when it can't write any more: a traceback for each line would bury what the run says itself."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name that logging calls
        """Anything else than a full or missing disk is shown as logging does."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self._tell(error)
        else:
            super().handleError(record)

    def close(self) -> None:
        """What could not be written before can't be written now."""
        try:
            super().close()
        except OSError as error:
            self._tell(error)

    def _tell(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            with contextlib.suppress(OSError):  # the terminal is gone, too
                print(f"Warning: {self.baseFilename} can't be written any more: {error.strerror}", file=sys.stderr)


@contextlib.contextmanager
def run_log(save_dir: Path, prefix: str = "") -> Iterator[None]:
    """Appends what the package logs to ``run.log``; several processes may do so at once."""
    logger = logging.getLogger("cnn_lstm_hyperopt")
    handler = _RunLog(save_dir / LOG_FILE, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Masking(f"%(asctime)s %(levelname)s {prefix}%(message)s"))
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
        SaveDirError: another process has it, or nothing may be written there.
    """
    lock = FileLock(save_dir / RUN_LOCK, timeout=1)  # status may hold it for a moment
    try:
        lock.acquire()
    except Timeout as error:
        raise SaveDirError(
            f"another run is at work in {save_dir}; wait for it, stop it, or choose another --save-dir"
        ) from error
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise SaveDirError(
            f"--save-dir {save_dir} can't be written: {error.strerror}; make it writable, or choose another"
        ) from error
    held = (save_dir / RUN_LOCK).stat()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it does no harm where it is, and Windows does not remove an open file
            # While it is held, afterwards it may be another run's; which it is already if the directory was replaced.
            if os.path.samestat(held, (save_dir / RUN_LOCK).stat()):
                (save_dir / RUN_LOCK).unlink()
        lock.release()


def is_running(save_dir: Path) -> bool:
    """Whether a process holds the directory now."""
    if not (save_dir / RUN_LOCK).is_file():
        return False
    try:
        with FileLock(save_dir / RUN_LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        return False  # left over: nobody can be at work where nothing can be written
