"""Opening and closing of a study, its attributes, and the translation of storage errors."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage

from cnn_lstm_hyperopt.errors import ConnectionLostError, HyperoptError
from cnn_lstm_hyperopt.search.databases.base import Database, persistently
from cnn_lstm_hyperopt.search.databases.server import PostgresServer
from cnn_lstm_hyperopt.search.databases.sqlite_file import SqliteFile
from cnn_lstm_hyperopt.search.leases import Leases, new_worker_id
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.rows.base import TrialRows
from cnn_lstm_hyperopt.search.rows.memory import MemoryRows
from cnn_lstm_hyperopt.search.rows.server import ServerRows
from cnn_lstm_hyperopt.search.storage_recovery import FAULTS, first_line
from cnn_lstm_hyperopt.search.stored_trials import StoredTrials
from cnn_lstm_hyperopt.search.study_file import DIRECTIONS, cached, objectives
from cnn_lstm_hyperopt.search.study_format import FORMAT, DamagedError, require_unchanged
from cnn_lstm_hyperopt.search.trial_seals import KEY, SEAL, Seals

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="OpenStudy")


def guarded(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Decorate a method so that storage errors become errors with instructions for the user.

    While a server does not answer, the method is repeated. In a context of :meth:`OpenStudy.exclusive` it is not repeated,
    because the lock is lost with the connection.

    Raises:
        StorageFailedError: the study can no longer be read or written.
    """

    @functools.wraps(method)
    def repeated(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        database = self._database
        if database is None:
            return method(self, *args, **kwargs)
        database.require_same()

        def attempt() -> R:
            try:
                return method(self, *args, **kwargs)
            except FAULTS as error:
                raise self._failed(database, error) from error

        return attempt() if self._exclusive or not database.shared else persistently(attempt)

    return repeated


class OpenStudy:
    """An open study in an SQLite file, on a server or in memory.

    Attributes:
        path: path of the SQLite file; None in memory or on a server.
        marks_trials: True if this program's trials have marks. In studies of earlier versions, trials are recognised by their
            attributes.
        news: function that returns sentences about trials that other programs added or changed since its last call.
    """

    def __init__(
        self,
        place: Path | Database,
        *,
        create: str | None = None,
        metric: str = "accuracy",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a study, or create it.

        Args:
            place: database, or path of an SQLite file.
            create: name of the new study; None if the study must already exist.
            metric: metric that a new study maximises.
            attributes: user attributes of a new study.

        Raises:
            InputError: the database contains no study of this program, is damaged, or can't be used.
            StorageFailedError: the disk is full, or another program locks the file.
        """
        self._rdb: RDBStorage | None = None
        self._leases: Leases | None = None
        self._exclusive = False
        database = SqliteFile(place) if isinstance(place, Path) else place
        self._database: Database | None = database
        self.path = database.path
        try:
            if create is not None:
                database.create(create, metric, {"format": FORMAT, **(attributes or {})})
            self._rdb, name = database.open()
            storage = cached(self._rdb)
            with quiet_optuna():
                self.study = optuna.load_study(study_name=name, storage=storage)
            self._attach(storage)
            require_unchanged(
                self._seals, self.study.user_attrs, storage.get_study_system_attrs(self._study_id).get(SEAL)
            )
            self._trials.read()
        except HyperoptError:
            self.close()
            raise
        except Exception as error:  # a damaged file can cause any error in Optuna
            self.close()
            raise database.not_opened(error) from error

    @classmethod
    def in_memory(cls, name: str, metric: str = "accuracy") -> Self:
        """Create a study in memory, for tests and simulations."""
        storage, memory = cls.__new__(cls), InMemoryStorage()
        storage._rdb = storage.path = storage._database = storage._leases = None
        storage._exclusive = False
        with quiet_optuna():
            storage.study = optuna.create_study(study_name=name, directions=DIRECTIONS, storage=memory)
            storage.study.set_metric_names(objectives(metric))
        memory.set_study_system_attr(memory.get_study_id_from_name(name), KEY, Seals.new_key())
        storage._attach(memory)
        storage.set_attribute("format", FORMAT)
        return storage

    def _attach(self, storage: BaseStorage) -> None:
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(self.study.study_name)
        self._stored: dict[int, dict[str, Any]] = {}
        self._ending: set[int] = set()
        key = self._storage.get_study_system_attrs(self._study_id).get(KEY)
        self._seals = Seals(key if isinstance(key, str) else None)
        if self._rdb is None or self._database is None:
            self._rows: TrialRows = MemoryRows(storage, self._study_id)
        else:
            self._rows = self._database.rows(self._rdb, self._study_id)
        if isinstance(self._rows, ServerRows) and isinstance(self._database, PostgresServer):
            self._leases = Leases(self._rows, self._database.lease_seconds)
        self._trials = StoredTrials(self._rows, self._seals)
        self.marks_trials, self.news = self._seals.keyed, self._trials.news

    @property
    def shared(self) -> bool:
        """Whether processes on other machines may run trials of the study."""
        return self._leases is not None

    @property
    def shown(self) -> str:
        """Name of the database in messages, without password."""
        return "the study in memory" if self._database is None else self._database.shown

    @property
    def url(self) -> str | None:
        """URL of the server, without password; None in memory or in a file."""
        return None if self._database is None else self._database.url

    def worker_id(self, worker: int | str | None) -> int | str | None:
        """Return the identifier of this worker among all workers of the study, who may be on several machines."""
        return new_worker_id() if self.shared and worker is None else worker

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Context in which no other process starts or ends a trial, if the study is on a server.

        Raises:
            ConnectionLostError: the lock was lost; no later change in the context was stored.
        """
        if self._database is None or self._leases is None:
            yield
            return
        self._exclusive = True
        try:
            with self._rows.exclusive():
                yield
        except FAULTS as error:
            raise self._failed(self._database, error) from error
        finally:
            self._exclusive = False

    def expired(self) -> list[int]:
        """Return the storage ids of running trials whose worker has ended, if the study is on a server."""
        return [] if self._leases is None else self._expired(self._leases)

    @guarded
    def _expired(self, leases: Leases) -> list[int]:
        return leases.expired()

    def _failed(self, database: Database, error: Exception) -> HyperoptError:
        translated = database.failed(error)
        if self._leases is not None and isinstance(translated, ConnectionLostError):
            self._leases.lose_contact()
        return translated

    @guarded
    def back_up(self) -> None:
        """Copy the study to ``study.backup.db``; log a warning if that fails. A server's administrator makes backups."""
        if self._database is not None:
            self._database.back_up(self._require_sealed)

    @guarded
    def fold_log(self) -> None:
        """Copy the write-ahead log into the file, so that ``study.db`` alone is complete."""
        if self._database is not None and self._rdb is not None:
            self._database.fold_log(self._rdb)

    def close(self) -> None:
        """Close the database; SQLite copies the log into the file when the last process closes the file."""
        if self._leases is not None:
            self._leases.close()
        if self._rdb is not None:
            self._rdb.remove_session()
            self._rdb.engine.dispose()

    @guarded
    def attribute(self, name: str) -> Any:
        """Return a user attribute of the study; None if the study has no such attribute."""
        return self._storage.get_study_user_attrs(self._study_id).get(name)

    @guarded
    def attributes(self) -> dict[str, Any]:
        """Return all user attributes of the study."""
        return dict(self._storage.get_study_user_attrs(self._study_id))

    @guarded
    def set_attribute(self, name: str, value: Any) -> None:
        """Store a JSON value as a user attribute of the study."""
        self._storage.set_study_user_attr(self._study_id, name, value)

    def _require_sealed(self, copy: Path) -> None:
        """Check the seals in a copy of a study, so that a damaged copy never replaces an intact backup.

        Raises:
            DamagedError: trials in the copy were changed.
            OSError: the copy can't be opened for another reason.
        """
        try:
            type(self)(copy).close()
        except HyperoptError as error:
            cause = error.__cause__
            if isinstance(cause, DamagedError):
                raise DamagedError(str(cause)) from cause
            raise OSError(first_line(cause or error)) from error
