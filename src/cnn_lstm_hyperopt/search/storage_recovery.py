"""Error messages and backups of a study's SQLite file."""

import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import sqlalchemy

from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError
from cnn_lstm_hyperopt.run_dir.paths import BACKUP_FILE
from cnn_lstm_hyperopt.run_dir.storage_errors import FAILING, FULL, READ_ONLY, cant_write, disk_is_full, gone
from cnn_lstm_hyperopt.search.file_check import BUSY_SECONDS, connect, remedy, require_intact
from cnn_lstm_hyperopt.search.study_format import DamagedError
from cnn_lstm_hyperopt.utils.atomic_io import new_part

log = logging.getLogger(__name__)

_PAGES = 10_000
"""Number of database pages that a backup copies in one step (40 MB)."""
_LOCKED = (
    f"another program held its lock for {BUSY_SECONDS:g} s",
    "close the program that has it open (an SQLite shell, a copy in progress)",
    "study-locked",
)
_PROBLEMS = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
}
"""For each result code of SQLite: a description of the problem, the remedy, and the error code of this package."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

FAULTS = (
    sqlalchemy.exc.SQLAlchemyError,
    sqlite3.Error,
    optuna.exceptions.StorageInternalError,
    OSError,
    DamagedError,
)
"""Types of errors that occur when a study's file is read or written and that are not bugs of this program."""


def back_up(path: Path, check: Callable[[Path], None] = lambda copy: None) -> None:
    """Copy the study to ``study.backup.db``; log a warning if that fails.

    Args:
        path: path of the study's file.
        check: function of the copy's path that raises DamagedError if trials in the copy were changed.

    Raises:
        DamagedError: the study is damaged; the earlier backup is kept.
    """
    target = path.with_name(BACKUP_FILE)
    beside: Path | None = None
    try:
        beside = new_part(target)
        with contextlib.closing(connect(path)) as source, contextlib.closing(sqlite3.connect(beside)) as copy:
            source.backup(copy, pages=_PAGES, progress=_within(BUSY_SECONDS))
            require_intact(copy)
        check(beside)
        with contextlib.closing(sqlite3.connect(beside)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE")  # a single file
        beside.replace(target)
    except (sqlite3.Error, OSError) as error:
        if _primary(_code(error)) in _DAMAGED:
            raise DamagedError(first_line(error)) from error
        log.warning("%s can't be written: %s", target, first_line(error))
    finally:
        if beside is not None:
            remove(beside)


def _within(seconds: float) -> Callable[[int, int, int], None]:
    """Return a callback that aborts a copy after ``seconds`` without progress; SQLite would wait for the file's lock forever."""
    since, left = time.monotonic(), -1

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal since, left
        if remaining != left:
            since, left = time.monotonic(), remaining
        elif time.monotonic() - since > seconds:
            raise sqlite3.OperationalError(f"another program held its lock for {seconds:g} s")

    return progress


def failed(path: Path, error: Exception) -> HyperoptError:
    """Return the error that a run raises when the study can no longer be read or written."""
    code = _code(error)
    primary = _primary(code)
    if isinstance(error, DamagedError) or primary in _DAMAGED:
        return cant_write(path, path.parent, f"it is damaged ({first_line(error)})", remedy(path), "study-damaged")
    if primary in _PROBLEMS and code != sqlite3.SQLITE_READONLY_DBMOVED:
        return cant_write(path, path.parent, *_PROBLEMS[primary])
    if not path.is_file():
        return gone(path)
    if primary == sqlite3.SQLITE_IOERR:
        return cant_write(path, path.parent, *_io_problem(path))
    return cant_write(path, path.parent, first_line(error), "check the file", "study-not-writable")


def not_opened(path: Path, error: Exception) -> HyperoptError:
    """Return the error that a command raises when the study can't be opened."""
    primary = _primary(_code(error))
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return SaveDirError(
            f"{path} can't be opened as a study: {first_line(error)}; SQLite must be able to write in {path.parent}: make it"
            " writable",
            code="study-not-writable",
        )
    if primary in _PROBLEMS:
        return failed(path, error)
    if primary == sqlite3.SQLITE_IOERR:
        return cant_write(path, path.parent, *_io_problem(path))
    if isinstance(error, RuntimeError):  # Optuna's error for another schema version
        return SaveDirError(f"{path} can't be opened as a study: {first_line(error)}", code="other-optuna-version")
    return SaveDirError(
        f"{path} can't be opened as a study: it is damaged or not a study ({first_line(error)}); {remedy(path)}",
        code="study-damaged",
    )


def instead(path: Path) -> str:
    """Return an instruction for the user whose directory contains no study."""
    if path.with_name(BACKUP_FILE).is_file():
        return remedy(path)
    return "start one with: run --save-dir DIR"


def first_line(error: BaseException) -> str:
    """Return the first line of the message of an error's root cause."""
    if not isinstance(error, DamagedError):
        error = error.__cause__ or error
        error = getattr(error, "orig", None) or error
    text = str(error).strip()
    return text.split("\n")[0] if text else type(error).__name__


def remove(path: Path) -> None:
    """Remove an unfinished file and the side files that SQLite created for this file (``-wal``, ``-shm``)."""
    for each in path.parent.glob(f"{path.name}*"):
        with contextlib.suppress(OSError):
            each.unlink()


def _io_problem(path: Path) -> tuple[str, str, str]:
    """Return the problem, remedy and error code for an I/O error of SQLite, found from the state of the disk and the file."""
    return FULL if disk_is_full(path.parent) else FAILING


def _code(error: BaseException | None) -> int | None:
    """Return SQLite's result code of an error or of the errors that it wraps; None if none of these is an error of SQLite."""
    while error is not None:
        if isinstance(error, sqlite3.Error):
            return getattr(error, "sqlite_errorcode", None)
        error = getattr(error, "orig", None) or error.__cause__
    return None


def _primary(code: int | None) -> int | None:
    return None if code is None else code & 0xFF
