"""The study's storage: Optuna's SQLite schema, written in few transactions, readable by every Optuna tool."""

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.exceptions import SaveDirError
from cnn_lstm_hyperopt.metrics import objective_name
from cnn_lstm_hyperopt.search.quiet import quiet_optuna
from cnn_lstm_hyperopt.search.trial import OPTUNA_STATES, Point, State, TrialRecord, Values, read_trial

DIRECTIONS: list[Literal["maximize", "minimize"]] = ["maximize", "minimize", "minimize"]
FORMAT = 4
"""Of what is stored with studies and trials."""
BUSY_SECONDS = 60  # how long a writer waits for another one


class StudyStorage:
    """One study in one SQLite file.

    Epochs' records go into trial attributes: ``Trial.report`` raises in a study of several objectives, and intermediate values
    written behind its back break Optuna's TPE.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: str | None = None,
        metric: str = "accuracy",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Opens the file's only study, or makes one.

        Args:
            path: of the SQLite file.
            create: name of the study to be made; None: the file must hold one.
            metric: that a new study maximises; its objectives are named by it.
            attributes: that a new study is made with.

        Raises:
            SaveDirError: there is no file, it can't be read as a study of this program, or it holds several.
        """
        if create is None and not path.is_file():
            raise SaveDirError(
                f"{path} does not exist, so there is no study to resume; start one with: run --save-dir DIR"
            )
        try:
            if create is not None:
                _create(path, create, metric, {"format": FORMAT, **(attributes or {})})
            _require_studies(path)
            self._rdb: RDBStorage | None = _open(path)
            with quiet_optuna():
                names = optuna.get_all_study_names(self._rdb)
                if len(names) != 1:
                    raise SaveDirError(f"{path} must hold exactly one study, but holds {len(names)}")
                self.study = optuna.load_study(study_name=names[0], storage=self._rdb)
        except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, optuna.exceptions.OptunaError, RuntimeError) as error:
            raise SaveDirError(f"{path} can't be opened as a study: {_first_line(error)}") from error
        self._attach()
        if self.attribute("format") != FORMAT:
            self.close()
            raise SaveDirError(
                f"{path} holds the study {names[0]}, which this version of cnn-lstm-hyperopt did not make"
                f" (format {self.attribute('format')}, not {FORMAT}); choose another --save-dir"
            )

    @classmethod
    def in_memory(cls, name: str, metric: str = "accuracy") -> "StudyStorage":
        """A study that lives as long as this object, in this process."""
        storage = cls.__new__(cls)
        storage._rdb = None
        with quiet_optuna():
            storage.study = optuna.create_study(study_name=name, directions=DIRECTIONS)
            storage.study.set_metric_names(_objectives(metric))
        storage._attach()
        storage.set_attribute("format", FORMAT)
        return storage

    def _attach(self) -> None:
        self._storage: BaseStorage = self.study._storage
        self._study_id = self._storage.get_study_id_from_name(self.study.study_name)
        self._records: dict[int, TrialRecord] = {}

    def fold_log(self) -> None:
        """Folds the write-ahead log into the file, so that ``study.db`` alone is the whole study."""
        if self._rdb is None:
            return
        with self._rdb.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Lets go of the file; SQLite folds the log when its last user does."""
        if self._rdb is not None:
            self._rdb.remove_session()
            self._rdb.engine.dispose()

    def attribute(self, name: str) -> Any:
        """An attribute of the study, None if it was never set."""
        return self._storage.get_study_user_attrs(self._study_id).get(name)

    def set_attribute(self, name: str, value: Any) -> None:
        """Stores a JSON value with the study."""
        self._storage.set_study_user_attr(self._study_id, name, value)

    def start(
        self, params: Params, distributions: Mapping[str, BaseDistribution], attributes: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Inserts a RUNNING trial in one transaction; returns (storage's id, number)."""
        template = FrozenTrial(
            number=-1,  # the storage gives the number
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=dict(attributes),
            system_attrs={},
            intermediate_values={},
            trial_id=-1,
        )
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        return trial_id, self._storage.get_trial_number_from_id(trial_id)

    def record_curve(self, trial_id: int, curve: tuple[Point, ...]) -> None:
        """Stores the epochs seen so far."""
        self._storage.set_trial_user_attr(trial_id, "curve", [list(point) for point in curve])

    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Stores a JSON value with a trial."""
        self._storage.set_trial_user_attr(trial_id, name, value)

    def finish(self, trial_id: int, state: State, values: Values | None, attributes: Mapping[str, Any]) -> None:
        """Stores what the trial ended with; its state last, so that a finished trial is whole."""
        for name, value in attributes.items():
            self._storage.set_trial_user_attr(trial_id, name, json.loads(json.dumps(value)))
        self._storage.set_trial_state_values(trial_id, OPTUNA_STATES[state], values)

    def next_number(self) -> int:
        """The number that the next trial will have."""
        return self._storage.get_n_trials(self._study_id)

    def records(self) -> list[TrialRecord]:
        """All trials in order of number; ended ones are read once."""
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
            if trial.state is TrialState.WAITING:
                continue  # enqueued through Optuna by somebody else; nobody runs it
            known = self._records.get(trial.number)
            if known is None or known.state is State.RUNNING:
                self._records[trial.number] = read_trial(trial)
        return [self._records[number] for number in sorted(self._records)]

    def fail_orphans(self, reason: str, *, worker: int | None = None) -> list[int]:
        """Ends every RUNNING trial (of one worker): its process is gone. Returns their numbers."""
        running = (TrialState.RUNNING,)
        orphans = self._storage.get_all_trials(self._study_id, deepcopy=False, states=running)
        if worker is not None:
            orphans = [trial for trial in orphans if trial.user_attrs.get("worker") == worker]
        for trial in orphans:
            self.finish(trial._trial_id, State.FAIL, None, {"reason": reason})
        return [trial.number for trial in orphans]


def _create(path: Path, name: str, metric: str, attributes: Mapping[str, Any]) -> None:
    """Makes the file whole under another name and moves it there: when the process dies, ``study.db`` is whole or not there."""
    if path.exists():
        raise SaveDirError(f"{path} exists already; resume it or choose another --save-dir")
    beside = path.with_name(f".{path.name}.part")
    for left_over in path.parent.glob(f"{beside.name}*"):
        left_over.unlink()
    storage = _open(beside, new=True)
    with quiet_optuna():
        study = optuna.create_study(study_name=name, storage=storage, directions=DIRECTIONS)
        study.set_metric_names(_objectives(metric))  # optuna-dashboard shows them
    for key, value in attributes.items():
        study.set_user_attr(key, value)
    storage.remove_session()
    storage.engine.dispose()  # SQLite folds the log when its last user goes
    beside.replace(path)


def _open(path: Path, *, new: bool = False) -> RDBStorage:
    """SQLite with a write-ahead log: a commit is one sequential write, and readers (a dashboard) never block it."""
    with sqlite3.connect(path, timeout=BUSY_SECONDS) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    # Built, not pasted: a "?" or a "%" in the path would mean something in a URL.
    url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": BUSY_SECONDS}}, skip_table_creation=not new)

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _relax_sync(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")  # safe with a write-ahead log when the process dies

    storage.engine.dispose()  # connections made before the listener
    return storage


def _require_studies(path: Path) -> None:
    """Looks, without touching the file, whether it is a study's at all."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
    try:
        found = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'studies'").fetchone()[0]
    finally:
        connection.close()
    if not found:
        raise SaveDirError(f"{path} holds no study; choose another --save-dir")


def _objectives(metric: str) -> list[str]:
    """Names of a study's values, in their order."""
    return [objective_name(metric), "training_seconds", "size_mb"]


def _first_line(error: Exception) -> str:
    return str(error.__cause__ or error).strip().split("\n")[0]
