"""The database of the study in a directory: a server that ``config.yaml`` names, or else ``study.db``.

The databases are imported when they are used, because Optuna and SQLAlchemy take half a second to import.
"""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.config import Settings, StudySettings, load_settings
from cnn_lstm_hyperopt.config.loader import read_settings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, STUDY_FILE

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.search.databases.base import Database


def database_in(save_dir: Path) -> "Database":
    """Return the database of the study in a directory."""
    from cnn_lstm_hyperopt.search.databases.server import PostgresServer
    from cnn_lstm_hyperopt.search.databases.sqlite_file import SqliteFile

    stored = server_of(save_dir)
    if stored is None or stored.storage is None:
        return SqliteFile(save_dir / STUDY_FILE)
    return PostgresServer(stored.storage, stored.name, save_dir=save_dir)


def database_of(settings: Settings, *, resume: bool) -> "Database":
    """Return the database of a run.

    Args:
        settings: settings of the run.
        resume: True if the run continues the study in ``save_dir``, which keeps its name. Without ``study.storage``, it also
            keeps its database.
    """
    from cnn_lstm_hyperopt.search.databases.server import PostgresServer
    from cnn_lstm_hyperopt.search.databases.sqlite_file import SqliteFile

    save_dir, url = settings.save_dir, settings.study.storage
    if resume and url is None:
        return database_in(save_dir)
    if url is None:
        return SqliteFile(save_dir / STUDY_FILE)
    stored = server_of(save_dir) if resume else None
    return PostgresServer(url, (stored or settings.study).name, save_dir=save_dir)


def server_of(save_dir: Path) -> StudySettings | None:
    """Return the section ``study`` of a ``config.yaml`` that names a server.

    Return None if there is no such file, or if the study is in ``study.db``.
    """
    path = save_dir / CONFIG_FILE
    if (save_dir / STUDY_FILE).is_file() or not path.is_file():
        return None
    with contextlib.suppress(ConfigError):  # another check reports a damaged file
        study = read_settings(path, "config.yaml").get("study")
        if isinstance(study, dict) and study.get("storage") is not None:
            return load_settings(path, environment={}).study
    return None
