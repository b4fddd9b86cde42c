"""Functions that create and open the SQLite file of a study."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection

from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.search.file_check import BUSY_SECONDS
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.storage_recovery import remove
from cnn_lstm_hyperopt.search.study_format import MADE_WITH
from cnn_lstm_hyperopt.search.trial_seals import KEY, SEAL, Seals
from cnn_lstm_hyperopt.utils.atomic_io import new_part, remove_parts

DIRECTIONS: list[Literal["maximize", "minimize"]] = ["maximize", "minimize", "minimize"]
OPTUNA_DIRECTIONS = [StudyDirection[direction.upper()] for direction in DIRECTIONS]


def create_file(path: Path, study_name: str, metric: str, attributes: Mapping[str, Any]) -> None:
    """Create a study's file under another name, then rename it to ``path``, so that ``study.db`` is never incomplete."""
    if path.exists():
        raise SaveDirError(f"{path} already exists; resume it or choose another --save-dir", code="study-exists")
    remove_parts(path.parent, of=path)
    try:
        beside = new_part(path)
    except FileNotFoundError as error:
        raise SaveDirError(
            f"{path} can't be created: unable to open {path.parent} ({error.strerror}); name an existing directory",
            code="no-directory",
        ) from error
    try:
        storage = open_file(beside, new=True)
        with quiet_optuna():
            study = optuna.create_study(study_name=study_name, storage=storage, directions=DIRECTIONS)
            study.set_metric_names(objectives(metric))  # optuna-dashboard shows them
        key = Seals.new_key()
        study_id = storage.get_study_id_from_name(study_name)
        storage.set_study_system_attr(study_id, KEY, key)
        for name, value in attributes.items():
            study.set_user_attr(name, value)
        storage.set_study_system_attr(study_id, SEAL, Seals(key).of_study(attributes, MADE_WITH))
        storage.remove_session()
        storage.engine.dispose()  # SQLite copies the log into the file when the last connection closes
        beside.replace(path)
    finally:
        remove(beside)


def open_file(path: Path, *, new: bool = False) -> RDBStorage:
    """Open a study's file with a write-ahead log, with which a commit is one sequential write that readers never block."""
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    # URL.create escapes "?" and "%" in the path.
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}}, skip_table_creation=not new)

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _relax_sync(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(
            "PRAGMA synchronous=NORMAL"
        )  # with a write-ahead log, no commit is lost when the process dies

    @sqlalchemy.event.listens_for(storage.engine, "handle_error")
    def _wait_once(context: sqlalchemy.engine.ExceptionContext) -> None:
        """Raise SQLite's error if the file is locked; after SQLAlchemy's error, Optuna would wait and retry five times."""
        error = context.original_exception
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise error

    storage.engine.dispose()  # closes connections made before the listener
    return storage


def fold_log(storage: RDBStorage) -> None:
    """Copy the write-ahead log of SQLite into the study's file."""
    with storage.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def cached(storage: RDBStorage) -> BaseStorage:
    """Return the storage with Optuna's cache, which reads ended trials only once.

    Raises:
        HyperoptError: the installed Optuna has another major version; the cache is not part of Optuna's public interface.
    """
    if not optuna.__version__.startswith("5."):
        raise HyperoptError(
            f"optuna {optuna.__version__} is not supported; install optuna>=5.0,<6", code="unsupported-optuna"
        )
    return optuna.storages.get_storage(storage)


def objectives(metric: str) -> list[str]:
    """Return the names of a study's three objectives, in the order of their values."""
    return [METRICS[metric].objective, "training_seconds", "size_mb"]


def identity(path: Path | None) -> tuple[int, int] | None:
    """Return the device and inode of a file; None if the file does not exist."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)
