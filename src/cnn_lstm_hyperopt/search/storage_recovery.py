"""Whether a study's SQLite file is whole, what is wrong when it can't be used, and a copy of it for the day it is damaged."""

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
"""How long a writer waits for another one."""
_PAGES = 10_000
"""That are copied at once: 40 MB."""
_LOCKED = (
    f"another program held it locked for {BUSY_SECONDS:g} s",
    "close what has it open (a shell of SQLite, a copy in progress)",
)
_PROBLEMS = {
    sqlite3.SQLITE_FULL: FULL,
    sqlite3.SQLITE_READONLY: READ_ONLY,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
}
"""What is wrong and what helps, by SQLite's code."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class DamagedError(Exception):
    """A study's file does not hold what was written."""


FAULTS = (
    sqlalchemy.exc.SQLAlchemyError,
    sqlite3.Error,
    optuna.exceptions.StorageInternalError,
    OSError,
    DamagedError,
)
"""What storing and reading may end with that is no fault of this program."""


def require_study(path: Path, formats: Collection[Any], made_by: str) -> None:
    """Check, without touching the file, that it is whole and holds one study of this program.

    Args:
        path: of the file.
        formats: values that the study's attribute ``format`` may have.
        made_by: end of the refusal of another value.

    Raises:
        DamagedError: its pages, rows and indices do not fit together.
        SaveDirError: another program made it, or another version of this one.
        sqlite3.Error: it can't be read.
    """
    _require_ours(path, formats, made_by)
    with contextlib.closing(_connect(path)) as connection:
        _require_whole(connection)


def _require_ours(path: Path, formats: Collection[Any], made_by: str) -> None:
    """Refuse a file of another program before SQLite makes ``-wal`` and ``-shm`` beside it.

    ``immutable`` makes no file and takes no lock, but may see a page that is being written. Where both files are there already, a
    program may be writing, so SQLite reads the file once more with its log before it is refused.
    """
    in_use = all(path.with_name(f"{path.name}{end}").is_file() for end in ("-wal", "-shm"))
    for immutable in (True, False) if in_use else (True,):
        with contextlib.closing(_connect(path, immutable=immutable)) as connection:
            try:
                _require_one_study(connection, path, formats, made_by)
            except (SaveDirError, DamagedError, sqlite3.Error):
                if immutable and in_use:
                    continue
                _require_whole(connection)  # that it is damaged is the better reason
                raise
            return


def _require_one_study(connection: sqlite3.Connection, path: Path, formats: Collection[Any], made_by: str) -> None:
    tables = "SELECT count(*) FROM sqlite_master WHERE name IN ('studies', 'study_user_attributes')"
    if connection.execute(tables).fetchone()[0] != 2:
        raise SaveDirError(f"{path} holds no study; {remedy(path)}")
    names = [name for (name,) in connection.execute("SELECT study_name FROM studies")]
    if len(names) != 1:
        raise SaveDirError(f"{path} must hold exactly one study, but holds {len(names)}")
    query = "SELECT value_json FROM study_user_attributes WHERE key = 'format'"
    found = connection.execute(query).fetchone()
    try:
        made_with = None if found is None else json.loads(found[0])
    except (TypeError, ValueError) as error:
        raise DamagedError("the format of the study can't be read") from error
    if made_with not in formats:
        raise SaveDirError(
            f"{path} holds the study {names[0]}, which this version of cnn-lstm-hyperopt did not make (format {made_with},"
            f" {made_by}); choose another --save-dir"
        )


def back_up(path: Path, check: Callable[[Path], None] = lambda copy: None) -> None:
    """Copies the study as it is now to ``study.backup.db``; a log says if that can't be done.

    Args:
        path: of the study.
        check: raises DamagedError when the trials in a copy are not what was stored.

    Raises:
        DamagedError: what would be copied is damaged; the earlier copy stays.
    """
    target = path.with_name(BACKUP_FILE)
    beside: Path | None = None
    try:
        beside = new_part(target)
        with contextlib.closing(_connect(path)) as source, contextlib.closing(sqlite3.connect(beside)) as copy:
            source.backup(copy, pages=_PAGES, progress=_within(BUSY_SECONDS))
            _require_whole(copy)
        check(beside)
        with contextlib.closing(sqlite3.connect(beside)) as copy:
            copy.execute("PRAGMA journal_mode=DELETE")  # one file alone
        beside.replace(target)
    except (sqlite3.Error, OSError) as error:
        if _primary(_code(error)) in _DAMAGED:
            raise DamagedError(first_line(error)) from error
        log.warning("%s can't be written: %s", target, first_line(error))
    finally:
        if beside is not None:
            remove(beside)


def _within(seconds: float) -> Callable[[int, int, int], None]:
    """Ends a copy that gets nowhere: while another program holds the file, SQLite would try for ever."""
    since, left = time.monotonic(), -1

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal since, left
        if remaining != left:
            since, left = time.monotonic(), remaining
        elif time.monotonic() - since > seconds:
            raise sqlite3.OperationalError(f"another program held it locked for {seconds:g} s")

    return progress


def failed(path: Path, error: Exception) -> HyperoptError:
    """What a run says that can't go on with its study."""
    code = _code(error)
    primary = _primary(code)
    if isinstance(error, DamagedError) or primary in _DAMAGED:
        return cant_write(path, path.parent, f"it is damaged ({first_line(error)})", remedy(path))
    if primary in _PROBLEMS and code != sqlite3.SQLITE_READONLY_DBMOVED:
        return cant_write(path, path.parent, *_PROBLEMS[primary])
    if not path.is_file():
        return gone(path)
    if primary == sqlite3.SQLITE_IOERR:
        return cant_write(path, path.parent, *_io_problem(path))
    return cant_write(path, path.parent, first_line(error), "look after the file")


def not_opened(path: Path, error: Exception) -> HyperoptError:
    """What a command says at its start that can't use the study."""
    primary = _primary(_code(error))
    if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
        return SaveDirError(
            f"{path} can't be opened as a study: {first_line(error)}; SQLite must be able to write in {path.parent}: make it"
            " writable"
        )
    if primary in _PROBLEMS:
        return failed(path, error)
    if primary == sqlite3.SQLITE_IOERR:
        return cant_write(path, path.parent, *_io_problem(path))
    if isinstance(error, RuntimeError):  # so Optuna says that a newer or an older one has made it
        return SaveDirError(f"{path} can't be opened as a study: {first_line(error)}")
    return SaveDirError(
        f"{path} can't be opened as a study, it is damaged or none ({first_line(error)}); {remedy(path)}"
    )


def remedy(path: Path) -> str:
    """What to do without the file: how to put its copy in its place, if there is one."""
    backup = path.with_name(BACKUP_FILE)
    finished = _finished_in(backup)
    if finished is None:
        return f"there is no whole {BACKUP_FILE} beside it: choose another --save-dir"
    name = shlex.quote(path.name)
    aside = f"mv {name} damaged.db && " if path.exists() else ""
    return (
        f"{BACKUP_FILE} beside it holds {finished} finished trials; put it in its place with: cd"
        f" {shlex.quote(str(path.parent.absolute()))} && {aside}rm -f {name}-wal {name}-shm && cp {BACKUP_FILE} {name}, then"
        f" go on with: {resume_command(path.parent)}"
    )


def instead(path: Path) -> str:
    """What to do where there is no study."""
    if path.with_name(BACKUP_FILE).is_file():
        return remedy(path)
    return "start one with: run --save-dir DIR"


def first_line(error: BaseException) -> str:
    """What is at the bottom of an error, in a line."""
    if not isinstance(error, DamagedError):
        error = error.__cause__ or error
        error = getattr(error, "orig", None) or error
    text = str(error).strip()
    return text.split("\n")[0] if text else type(error).__name__


def remove(path: Path) -> None:
    """Removes an unfinished file and what SQLite had beside it."""
    for each in path.parent.glob(f"{path.name}*"):
        with contextlib.suppress(OSError):
            each.unlink()


def _connect(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    options = "mode=ro&immutable=1" if immutable else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, timeout=BUSY_SECONDS)


def _require_whole(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedError(" ".join(str(found).split()))


def _finished_in(path: Path) -> int | None:
    """Finished trials in a study's file; None where there is none that can be read."""
    try:
        with contextlib.closing(_connect(path)) as connection:
            query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        return None


def _io_problem(path: Path) -> tuple[str, str]:
    """SQLite says no more than that it could not read or write."""
    return FULL if disk_is_full(path.parent) else FAILING


def _code(error: BaseException | None) -> int | None:
    """SQLite's own code of an error, however it is wrapped."""
    while error is not None:
        if isinstance(error, sqlite3.Error):
            return getattr(error, "sqlite_errorcode", None)
        error = getattr(error, "orig", None) or error.__cause__
    return None


def _primary(code: int | None) -> int | None:
    return None if code is None else code & 0xFF
