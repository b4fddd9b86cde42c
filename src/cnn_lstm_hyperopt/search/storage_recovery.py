"""Integrity checks, error messages and backups of a study's SQLite file."""

import contextlib
import json
import logging
import shlex
import sqlite3
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError
from cnn_lstm_hyperopt.run_dir.paths import BACKUP_FILE, resume_command
from cnn_lstm_hyperopt.run_dir.storage_errors import FAILING, FULL, READ_ONLY, cant_write, disk_is_full, gone
from cnn_lstm_hyperopt.utils.atomic_io import new_part

log = logging.getLogger(__name__)

BUSY_SECONDS = 30.0
"""Maximum number of seconds to wait while another process writes to the file."""
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


class DamagedError(Exception):
    """Error: the content of a study's file differs from the content that this program wrote."""


FAULTS = (
    sqlalchemy.exc.SQLAlchemyError,
    sqlite3.Error,
    optuna.exceptions.StorageInternalError,
    OSError,
    DamagedError,
)
"""Types of errors that occur when a study's file is read or written and that are not bugs of this program."""


def require_study(path: Path, formats: Collection[Any], made_by: str) -> None:
    """Check that a file is intact and contains exactly one study of this program; the file is not changed.

    Args:
        path: path of the file.
        formats: allowed values of the study's attribute ``format``.
        made_by: end of the error message if the attribute ``format`` has another value.

    Raises:
        DamagedError: pages, rows and indices are inconsistent.
        SaveDirError: another program, or another version of this program, created the file.
        sqlite3.Error: the file can't be read.
    """
    _require_ours(path, formats, made_by)
    with contextlib.closing(_connect(path)) as connection:
        _require_intact(connection)


def _require_ours(path: Path, formats: Collection[Any], made_by: str) -> None:
    """Reject a file of another program before SQLite creates the side files ``-wal`` and ``-shm`` in its directory.

    The mode ``immutable`` creates no side files and takes no lock, but may read a partly written page. If both side files exist,
    a program may be writing. SQLite then reads the file again, with the write-ahead log, before the file is rejected.
    """
    in_use = all(path.with_name(f"{path.name}{end}").is_file() for end in ("-wal", "-shm"))
    for immutable in (True, False) if in_use else (True,):
        with contextlib.closing(_connect(path, immutable=immutable)) as connection:
            try:
                _require_one_study(connection, path, formats, made_by)
            except (SaveDirError, DamagedError, sqlite3.Error):
                if immutable and in_use:
                    continue
                _require_intact(connection)  # a damaged file is reported as damaged
                raise
            return


def _require_one_study(connection: sqlite3.Connection, path: Path, formats: Collection[Any], made_by: str) -> None:
    tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('studies', 'study_user_attributes')"
    if connection.execute(tables).fetchone()[0] != 2:
        raise SaveDirError(f"{path} holds no study; {remedy(path)}", code="not-a-study")
    names = [name for (name,) in connection.execute("SELECT study_name FROM studies")]
    if len(names) != 1:
        raise SaveDirError(f"{path} must hold exactly one study, but holds {len(names)}", code="not-one-study")
    query = "SELECT value_json FROM study_user_attributes WHERE key = 'format'"
    found = connection.execute(query).fetchone()
    try:
        made_with = None if found is None else json.loads(found[0])
    except (TypeError, ValueError) as error:
        raise DamagedError("the format of the study can't be read") from error
    if made_with not in formats:
        raise SaveDirError(
            f"{path} holds the study {names[0]}, which this version of cnn-lstm-hyperopt did not make (format {made_with},"
            f" {made_by}); choose another --save-dir",
            code="other-format",
        )


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
        with contextlib.closing(_connect(path)) as source, contextlib.closing(sqlite3.connect(beside)) as copy:
            source.backup(copy, pages=_PAGES, progress=_within(BUSY_SECONDS))
            _require_intact(copy)
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


def remedy(path: Path) -> str:
    """Return an instruction for the user: restore the file from its backup or, without a backup, another remedy."""
    backup = path.with_name(BACKUP_FILE)
    finished = _finished_in(backup)
    if finished is None:
        return f"there is no intact {BACKUP_FILE} beside it: choose another --save-dir"
    name = shlex.quote(path.name)
    aside = f"mv {name} damaged.db && " if path.exists() else ""
    return (
        f"{BACKUP_FILE} beside it holds {finished} finished trials; restore it with: cd"
        f" {shlex.quote(str(path.parent.absolute()))} && {aside}rm -f {name}-wal {name}-shm && cp {BACKUP_FILE} {name}, then"
        f" resume: {resume_command(path.parent)}"
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


def _connect(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    options = "mode=ro&immutable=1" if immutable else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, timeout=BUSY_SECONDS)


def _require_intact(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedError(" ".join(str(found).split()))


def _finished_in(path: Path) -> int | None:
    """Return the number of finished trials in a study's file; None if the file can't be read."""
    try:
        with contextlib.closing(_connect(path)) as connection:
            query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        return None


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
