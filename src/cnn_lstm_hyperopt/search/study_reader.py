"""Reading of a whole study once, for commands that only show the study.

Importing Optuna and SQLAlchemy takes longer than reading 5,000 trials. So an intact SQLite file is read with Python's
``sqlite3``, with the same checks as in :class:`.StudyStorage`. All other cases (a server, a damaged file, tables of another
version of Optuna) are left to :class:`.StudyStorage`, whose errors name the problem and its remedy.
"""

import contextlib
import json
import logging
import math
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cnn_lstm_hyperopt.run_dir.paths import STUDY_FILE
from cnn_lstm_hyperopt.search.databases.location import server_of
from cnn_lstm_hyperopt.search.file_check import connect, require_study
from cnn_lstm_hyperopt.search.study_format import FORMATS, DamagedError, require_unchanged
from cnn_lstm_hyperopt.search.trial import State, TrialRecord, read_trial
from cnn_lstm_hyperopt.search.trial_seals import KEY, SEAL, Ownership, Seals, own_attributes
from cnn_lstm_hyperopt.utils.text import typed_line

log = logging.getLogger(__name__)

TABLES_VERSION = "v3.2.0.a"
"""Version of Optuna's tables that this module can read; a test compares it with the installed Optuna."""
_INFINITE = {"INF_POS": math.inf, "INF_NEG": -math.inf}

Attributes = dict[int, dict[str, Any]]


@dataclass(frozen=True)
class StudyContent:
    """Content of a study.

    Attributes:
        name: name of the study.
        attributes: user attributes of the study.
        records: this program's trials in order of number.
        skipped: numbers of the trials of other programs and of the discarded trials.
        news: sentences about trials that other programs added or changed.
    """

    name: str
    attributes: Mapping[str, Any]
    records: list[TrialRecord]
    skipped: list[int]
    news: list[str]


class _FileTrial(NamedTuple):
    """A trial in an SQLite file, with the names of the attributes of Optuna's FrozenTrial."""

    number: int
    state: State
    params: dict[str, Any]
    values: list[float] | None
    user_attrs: dict[str, Any]
    system_attrs: dict[str, Any]


def read_study(save_dir: Path) -> StudyContent:
    """Return the content of the study in a directory.

    Raises:
        InputError: there is no study of this program, or it is damaged or can't be used.
        StorageFailedError: the disk is full, or another program locks the file.
    """
    path = save_dir / STUDY_FILE
    if server_of(save_dir) is None and path.is_file():
        try:
            return _read_file(path)
        except Exception as error:  # noqa: BLE001 - StudyStorage finds the same problem and describes it for the user
            log.debug("%s is read with Optuna: %s", path, typed_line(error))
    from cnn_lstm_hyperopt.search.databases.location import database_in
    from cnn_lstm_hyperopt.search.storage import StudyStorage

    storage = StudyStorage(database_in(save_dir))
    try:
        records = storage.records()
        attributes = storage.attributes()
        return StudyContent(storage.study.study_name, attributes, records, sorted(storage.skipped), storage.news())
    finally:
        storage.close()


def _read_file(path: Path) -> StudyContent:
    """Return the content of an intact file; raise any exception if the file needs another look."""
    require_study(path, FORMATS, f"not {FORMATS[0]}")
    with contextlib.closing(connect(path, writable=True)) as connection:
        connection.execute("BEGIN")  # all statements see the same state of the database
        if connection.execute("SELECT version_num FROM alembic_version").fetchall() != [(TABLES_VERSION,)]:
            raise DamagedError("the tables are of another version of Optuna")
        name = connection.execute("SELECT study_name FROM studies").fetchone()[0]
        attributes = _study_attributes(connection, "study_user_attributes")
        system = _study_attributes(connection, "study_system_attributes")
        seals = Seals(key if isinstance(key := system.get(KEY), str) else None)
        require_unchanged(seals, attributes, system.get(SEAL))
        trials = _trials(connection)
    if [trial.number for trial in trials] != list(range(len(trials))):
        raise DamagedError("trials are missing")
    ownership = Ownership(seals)
    records = [_record(trial, seals) for trial in trials if ownership.accepts(trial)]
    skipped = sorted({**ownership.foreign, **ownership.changed})
    return StudyContent(name, attributes, records, skipped, ownership.news())


def _record(trial: _FileTrial, seals: Seals) -> TrialRecord:
    if trial.state.ended and not seals.is_sealed(trial):
        raise DamagedError(f"trial {trial.number} was changed by another program or by the disk")
    record = read_trial(trial, own_attributes(trial))
    _ = record.finish_order
    return record


def _trials(connection: sqlite3.Connection) -> list[_FileTrial]:
    """Return all trials in order of id."""
    params = _params(_rows(connection, "trial_params", "param_id", "param_name, param_value, distribution_json"))
    user = _attributes(_rows(connection, "trial_user_attributes", "trial_user_attribute_id", "key, value_json"))
    system = _attributes(_rows(connection, "trial_system_attributes", "trial_system_attribute_id", "key, value_json"))
    values: dict[int, list[float]] = defaultdict(list)
    for trial_id, value, kind in _rows(connection, "trial_values", "objective", "value, value_type"):
        values[trial_id].append(float(value) if kind == "FINITE" else _INFINITE[kind])
    heads = connection.execute("SELECT trial_id, number, state FROM trials ORDER BY trial_id")
    return [
        _FileTrial(number, State[state], params[each], values.get(each), user[each], system[each])
        for each, number, state in heads
    ]


def _rows(connection: sqlite3.Connection, table: str, order: str, columns: str) -> sqlite3.Cursor:
    return connection.execute(f"SELECT trial_id, {columns} FROM {table} ORDER BY {order}")  # noqa: S608


def _study_attributes(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    return {key: json.loads(text) for key, text in connection.execute(f"SELECT key, value_json FROM {table}")}  # noqa: S608


def _params(rows: Iterable[tuple[int, str, float, str]]) -> Attributes:
    """Return the parameters of each trial, converted from Optuna's numbers."""
    converters: dict[str, Callable[[float], Any]] = {}  # the trials of a study share a few texts
    found: Attributes = defaultdict(dict)
    for trial_id, name, value, text in rows:
        converter = converters.get(text)
        if converter is None:
            converter = converters[text] = _converter(text)
        found[trial_id][name] = converter(value)
    return found


def _converter(text: str) -> Callable[[float], Any]:
    """Return the function from a stored number to the value of a parameter, given the JSON text of its distribution."""
    distribution = json.loads(text)
    kind = distribution["name"]
    if kind == "CategoricalDistribution":
        choices = distribution["attributes"]["choices"]
        return lambda value: choices[int(value)]
    return {"FloatDistribution": float, "IntDistribution": int}[kind]


def _attributes(rows: Iterable[tuple[int, str, str]]) -> Attributes:
    """Return the attributes of each trial. One long JSON text is parsed several times faster than many short ones."""
    listed = list(rows)
    values = json.loads(f"[{','.join([text for _, _, text in listed])}]")
    found: Attributes = defaultdict(dict)
    for (trial_id, key, _), value in zip(listed, values, strict=True):
        found[trial_id][key] = value
    return found
