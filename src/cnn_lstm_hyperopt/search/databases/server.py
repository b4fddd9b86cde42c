"""A study on a PostgreSQL server, which processes on several machines share."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, insert, select

from cnn_lstm_hyperopt.errors import ConfigError, HyperoptError, SaveDirError
from cnn_lstm_hyperopt.search.databases import server_errors
from cnn_lstm_hyperopt.search.databases.base import Database
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.rows.server import ServerRows, lock_study, unlock_study
from cnn_lstm_hyperopt.search.rows.tables import (
    DIRECTIONS,
    HEARTBEATS,
    PARAMS,
    STUDIES,
    STUDY_SYSTEM_ATTRIBUTES,
    STUDY_USER_ATTRIBUTES,
    SYSTEM_ATTRIBUTES,
    TRIALS,
    USER_ATTRIBUTES,
    VALUES,
)
from cnn_lstm_hyperopt.search.study_file import OPTUNA_DIRECTIONS, objectives
from cnn_lstm_hyperopt.search.study_format import FORMATS, MADE_WITH
from cnn_lstm_hyperopt.search.trial_seals import KEY, SEAL, Seals
from cnn_lstm_hyperopt.utils.passwords import password_of

LEASE_SECONDS = 60.0
"""Seconds without a heartbeat after which another process takes over a running trial."""
_CONNECT_SECONDS = 10
_METRIC_NAMES = "study:metric_names"
"""Name of the system attribute in which Optuna stores the names of the objectives."""
_TABLES = (
    TRIALS,
    PARAMS,
    VALUES,
    USER_ATTRIBUTES,
    SYSTEM_ATTRIBUTES,
    HEARTBEATS,
    STUDIES,
    STUDY_USER_ATTRIBUTES,
    STUDY_SYSTEM_ATTRIBUTES,
)
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_SHOWN_STUDIES = 5
_SETTINGS = {
    "connect_timeout": _CONNECT_SECONDS,
    "application_name": "cnn-lstm-hyperopt",
    # A machine without power or network must not keep the lock of the study: after about a minute the server ends the session.
    "options": "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3",
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


class PostgresServer(Database):
    """A study in a database of a PostgreSQL server, which may contain other studies, too.

    The password is not part of the URL: it was kept when the settings were read, or the library libpq finds it (``PGPASSWORD``,
    ``~/.pgpass``).

    Args:
        url: URL of the database, without password.
        study_name: name of the study.
        save_dir: directory of the run, for the command in error messages that resumes the run.
        lease_seconds: seconds without a heartbeat after which a running trial is taken over.
    """

    shared = True

    def __init__(
        self,
        url: str,
        study_name: str,
        *,
        save_dir: Path | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.url: str = url
        self.shown = f"the study {study_name} at {url}"
        self.lease_seconds = lease_seconds
        self._study_name = study_name
        self._save_dir = save_dir

    def exists(self) -> bool:
        """Return whether the database contains a study with this name."""
        with self._checked() as connection:
            return _has_tables(connection) and self._study_id(connection) is not None

    def create(self, study_name: str, metric: str, attributes: Mapping[str, Any]) -> None:
        """Create missing tables, and the study in one transaction, as :meth:`.Database.create`."""
        with self._checked() as connection:
            lock_study(connection, 0)  # two processes that create tables at once would disturb each other
            try:
                storage = self._storage(create_tables=True)
                try:
                    with storage.engine.begin() as writing:
                        self._insert_study(writing, study_name, metric, attributes)
                finally:
                    storage.engine.dispose()
            finally:
                unlock_study(connection, 0)

    def open(self) -> tuple[RDBStorage, str | None]:
        """Check the tables, the rights and the study, as :meth:`.Database.open`."""
        with self._checked() as connection:
            if not _has_tables(connection) or (study_id := self._study_id(connection)) is None:
                raise self._missing(connection)
            self._require_ours(connection, study_id)
            self._require_rights(connection)
        return self._storage(create_tables=False), self._study_name

    def rows(self, storage: RDBStorage, study_id: int) -> ServerRows:
        """Return the store of the trials, as :meth:`.Database.rows`."""
        return ServerRows(storage.engine, study_id)

    def failed(self, error: Exception) -> HyperoptError:
        """Return the error for the user, as :meth:`.Database.failed`."""
        return server_errors.failed(self.shown, self._save_dir, error)

    def not_opened(self, error: Exception) -> HyperoptError:
        """Return the error for the user, as :meth:`.Database.not_opened`."""
        return server_errors.not_opened(self.url, error)

    def _engine(self) -> Engine:
        """Return an engine for this process."""
        url, settings = self._with_password()
        return sqlalchemy.create_engine(url, **settings)

    def _storage(self, *, create_tables: bool) -> RDBStorage:
        """Return Optuna's storage.

        Raises:
            SaveDirError: another version of Optuna created the tables.
        """
        url, settings = self._with_password()
        with quiet_optuna():
            storage = RDBStorage(
                url.render_as_string(hide_password=False),
                engine_kwargs={**settings, "pool_size": 3},
                skip_compatibility_check=True,
                skip_table_creation=not create_tables,
            )
        stored, known = storage.get_current_version(), storage.get_head_version()
        if stored != known:
            storage.engine.dispose()
            cure = "upgrade them with: optuna storage upgrade --storage URL"
            raise SaveDirError(
                f"{self.url} has tables of another version of Optuna ({stored}; optuna {optuna.__version__} has {known});"
                f" {cure if stored in storage.get_all_versions() else 'install a newer version of Optuna'}",
                field="study.storage",
                code="other-optuna-version",
            )
        return storage

    def _with_password(self) -> tuple[sqlalchemy.URL, dict[str, Any]]:
        url = sqlalchemy.make_url(self.url)
        if (password := password_of(self.url)) is not None:
            url = url.set(password=password)
        return url, {"connect_args": {name: value for name, value in _SETTINGS.items() if name not in url.query}}

    @contextlib.contextmanager
    def _checked(self) -> Iterator[Connection]:
        """Yield a connection. Errors of the server become errors with instructions for the user.

        Raises:
            ConfigError: the server can't be reached, or it refuses the user.
        """
        engine: Engine | None = None
        try:
            engine = self._engine()
            with engine.connect() as connection:
                if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar():
                    raise ConfigError(
                        f"study.storage: {self.url} is a read-only copy of a database; name the primary server",
                        field="study.storage",
                        code="server-read-only",
                    )
                yield connection
        except HyperoptError:
            raise
        except Exception as error:  # also a missing package or an unknown option of the URL
            raise self.not_opened(error) from error
        finally:
            if engine is not None:
                engine.dispose()

    def _study_id(self, connection: Connection) -> int | None:
        return connection.scalar(select(STUDIES.c.study_id).where(STUDIES.c.study_name == self._study_name))

    def _missing(self, connection: Connection) -> SaveDirError:
        names: list[str] = []
        if _has_tables(connection):
            names = list(connection.scalars(select(STUDIES.c.study_name).order_by(STUDIES.c.study_name)))
        found = ", ".join(names[:_SHOWN_STUDIES]) + (", …" if len(names) > _SHOWN_STUDIES else "")
        return SaveDirError(
            f"{self.url} has no study {self._study_name}, but {found or 'no study at all'}; name another database or study, or"
            " start the study with: run --storage URL --study-name NAME",
            field="study.storage",
            code="no-study",
        )

    def _require_ours(self, connection: Connection, study_id: int) -> None:
        """Raise SaveDirError if another program, or another version of this program, created the study."""
        table = STUDY_USER_ATTRIBUTES.c
        stored = connection.scalar(select(table.value_json).where(table.study_id == study_id, table.key == "format"))
        made_with = None if stored is None else json.loads(stored)
        if made_with not in FORMATS:
            raise SaveDirError(
                f"{self.url} holds the study {self._study_name}, which this version of cnn-lstm-hyperopt did not make (format"
                f" {made_with}, not {FORMATS[0]}); choose another --study-name",
                field="study.name",
                code="other-format",
            )

    def _require_rights(self, connection: Connection) -> None:
        """Raise ConfigError if the user may not write to a table."""
        wanted = [(table.name, right) for table in _TABLES for right in _RIGHTS]
        query = sqlalchemy.text("SELECT " + ", ".join(f"has_table_privilege('{t}', '{r}')" for t, r in wanted))
        granted = connection.execute(query).one()
        missing = [f"{right} on {table}" for (table, right), has in zip(wanted, granted, strict=True) if not has]
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise ConfigError(
                f"study.storage: {self.url} does not give this user the right {missing[0]}{more}; ask for it (GRANT SELECT,"
                " INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA …)",
                field="study.storage",
                code="server-rights",
            )

    def _insert_study(
        self, connection: Connection, study_name: str, metric: str, attributes: Mapping[str, Any]
    ) -> None:
        """Insert a study with the same rows as Optuna, in one transaction."""
        if self._study_id(connection) is not None:
            raise SaveDirError(
                f"{self.url} already holds a study {study_name}; choose another --study-name, or resume it in its directory",
                field="study.name",
                code="study-exists",
            )
        stored = json.loads(json.dumps(dict(attributes)))
        key = Seals.new_key()
        system = {
            KEY: key,
            SEAL: Seals(key).of_study(stored, MADE_WITH),
            _METRIC_NAMES: objectives(metric),
        }
        (study_id,) = connection.execute(
            insert(STUDIES).values(study_name=study_name).returning(STUDIES.c.study_id)
        ).one()
        connection.execute(
            insert(DIRECTIONS),
            [
                {"study_id": study_id, "objective": place, "direction": direction}
                for place, direction in enumerate(OPTUNA_DIRECTIONS)
            ],
        )
        for table, values in ((STUDY_USER_ATTRIBUTES, stored), (STUDY_SYSTEM_ATTRIBUTES, system)):
            rows = [
                {"study_id": study_id, "key": name, "value_json": json.dumps(value)} for name, value in values.items()
            ]
            connection.execute(insert(table), rows)


def _has_tables(connection: Connection) -> bool:
    found = sqlalchemy.inspect(connection).get_table_names()
    return {table.name for table in _TABLES} <= set(found)
