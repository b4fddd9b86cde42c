"""Interface of the databases in which a study is stored, and repetition of operations while a server does not answer."""

import abc
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from optuna.storages import RDBStorage

from cnn_lstm_hyperopt.errors import ConnectionLostError, HyperoptError
from cnn_lstm_hyperopt.search.rows.sql import SqlRows
from cnn_lstm_hyperopt.utils.heartbeat import beat

log = logging.getLogger(__name__)

R = TypeVar("R")

RECONNECT_SECONDS = 300.0
"""Maximum number of seconds to wait for a server that does not answer during a run, for example while it restarts."""
_PAUSE_SECONDS = 0.5


class Database(abc.ABC):
    """A database that contains, or will contain, one study of this program.

    Attributes:
        path: path of the SQLite file; None for a server.
        url: URL of the server, without password; None for a file.
        shown: name of the database in messages, without password.
        shared: whether processes on other machines may run trials of the study. Their trials are recognised by leases.
    """

    path: Path | None = None
    url: str | None = None
    shown: str
    shared = False

    @abc.abstractmethod
    def exists(self) -> bool:
        """Return whether the database contains the study."""

    @abc.abstractmethod
    def create(self, study_name: str, metric: str, attributes: Mapping[str, Any]) -> None:
        """Create the study, which is visible to other programs only when it is complete.

        Raises:
            HyperoptError: the study exists, or the database can't be used.
        """

    @abc.abstractmethod
    def open(self) -> tuple[RDBStorage, str | None]:
        """Check the database and its study; return Optuna's storage and the study's name (None: the only study).

        Raises:
            HyperoptError: the database contains no study of this program, or can't be used.
        """

    @abc.abstractmethod
    def rows(self, storage: RDBStorage, study_id: int) -> SqlRows:
        """Return the store of the trials of a study."""

    @abc.abstractmethod
    def failed(self, error: Exception) -> HyperoptError:
        """Return the error that a run raises when the study can no longer be read or written."""

    @abc.abstractmethod
    def not_opened(self, error: Exception) -> HyperoptError:
        """Return the error that a command raises when the study can't be opened."""

    def require_same(self) -> None:  # noqa: B027 - only a file can be replaced
        """Raise StorageFailedError if the opened file was removed or replaced."""

    def back_up(self, check: Callable[[Path], None]) -> None:  # noqa: B027
        """Copy the study to a file beside it. A server has no such file: its administrator makes backups."""

    def fold_log(self, storage: RDBStorage) -> None:  # noqa: B027
        """Make the study's file complete without side files."""


def persistently(attempt: Callable[[], R], error_type: type[Exception] = ConnectionLostError) -> R:
    """Call a function until another machine answers. A function that changes the study must allow that it is called again.

    Args:
        attempt: the function.
        error_type: error that the function raises if a database server or an artifact store does not answer.

    Raises:
        Exception: the error of this type, because there was no answer for :data:`RECONNECT_SECONDS`.
    """
    lost_at: float | None = None
    while True:
        try:
            return attempt()
        except error_type as error:
            now = time.monotonic()
            if lost_at is None:
                lost_at = now
                log.warning("tries again for %.0f s: %s", RECONNECT_SECONDS, error)
            if now - lost_at > RECONNECT_SECONDS:
                raise
            beat()  # the main process must not replace a waiting worker
            time.sleep(_PAUSE_SECONDS)
