"""Integrity checks of a study's SQLite file, which need neither Optuna nor SQLAlchemy."""

import contextlib
import json
import shlex
import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import SaveDirError
from cnn_lstm_hyperopt.run_dir.paths import BACKUP_FILE, resume_command
from cnn_lstm_hyperopt.search.study_format import DamagedError

BUSY_SECONDS = 30.0
"""Maximum number of seconds to wait while another process writes to the file."""


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
    with contextlib.closing(connect(path)) as connection:
        require_intact(connection)


def _require_ours(path: Path, formats: Collection[Any], made_by: str) -> None:
    """Reject a file of another program before SQLite creates the side files ``-wal`` and ``-shm`` in its directory.

    The mode ``immutable`` creates no side files and takes no lock, but may read a partly written page. If both side files exist,
    a program may be writing. SQLite then reads the file again, with the write-ahead log, before the file is rejected.
    """
    in_use = all(path.with_name(f"{path.name}{end}").is_file() for end in ("-wal", "-shm"))
    for immutable in (True, False) if in_use else (True,):
        with contextlib.closing(connect(path, immutable=immutable)) as connection:
            try:
                _require_one_study(connection, path, formats, made_by)
            except (SaveDirError, DamagedError, sqlite3.Error):
                if immutable and in_use:
                    continue
                require_intact(connection)  # a damaged file is reported as damaged
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


def connect(path: Path, *, immutable: bool = False, writable: bool = False) -> sqlite3.Connection:
    """Open an existing file.

    Args:
        path: path of the file.
        immutable: whether to take no lock and to create no side files.
        writable: whether SQLite may remove the side files of an earlier process when it closes the file.
    """
    options = "mode=ro&immutable=1" if immutable else "mode=rw" if writable else "mode=ro"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{options}", uri=True, timeout=BUSY_SECONDS)


def require_intact(connection: sqlite3.Connection) -> None:
    """Raise DamagedError if pages, rows and indices are inconsistent."""
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise DamagedError(" ".join(str(found).split()))


def _finished_in(path: Path) -> int | None:
    """Return the number of finished trials in a study's file; None if the file can't be read."""
    try:
        with contextlib.closing(connect(path)) as connection:
            query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        return None
