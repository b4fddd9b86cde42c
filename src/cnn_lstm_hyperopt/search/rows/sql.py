"""Store of trials in an SQL database, in Optuna's tables and with few statements.

Optuna writes one row per statement and reads rows back before it writes them. These methods write the same rows. The statements
are SQLAlchemy's, and SQL that only SQLite knows is in :meth:`.SqlRows._write` and :meth:`.SqlRows._snapshot`.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Engine, Table, bindparam, delete, func, insert, select, update

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.search.rows import reading
from cnn_lstm_hyperopt.search.rows.base import Change, Head, TrialRows, existing, require_unfinished
from cnn_lstm_hyperopt.search.rows.tables import (
    PARAMS,
    STUDIES,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
    stored_now,
    text_of,
    value_row,
)

_EARLIER = TRIALS.alias()
_INSERT_TRIAL = (
    insert(TRIALS)
    .values(
        study_id=bindparam("study"),
        number=select(func.count()).where(_EARLIER.c.study_id == bindparam("study")).scalar_subquery(),
    )
    .returning(TRIALS.c.trial_id, TRIALS.c.number)
)
_LOCK_STUDY = select(STUDIES.c.study_id).where(STUDIES.c.study_id == bindparam("study")).with_for_update()
_LOCK_TRIAL = select(TRIALS.c.state).where(TRIALS.c.trial_id == bindparam("id")).with_for_update()
_DELETE_VALUES = delete(VALUES).where(VALUES.c.trial_id == bindparam("id"))
_SET_STATE = update(TRIALS).where(TRIALS.c.trial_id == bindparam("id"))
_SET_ATTRIBUTE = {
    table.name: update(table)
    .where(table.c.trial_id == bindparam("id"), table.c.key == bindparam("name"))
    .values(value_json=bindparam("text"))
    for table in (USER_ATTRIBUTES, SYSTEM_ATTRIBUTES)
}


class SqlRows(TrialRows):
    """Store of the trials of one study in an SQLite file, and the base class of the store on a server.

    Args:
        engine: engine of a database with Optuna's tables.
        study_id: id of the study.
    """

    def __init__(self, engine: Engine, study_id: int) -> None:
        self._engine = engine
        self._study_id = study_id

    def insert(self, trial: FrozenTrial) -> tuple[int, int]:
        """Store a new trial, as :meth:`.TrialRows.insert`."""
        if trial.datetime_start is None:
            raise ValueError("a RUNNING trial has a start")
        row = {
            "study": self._study_id,
            "state": trial.state,
            "datetime_start": trial.datetime_start.astimezone(UTC).replace(tzinfo=None),
        }
        params = [
            {
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": text_of(trial.distributions[name]),
            }
            for name, value in trial.params.items()
        ]
        with self._write() as connection:
            # The study's row is locked, so that no other process computes the same number.
            if connection.scalar(_LOCK_STUDY, {"study": self._study_id}) is None:
                raise TrialChangedError("another program removed the study", code="study-removed")
            trial_id, number = connection.execute(_INSERT_TRIAL, row).one()
            if params:
                connection.execute(insert(PARAMS), [{"trial_id": trial_id, **each} for each in params])
            _insert_attributes(connection, USER_ATTRIBUTES, trial_id, trial.user_attrs)
            _insert_attributes(connection, SYSTEM_ATTRIBUTES, trial_id, trial.system_attrs)
            self._on_running(connection, trial_id, new=True)
        return int(trial_id), int(number)

    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Add or replace a user attribute, as :meth:`.TrialRows.note`."""
        with self._write() as connection:
            require_unfinished(connection.scalar(_LOCK_TRIAL, {"id": trial_id}))
            row = {"id": trial_id, "name": name, "text": json.dumps(value)}
            if connection.execute(_SET_ATTRIBUTE[USER_ATTRIBUTES.name], row).rowcount == 0:
                _insert_attributes(connection, USER_ATTRIBUTES, trial_id, {name: value})

    def change(self, trial_id: int, change_of: Callable[[FrozenTrial], Change]) -> None:
        """Change an unfinished trial, as :meth:`.TrialRows.change`."""
        with self._write() as connection:
            require_unfinished(connection.scalar(_LOCK_TRIAL, {"id": trial_id}))
            trial = existing(reading.trials(connection, self._study_id, [trial_id]))
            change = change_of(trial)
            _set_attributes(connection, USER_ATTRIBUTES, trial_id, trial.user_attrs, change.attributes)
            _set_attributes(connection, SYSTEM_ATTRIBUTES, trial_id, trial.system_attrs, change.system_attributes)
            if change.values is not None:
                if trial.values is not None:
                    connection.execute(_DELETE_VALUES, {"id": trial_id})
                rows = [value_row(trial_id, objective, value) for objective, value in enumerate(change.values)]
                connection.execute(insert(VALUES), rows)
            times: dict[str, Any] = {}
            if change.state is TrialState.RUNNING:
                times["datetime_start"] = stored_now()
                self._on_running(connection, trial_id, new=False)
            elif change.state.is_finished():
                times["datetime_complete"] = stored_now()
            connection.execute(_SET_STATE.values(state=change.state, **times), {"id": trial_id})

    def heads(self, after: int, ids: Collection[int]) -> list[Head]:
        """Return heads of trials, as :meth:`.TrialRows.heads`."""
        with self._read() as connection:
            return reading.heads(connection, self._study_id, after, ids)

    def trials(self, ids: Collection[int]) -> list[FrozenTrial]:
        """Return trials, as :meth:`.TrialRows.trials`."""
        if not ids:
            return []
        with self._snapshot() as connection:
            return reading.trials(connection, self._study_id, ids)

    def ids(self) -> list[int]:
        """Return the ids of all trials, as :meth:`.TrialRows.ids`."""
        with self._read() as connection:
            return reading.trial_ids(connection, self._study_id)

    def _on_running(self, connection: Connection, trial_id: int, *, new: bool) -> None:
        """Handle the start of a new trial, or of a paused one, in its transaction."""

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        """Yield a connection whose statements are one transaction, which ends with the block; an error undoes all changes.

        A lock of the file replaces SQLite's missing row locks: without ``IMMEDIATE``, another process could write between the
        first read and the first write.
        """
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()

    @contextlib.contextmanager
    def _read(self) -> Iterator[Connection]:
        """Yield a connection for a single SELECT."""
        with self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """Yield a connection whose statements all see the same state of the database."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")  # Python's sqlite3 begins no transaction before a SELECT
            yield connection


def _set_attributes(
    connection: Connection, table: Table, trial_id: int, stored: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Add or replace attributes of a trial, of which ``stored`` are stored."""
    rows = [{"id": trial_id, "name": name, "text": json.dumps(value)} for name, value in new.items() if name in stored]
    if rows:
        connection.execute(_SET_ATTRIBUTE[table.name], rows)
    _insert_attributes(connection, table, trial_id, {name: value for name, value in new.items() if name not in stored})


def _insert_attributes(connection: Connection, table: Table, trial_id: int, attributes: Mapping[str, Any]) -> None:
    rows = [{"trial_id": trial_id, "key": name, "value_json": json.dumps(value)} for name, value in attributes.items()]
    if rows:
        connection.execute(insert(table), rows)
