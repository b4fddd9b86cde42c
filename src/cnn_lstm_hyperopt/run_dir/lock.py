"""Lock of ``save_dir``, which allows only one run at a time to use the directory."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.run_dir.paths import RUN_LOCK


@contextlib.contextmanager
def only_run(save_dir: Path) -> Iterator[None]:
    """Context in which this process locks the directory of a run.

    Raises:
        SaveDirError: another process has locked the directory, or the directory is not writable.
    """
    lock = FileLock(save_dir / RUN_LOCK, timeout=1)  # the command ``status`` may have the lock for a moment
    try:
        lock.acquire()
    except Timeout as error:
        raise SaveDirError(
            f"another run uses {save_dir}; wait for it, stop it, or choose another --save-dir",
            field="save_dir",
            code="run-active",
        ) from error
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        raise SaveDirError(
            f"--save-dir {save_dir} can't be written: {error.strerror}; make it writable, or choose another",
            field="save_dir",
            code="not-writable",
        ) from error
    held = (save_dir / RUN_LOCK).stat()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a remaining lock file does no harm; Windows can't remove an open file
            # Remove the file while it is locked. After the release, the file may belong to another run.
            if os.path.samestat(held, (save_dir / RUN_LOCK).stat()):
                (save_dir / RUN_LOCK).unlink()
        lock.release()


def is_running(save_dir: Path) -> bool:
    """Return True if a run uses the directory now."""
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
        return False  # no run can be active in a directory that is not writable
