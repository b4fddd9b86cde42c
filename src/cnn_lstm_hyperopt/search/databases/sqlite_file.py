"""A study in an SQLite file, usually ``study.db`` in the directory of the run."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage

from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError
from cnn_lstm_hyperopt.run_dir.storage_errors import gone
from cnn_lstm_hyperopt.search.databases.base import Database
from cnn_lstm_hyperopt.search.file_check import require_study
from cnn_lstm_hyperopt.search.rows.sql import SqlRows
from cnn_lstm_hyperopt.search.storage_recovery import back_up, failed, instead, not_opened
from cnn_lstm_hyperopt.search.study_file import create_file, fold_log, identity, open_file
from cnn_lstm_hyperopt.search.study_format import FORMATS


class SqliteFile(Database):
    """The only study in an SQLite file. All its processes run on one machine.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path
        self.shown = str(path)
        self._identity: tuple[int, int] | None = None

    def exists(self) -> bool:
        """Return whether the file exists."""
        return self.path.is_file()

    def create(self, study_name: str, metric: str, attributes: Mapping[str, Any]) -> None:
        """Create the file under another name and then rename it, as :meth:`.Database.create`."""
        create_file(self.path, study_name, metric, attributes)

    def open(self) -> tuple[RDBStorage, str | None]:
        """Check and open the file, as :meth:`.Database.open`."""
        if not self.exists():
            raise SaveDirError(
                f"{self.path} does not exist, so there is no study to resume; {instead(self.path)}", code="no-study"
            )
        require_study(self.path, FORMATS, f"not {FORMATS[0]}")
        storage = open_file(self.path)
        self._identity = identity(self.path)
        return storage, None

    def rows(self, storage: RDBStorage, study_id: int) -> SqlRows:
        """Return the store of the trials, as :meth:`.Database.rows`."""
        return SqlRows(storage.engine, study_id)

    def failed(self, error: Exception) -> HyperoptError:
        """Return the error for the user, as :meth:`.Database.failed`."""
        return failed(self.path, error)

    def not_opened(self, error: Exception) -> HyperoptError:
        """Return the error for the user, as :meth:`.Database.not_opened`."""
        return not_opened(self.path, error)

    def require_same(self) -> None:
        """Raise StorageFailedError if the file was removed or replaced: SQLite would silently write to the removed file."""
        if identity(self.path) != self._identity:
            raise gone(self.path)

    def back_up(self, check: Callable[[Path], None]) -> None:
        """Copy the study to ``study.backup.db``; log a warning if that fails."""
        back_up(self.path, check)

    def fold_log(self, storage: RDBStorage) -> None:
        """Copy the write-ahead log into the file."""
        fold_log(storage)
