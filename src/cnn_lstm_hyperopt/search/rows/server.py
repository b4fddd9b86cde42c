"""Store of trials on a PostgreSQL server, with a lock of the study and with leases of running trials.

A lease is a row of Optuna's table of heartbeats. All times are times of the server, since the clocks of machines differ. Optuna
ignores running trials without such a row, so the row is written in the transaction that starts the trial.
"""

import contextlib
import threading
from collections.abc import Collection, Iterator

from optuna.trial import TrialState
from sqlalchemy import Connection, DateTime, Engine, bindparam, func, insert, or_, select, text, update
from sqlalchemy.exc import DBAPIError

from cnn_lstm_hyperopt.search.rows.sql import SqlRows
from cnn_lstm_hyperopt.search.rows.tables import HEARTBEATS, TRIALS
from cnn_lstm_hyperopt.utils.heartbeat import beat

LOCKS = 0x636E6E  # "cnn"
"""First key of the advisory locks of this program; the second key is the id of a study, or 0 while tables are created."""
_LOCK = text("SELECT set_config('lock_timeout', '1000', true), pg_advisory_lock(:locks, :key)")
_UNLOCK = text("SELECT pg_advisory_unlock(:locks, :key)")
_LOCK_NOT_AVAILABLE = "55P03"

_NOW = func.timezone("UTC", func.clock_timestamp(), type_=DateTime())
_H = HEARTBEATS.c
_RENEW = update(HEARTBEATS).where(_H.trial_id == bindparam("id")).values(heartbeat=_NOW)
_BEGIN = insert(HEARTBEATS).values(trial_id=bindparam("id"), heartbeat=_NOW)
_BEAT = (
    update(HEARTBEATS)
    .where(
        _H.trial_id == TRIALS.c.trial_id,
        TRIALS.c.state == TrialState.RUNNING,
        _H.trial_id.in_(bindparam("ids", expanding=True)),
    )
    .values(heartbeat=_NOW)
    .returning(_H.trial_id)
)
_EXPIRED = (
    select(TRIALS.c.trial_id)
    .outerjoin(HEARTBEATS, _H.trial_id == TRIALS.c.trial_id)
    .where(
        TRIALS.c.study_id == bindparam("study"),
        TRIALS.c.state == TrialState.RUNNING,
        or_(_H.heartbeat.is_(None), _H.heartbeat < _NOW - func.make_interval(0, 0, 0, 0, 0, 0, bindparam("seconds"))),
    )
)


class ServerRows(SqlRows):
    """Store of the trials of one study on a PostgreSQL server."""

    def __init__(self, engine: Engine, study_id: int) -> None:
        super().__init__(engine, study_id)
        self._single = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._locked: Connection | None = None
        self._owner = 0

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[None]:
        """Context in which this process has the lock of the study, as :meth:`.TrialRows.exclusive`.

        The lock belongs to a connection, and the changes in the context use this connection. So a change after the loss of the
        lock is impossible.
        """
        with self._engine.connect() as connection:
            lock_study(connection, self._study_id)
            self._locked, self._owner = connection, threading.get_ident()
            try:
                yield
            finally:
                self._locked = None
                unlock_study(connection, self._study_id)

    def beat(self, ids: Collection[int]) -> set[int]:
        """Renew the leases of trials; return the ids of those that are still RUNNING."""
        with self._single.connect() as connection:
            return set(connection.scalars(_BEAT, {"ids": list(ids)}))

    def expired(self, seconds: float) -> list[int]:
        """Return the ids of the RUNNING trials whose lease was not renewed for this number of seconds."""
        with self._read() as connection:
            return list(connection.scalars(_EXPIRED, {"study": self._study_id, "seconds": seconds}))

    def _on_running(self, connection: Connection, trial_id: int, *, new: bool) -> None:
        """Begin the lease of a trial in the transaction that starts or resumes the trial."""
        if new or connection.execute(_RENEW, {"id": trial_id}).rowcount == 0:
            connection.execute(_BEGIN, {"id": trial_id})

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        if self._locked is not None and threading.get_ident() == self._owner:
            try:
                yield self._locked
            except BaseException:
                self._locked.rollback()
                raise
            self._locked.rollback()  # ends the transaction of a read; after a commit, there is none
        else:
            with self._engine.connect() as connection:
                yield connection

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        """Yield a connection whose statements are one transaction, which ends with the block; an error undoes all changes."""
        with self._connected() as connection:
            yield connection
            connection.commit()

    @contextlib.contextmanager
    def _read(self) -> Iterator[Connection]:
        """Yield a connection for a single SELECT."""
        if self._locked is None:
            with self._single.connect() as connection:
                yield connection
        else:
            with self._connected() as connection:
                yield connection

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """Yield a connection whose statements all see the same state of the database."""
        with self._connected() as connection:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield connection


def lock_study(connection: Connection, key: int) -> None:
    """Wait for the lock of a study, or of the tables (key 0). The lock is held until it is released or the connection ends.

    While this process waits, it records heartbeats, so that the main process does not replace it as silent.
    """
    while True:
        beat()
        try:
            connection.execute(_LOCK, {"locks": LOCKS, "key": key})
            connection.commit()
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                raise
            connection.rollback()
        else:
            return


def unlock_study(connection: Connection, key: int) -> None:
    """Release the lock of a study. If that fails, the connection is closed, and the server releases the lock."""
    try:
        connection.rollback()
        connection.execute(_UNLOCK, {"locks": LOCKS, "key": key})
        connection.commit()
    except DBAPIError:
        connection.invalidate()
