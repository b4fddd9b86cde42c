"""Translation of the errors of a run that can no longer write in ``save_dir``."""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError

from cnn_lstm_hyperopt.errors import StorageFailedError
from cnn_lstm_hyperopt.run_dir.paths import STUDY_FILE, resume_command
from cnn_lstm_hyperopt.utils.atomic_io import whole_path

FULL = ("the disk is full", "free some space", "disk-full")
READ_ONLY = ("the file system is read-only", "make it writable", "read-only")
FAILING = ("the disk or a limit prevents it", "check the disk and its limits (quota, ulimit -f)", "disk-failing")
_FAULTS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: ("the disk quota is used up", "free some space", "disk-quota"),
    errno.EFBIG: ("a file has reached the size limit", "raise the limit (ulimit -f)", "file-size-limit"),
    errno.EROFS: READ_ONLY,
    errno.EACCES: ("permission denied", "make it writable", "not-permitted"),
    errno.EPERM: ("permission denied", "make it writable", "not-permitted"),
    errno.EIO: FAILING,
}
"""Problem, remedy and error code for each system error number (errno)."""


_MIN_FREE_BYTES = 2**16
"""Number of free bytes below which a disk counts as full."""


def disk_is_full(folder: Path) -> bool:
    """Return True if the disk that contains a folder is full."""
    return shutil.disk_usage(folder).free < _MIN_FREE_BYTES


def cant_write(path: Path, save_dir: Path, problem: str, remedy: str, code: str) -> StorageFailedError:
    """Return the error to raise when a run can no longer write in ``save_dir``."""
    return StorageFailedError(
        f"{path} can't be written: {problem}; finished trials are kept. Remedy: {remedy}, then resume:"
        f" {resume_command(save_dir)} (in Python: resume=True)",
        code=code,
    )


def gone(path: Path) -> StorageFailedError:
    """Return the error to raise when a file or the directory of a run was removed."""
    return StorageFailedError(
        f"{path} was removed, moved or replaced during the run, so nothing more can be stored. Put it back, then resume:"
        f" {resume_command(path.parent)} (in Python: resume=True). Without it, start a new study",
        code="study-gone",
    )


@contextlib.contextmanager
def storage_faults(save_dir: Path) -> Iterator[None]:
    """Context that translates errors of writing in ``save_dir`` into errors with a remedy.

    System errors about files outside ``save_dir``, such as the user's own files, are not translated.

    Raises:
        StorageFailedError: the disk is full or read-only, or the directory is gone.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        translated = _storage_failed(save_dir, error)
        if translated is None:
            raise
        raise translated from error


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
    """Return the system error number (errno) that the text of a safetensors error contains."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return None if found is None else int(found[1])
