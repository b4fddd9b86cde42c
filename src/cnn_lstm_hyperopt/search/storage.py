"""The study's storage: Optuna's SQLite schema, written in few transactions, readable by every Optuna tool."""

import contextlib
import functools
import itertools
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError, TrialChangedError
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.run_dir.paths import BACKUP_FILE, gone
from cnn_lstm_hyperopt.search.dashboard import note_attributes
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.seals import DISCARDED, KEY, MARK, SEAL, Ownership, Seals, own_attributes, unless_changed
from cnn_lstm_hyperopt.search.storage_recovery import (
    BUSY_SECONDS,
    FAULTS,
    DamagedError,
    back_up,
    failed,
    first_line,
    not_opened,
    remedy,
    remove,
    require_study,
)
from cnn_lstm_hyperopt.search.trial import OPTUNA_STATES, Point, State, TrialRecord, Values, read_trial
from cnn_lstm_hyperopt.utils.atomic_io import new_part, remove_parts

DIRECTIONS: list[Literal["maximize", "minimize"]] = ["maximize", "minimize", "minimize"]
FORMAT = 6
"""Of what is stored with studies and trials."""
UNMARKED_FORMAT = 5
"""Of an earlier version whose studies can be resumed: their trials have no marks."""
MADE_WITH = ("made_with", "skill_gate", "speeds", "train_share", "starts", "begun_with", "enqueue")
"""Attributes of a study that never change."""
ENDINGS = ("reason", "cut_off_by", "given_up", "diverged", "memory_saving")
"""Attributes with which only some trials end."""
CONSTRAINTS = "constraints"
"""System attribute of a trial, by Optuna's name: numbers above 0 are of constraints that it breaks."""


P = ParamSpec("P")
R = TypeVar("R")


def _guarded(method: Callable[Concatenate["StudyStorage", P], R]) -> Callable[Concatenate["StudyStorage", P], R]:
    """What a method can't store or read is told as what the user can do about it.

    Raises:
        StorageFailedError: nothing more can be stored.
    """

    @functools.wraps(method)
    def guarded(self: "StudyStorage", /, *args: P.args, **kwargs: P.kwargs) -> R:
        self._require_same_file()
        try:
            return method(self, *args, **kwargs)
        except FAULTS as error:
            if self.path is None:
                raise
            raise failed(self.path, error) from error

    return guarded


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
            SaveDirError: there is no file, it is damaged, it can't be read as a study of this program, or it holds several.
            StorageFailedError: the disk is full, or another program holds the file locked.
        """
        if create is None and not path.is_file():
            raise SaveDirError(f"{path} does not exist, so there is no study to resume; {_instead(path)}")
        self._rdb: RDBStorage | None = None
        self.path: Path | None = path
        try:
            if create is not None:
                _create(path, create, metric, {"format": FORMAT, **(attributes or {})})
            require_study(path, (FORMAT, UNMARKED_FORMAT), f"not {FORMAT}")
            self._rdb = _open(path)
            with quiet_optuna():
                names = optuna.get_all_study_names(self._rdb)
                if len(names) != 1:
                    raise SaveDirError(f"{path} must hold exactly one study, but holds {len(names)}")
                self.study = optuna.load_study(study_name=names[0], storage=self._rdb)
            self._attach()
            self._require_unchanged()
            self._read_trials()
        except HyperoptError:
            self.close()
            raise
        except Exception as error:  # of a damaged file Optuna may say anything
            self.close()
            raise not_opened(path, error) from error

    @classmethod
    def in_memory(cls, name: str, metric: str = "accuracy") -> "StudyStorage":
        """A study that lives as long as this object, in this process."""
        storage = cls.__new__(cls)
        storage._rdb = storage.path = None
        with quiet_optuna():
            storage.study = optuna.create_study(study_name=name, directions=DIRECTIONS)
            storage.study.set_metric_names(_objectives(metric))
        storage.study._storage.set_study_system_attr(storage.study._study_id, KEY, Seals.new_key())
        storage._attach()
        storage.set_attribute("format", FORMAT)
        return storage

    def _attach(self) -> None:
        self._storage: BaseStorage = self.study._storage
        self._study_id = self._storage.get_study_id_from_name(self.study.study_name)
        self._records: dict[int, TrialRecord] = {}
        self._stored: dict[int, dict[str, Any]] = {}
        self._identity = _identity(self.path)
        key = self._storage.get_study_system_attrs(self._study_id).get(KEY)
        self._seals = Seals(key if isinstance(key, str) else None)
        self._ownership = Ownership(self._seals)
        self._n_trials = 0

    def _require_unchanged(self) -> None:
        """Raises DamagedError when the study does not say what it was made with."""
        said, seal = self.study.user_attrs, self._storage.get_study_system_attrs(self._study_id).get(SEAL)
        if self._seals.keyed != (said.get("format") != UNMARKED_FORMAT):
            raise DamagedError("the key of its seals is missing")
        if seal is not None and seal != self._seals.of_study(said, MADE_WITH):
            raise DamagedError("what it was made with is not what was stored")
        total = said.get("n_trials")
        made_by_a_run = "begun_with" in said
        if (total is not None or made_by_a_run) and (type(total) is not int or total < 1):
            raise DamagedError("its number of trials is none")

    def _require_same_file(self) -> None:
        """SQLite goes on writing into a file that was removed, and nobody would ever see it again."""
        if self.path is not None and _identity(self.path) != self._identity:
            raise gone(self.path)

    @_guarded
    def back_up(self) -> None:
        """Copies the study as it is now to ``study.backup.db``; run.log says if there was no room for it."""
        if self.path is not None:
            back_up(self.path, _require_sealed)

    @_guarded
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

    @_guarded
    def attribute(self, name: str) -> Any:
        """An attribute of the study, None if it was never set."""
        return self._storage.get_study_user_attrs(self._study_id).get(name)

    @_guarded
    def set_attribute(self, name: str, value: Any) -> None:
        """Stores a JSON value with the study."""
        self._storage.set_study_user_attr(self._study_id, name, value)

    @_guarded
    def start(
        self, params: Params, distributions: Mapping[str, BaseDistribution], attributes: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Inserts a RUNNING trial in one transaction; returns (storage's id, number)."""
        stored: dict[str, Any] = json.loads(json.dumps(dict(attributes)))
        mark = self._seals.mark(params, distributions, stored)
        template = FrozenTrial(
            number=-1,  # the storage gives the number
            state=TrialState.RUNNING,
            value=None,
            datetime_start=datetime.now(),
            datetime_complete=None,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=dict(stored),
            system_attrs={MARK: mark} if mark else {},
            intermediate_values={},
            trial_id=-1,
        )
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        self._stored[trial_id] = stored
        return trial_id, self._storage.get_trial_number_from_id(trial_id)

    def record_curve(self, trial_id: int, curve: tuple[Point, ...]) -> None:
        """Stores the epochs seen so far."""
        self.note(trial_id, "curve", [list(point) for point in curve])

    @_guarded
    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Stores a JSON value with a trial."""
        value = json.loads(json.dumps(value))
        with unless_changed():
            self._storage.set_trial_user_attr(trial_id, name, value)
        if trial_id in self._stored:
            self._stored[trial_id][name] = value

    @_guarded
    def finish(
        self,
        trial_id: int,
        state: State,
        values: Values | None,
        attributes: Mapping[str, Any],
        *,
        shortfall: float | None = None,
    ) -> None:
        """Stores what the trial ended with; its state last, so that a finished trial is whole.

        Where a process ended within this before, and the trial went on, what it was to end with then is taken back.

        Args:
            trial_id: of the storage.
            state: that it ends in.
            values: of a COMPLETE trial.
            attributes: stored with it.
            shortfall: how far its score is from having learnt anything. Above 0 it breaks a constraint, for whoever reads the
                study with Optuna: its front, and the dashboard's, are ours.

        Raises:
            TrialChangedError: another program ended, edited or removed it.
        """
        with unless_changed():
            if shortfall is not None:
                self._storage.set_trial_system_attr(trial_id, CONSTRAINTS, [shortfall])
            for name, value in attributes.items():
                self.note(trial_id, name, value)
            trial = self._storage.get_trial(trial_id)
            taken_back = [name for name in ENDINGS if name not in attributes and trial.user_attrs.get(name) is not None]
            if taken_back:
                for name in taken_back:
                    self.note(trial_id, name, None)
                trial = self._storage.get_trial(trial_id)
            stored = self._stored.get(trial_id)
            self._seals.require_as_stored(trial, stored)
            ends = OPTUNA_STATES[state], None if values is None else [float(value) for value in values]
            names = trial.user_attrs if stored is None else stored
            self._storage.set_trial_system_attr(trial_id, SEAL, self._seals.seal(trial, names, *ends))
            self._storage.set_trial_state_values(trial_id, *ends)
        self._stored.pop(trial_id, None)

    @_guarded
    def discard(self, trial_id: int, why: str) -> None:
        """Ends a trial that another program changed as FAIL, without a seal: it is in no record from now on."""
        self._stored.pop(trial_id, None)
        with contextlib.suppress(TrialChangedError), unless_changed():  # it has ended or is gone
            self._storage.set_trial_system_attr(trial_id, DISCARDED, why)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    @_guarded
    def write_notes(self, notes: Mapping[int | None, str]) -> None:
        """Writes what optuna-dashboard shows beside trials, by number, and the study (None); notes of people stay.

        Raises:
            KeyError: there is no such trial.
        """
        by_id = {
            None
            if number is None
            else self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number): note
            for number, note in notes.items()
        }
        for name, value in note_attributes(by_id, self._storage.get_study_system_attrs(self._study_id)).items():
            self._storage.set_study_system_attr(self._study_id, name, value)

    @_guarded
    def n_begun(self) -> int:
        """Number of trials that this program began. Numbers of trials can be higher: other programs may add trials."""
        self._read_trials()
        return self._n_trials - len(self._ownership.foreign)

    def news(self) -> list[str]:
        """Return sentences about trials that other programs added or changed; each trial is named once."""
        return self._ownership.news()

    @property
    def skipped(self) -> dict[int, str]:
        """State of each trial that another program added, and what was done to ours that are not used any more, by number."""
        return {**self._ownership.foreign, **self._ownership.changed}

    @property
    def marks_trials(self) -> bool:
        """Whether trials have marks; an earlier version gave them none, so that they are known by their attributes."""
        return self._seals.keyed

    @_guarded
    def records(self) -> list[TrialRecord]:
        """All trials in order of number; ended ones are read once."""
        self._read_trials()
        return [self._records[number] for number in sorted(self._records)]

    @_guarded
    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """When each trial began and ended, by the local clock as it was stored."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return {trial.number: (trial.datetime_start, trial.datetime_complete) for trial in trials}

    def _read_trials(self) -> None:
        """Those that are new or have changed.

        Raises:
            DamagedError: one can't be read, or is not what was stored; the text has its number.
        """
        try:
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        except FAULTS:
            raise
        except Exception as error:  # of a damaged row Optuna may say anything
            raise DamagedError(self._unreadable()) from error
        if trials and trials[-1].number != len(trials) - 1:
            raise DamagedError(f"of {trials[-1].number + 1} trials {len(trials)} are there")
        self._n_trials = len(trials)
        for trial in trials:
            known = self._records.get(trial.number)
            if known is None or not known.state.ended:
                if not self._ownership.accepts(trial):
                    self._records.pop(trial.number, None)
                    continue
                if trial.state.is_finished() and not self._seals.is_sealed(trial):
                    raise DamagedError(
                        f"trial {trial.number} is not what was stored: another program or the disk changed it"
                    )
                try:
                    self._records[trial.number] = read_trial(trial, own_attributes(trial))
                except (LookupError, TypeError, ValueError) as error:
                    raise DamagedError(f"trial {trial.number} can't be read: {error}") from error

    def _unreadable(self) -> str:
        """The first trial of which Optuna can't make anything."""
        for number in itertools.count():
            try:
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            except KeyError:
                break
            try:
                self._storage.get_trial(trial_id)
            except Exception as error:  # noqa: BLE001 - as above
                return f"trial {number} can't be read: {first_line(error)}"
        return "its trials can't be read"

    @_guarded
    def pause(self, trial_id: int) -> None:
        """A RUNNING trial is WAITING to be gone on with."""
        with unless_changed():
            if self._storage.get_trial(trial_id).user_attrs.get("worker") is not None:
                self.note(trial_id, "worker", None)
            self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
        self._stored.pop(trial_id, None)

    @_guarded
    def pause_orphans(self, *, lacked_memory: bool = False) -> list[int]:
        """Every RUNNING trial is WAITING: its process is gone; perhaps for lack of memory, so that it saves more of it.

        Returns their numbers.
        """
        orphans = self._unfinished(TrialState.RUNNING)
        for trial in orphans:
            with contextlib.suppress(TrialChangedError):  # ended at this moment; the next look finds it
                if lacked_memory:
                    self.note(trial._trial_id, "saving", trial.user_attrs.get("saving", 0) + 1)
                self.pause(trial._trial_id)
        return [trial.number for trial in orphans]

    @_guarded
    def claim(self, number: int, *, worker: int | None = None) -> int:
        """A WAITING trial is RUNNING (in a worker) from now on; returns the storage's id.

        It may be RUNNING already: ``study.ask()`` of another program takes any WAITING trial.
        """
        with unless_changed():
            trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
            if worker is not None:
                self.note(trial_id, "worker", worker)
            self._storage.set_trial_state_values(trial_id, TrialState.RUNNING)
            trial = self._storage.get_trial(trial_id)
        self._stored[trial_id] = dict(trial.user_attrs)
        return trial_id

    @_guarded
    def fail_worker(self, worker: int, reason: str, cut_off_by: str) -> list[int]:
        """Ends the RUNNING trial of a worker whose process is gone while the run goes on. Returns its number, if there is one."""
        orphans = [trial for trial in self._unfinished(TrialState.RUNNING) if trial.user_attrs.get("worker") == worker]
        return self._fail(orphans, {"reason": reason, "cut_off_by": cut_off_by})

    @_guarded
    def fail_left_over(self, reason: str) -> list[int]:
        """Ends every trial that is RUNNING or WAITING, since nobody will go on with it. Returns their numbers."""
        return self._fail(self._unfinished(TrialState.RUNNING, TrialState.WAITING), {"reason": reason})

    def _fail(self, trials: Iterable[FrozenTrial], attributes: Mapping[str, Any]) -> list[int]:
        """Ends trials that no process runs any more; returns the numbers of those that could be ended."""
        failed = []
        for trial in trials:
            try:
                self.finish(trial._trial_id, State.FAIL, None, attributes)
            except TrialChangedError as error:
                self.discard(trial._trial_id, str(error))
            else:
                failed.append(trial.number)
        return failed

    def _unfinished(self, *states: TrialState) -> list[FrozenTrial]:
        """Ours among the trials of these states; those that another program changed are discarded."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False, states=states)
        ours = []
        for trial in trials:
            if self._ownership.accepts(trial):
                ours.append(trial)
            elif (why := self._ownership.changed.get(trial.number)) is not None:
                self.discard(trial._trial_id, why)
        return ours


def _create(path: Path, study_name: str, metric: str, attributes: Mapping[str, Any]) -> None:
    """Makes the file whole under another name and moves it there: when the process dies, ``study.db`` is whole or not there."""
    if path.exists():
        raise SaveDirError(f"{path} exists already; resume it or choose another --save-dir")
    remove_parts(path.parent, of=path)
    try:
        beside = new_part(path)
    except FileNotFoundError as error:
        raise SaveDirError(
            f"{path} can't be opened as a study: unable to open {path.parent} ({error.strerror}); name a directory that is there"
        ) from error
    try:
        storage = _open(beside, new=True)
        with quiet_optuna():
            study = optuna.create_study(study_name=study_name, storage=storage, directions=DIRECTIONS)
            study.set_metric_names(_objectives(metric))  # optuna-dashboard shows them
        key = Seals.new_key()
        storage.set_study_system_attr(study._study_id, KEY, key)
        for name, value in attributes.items():
            study.set_user_attr(name, value)
        storage.set_study_system_attr(study._study_id, SEAL, Seals(key).of_study(attributes, MADE_WITH))
        storage.remove_session()
        storage.engine.dispose()  # SQLite folds the log when its last user goes
        beside.replace(path)
    finally:
        remove(beside)


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

    @sqlalchemy.event.listens_for(storage.engine, "handle_error")
    def _wait_once(context: sqlalchemy.engine.ExceptionContext) -> None:
        """SQLite's own error, not SQLAlchemy's: for that one Optuna would wait five times when it inserts a trial."""
        error = context.original_exception
        if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise error

    storage.engine.dispose()  # connections made before the listener
    return storage


def _require_sealed(copy: Path) -> None:
    """Opens a copy of a study, so that one with changed trials does not take the place of a better one.

    Raises:
        DamagedError: trials are not what was stored.
        OSError: it can't be opened for another reason.
    """
    try:
        StudyStorage(copy).close()
    except HyperoptError as error:
        cause = error.__cause__
        if isinstance(cause, DamagedError):
            raise DamagedError(str(cause)) from cause
        raise OSError(first_line(cause or error)) from error


def _objectives(metric: str) -> list[str]:
    """Names of a study's values, in their order."""
    return [METRICS[metric].objective, "training_seconds", "size_mb"]


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Which file it is, whatever it is called; None: it is not there."""
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _instead(path: Path) -> str:
    """What to do where there is no study."""
    if path.with_name(BACKUP_FILE).is_file():
        return remedy(path)
    return "start one with: run --save-dir DIR"
