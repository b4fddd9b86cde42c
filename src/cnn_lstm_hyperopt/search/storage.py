"""Storage of a study in Optuna's SQLite schema, which every Optuna tool can read."""

import contextlib
import functools
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.errors import HyperoptError, SaveDirError, TrialChangedError
from cnn_lstm_hyperopt.run_dir.storage_errors import gone
from cnn_lstm_hyperopt.search.dashboard import write_notes
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.rows import Change, MemoryRows, SqlRows, TrialRows
from cnn_lstm_hyperopt.search.storage_recovery import (
    FAULTS,
    DamagedError,
    back_up,
    failed,
    first_line,
    instead,
    not_opened,
    require_study,
)
from cnn_lstm_hyperopt.search.stored_trials import StoredTrials
from cnn_lstm_hyperopt.search.study_file import (
    DIRECTIONS,
    FORMAT,
    UNMARKED_FORMAT,
    cached,
    create_file,
    fold_log,
    identity,
    objectives,
    open_file,
    require_unchanged,
)
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord, Values, running_trial
from cnn_lstm_hyperopt.search.trial_changes import End, pause
from cnn_lstm_hyperopt.search.trial_seals import DISCARDED, KEY, MARK, SEAL, Seals

P = ParamSpec("P")
R = TypeVar("R")


def _guarded(method: Callable[Concatenate["StudyStorage", P], R]) -> Callable[Concatenate["StudyStorage", P], R]:
    """Decorate a method so that storage errors become errors with instructions for the user.

    Raises:
        StorageFailedError: the study can no longer be read or written.
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
    """Storage of one study in an SQLite file.

    Learning curves are stored as trial attributes, since ``Trial.report`` raises in a study of several objectives, and
    intermediate values break Optuna's TPE.

    Attributes:
        marks_trials: True if this program's trials have marks. In studies of earlier versions, trials are recognised by their
            attributes.
        news: function that returns sentences about trials that other programs added or changed since its last call.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: str | None = None,
        metric: str = "accuracy",
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Open the only study in a file, or create a file with a study.

        Args:
            path: path of the SQLite file.
            create: name of the new study; None if the file must already contain a study.
            metric: metric that a new study maximises.
            attributes: user attributes of a new study.

        Raises:
            SaveDirError: the file is missing or damaged, contains no study of this program, or contains several studies.
            StorageFailedError: the disk is full, or another program locks the file.
        """
        if create is None and not path.is_file():
            raise SaveDirError(
                f"{path} does not exist, so there is no study to resume; {instead(path)}", code="no-study"
            )
        self._rdb: RDBStorage | None = None
        self.path: Path | None = path
        try:
            if create is not None:
                create_file(path, create, metric, {"format": FORMAT, **(attributes or {})})
            require_study(path, (FORMAT, UNMARKED_FORMAT), f"not {FORMAT}")
            self._rdb = open_file(path)
            storage = cached(self._rdb)
            with quiet_optuna():
                self.study = optuna.load_study(study_name=None, storage=storage)
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
            raise not_opened(path, error) from error

    @classmethod
    def in_memory(cls, name: str, metric: str = "accuracy") -> "StudyStorage":
        """Create a study in memory, for tests and simulations."""
        storage, memory = cls.__new__(cls), InMemoryStorage()
        storage._rdb = storage.path = None
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
        self._identity = identity(self.path)
        key = self._storage.get_study_system_attrs(self._study_id).get(KEY)
        self._seals = Seals(key if isinstance(key, str) else None)
        self._rows = _rows_of(self._rdb, storage, self._study_id)
        self._trials = StoredTrials(self._rows, self._seals)
        self.marks_trials, self.news = self._seals.keyed, self._trials.news

    def _require_same_file(self) -> None:
        """Raise StorageFailedError if the file was removed or replaced: SQLite would silently write to the removed file."""
        if self.path is not None and identity(self.path) != self._identity:
            raise gone(self.path)

    @_guarded
    def back_up(self) -> None:
        """Copy the study to ``study.backup.db``; log a warning if that fails."""
        if self.path is not None:
            back_up(self.path, _require_sealed)

    @_guarded
    def fold_log(self) -> None:
        """Copy the write-ahead log into the file, so that ``study.db`` alone is complete."""
        if self._rdb is not None:
            fold_log(self._rdb)

    def close(self) -> None:
        """Close the file; SQLite copies the log into the file when the last process closes the file."""
        if self._rdb is not None:
            self._rdb.remove_session()
            self._rdb.engine.dispose()

    @_guarded
    def attribute(self, name: str) -> Any:
        """Return a user attribute of the study; None if the study has no such attribute."""
        return self._storage.get_study_user_attrs(self._study_id).get(name)

    @_guarded
    def set_attribute(self, name: str, value: Any) -> None:
        """Store a JSON value as a user attribute of the study."""
        self._storage.set_study_user_attr(self._study_id, name, value)

    @_guarded
    def start(
        self, params: Params, distributions: Mapping[str, BaseDistribution], attributes: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Insert a RUNNING trial in one transaction; return the trial's storage id and number."""
        self._trials.require_compatible(distributions)
        stored: dict[str, Any] = json.loads(json.dumps(dict(attributes)))
        mark = self._seals.mark(params, distributions, stored)
        trial = running_trial(params, distributions, stored, {MARK: mark} if mark else {})
        trial_id, number = self._rows.insert(trial)
        self._stored[trial_id] = stored
        return trial_id, number

    def record_curve(self, trial_id: int, curve: tuple[Point, ...]) -> None:
        """Store the learning curve of a running trial."""
        self.note(trial_id, "curve", [list(point) for point in curve])

    @_guarded
    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Store a JSON value as a user attribute of a trial."""
        value = json.loads(json.dumps(value))
        self._rows.note(trial_id, name, value)
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
        """Store the result of a trial in one transaction, so that the data of an ended trial are always complete.

        Args:
            trial_id: storage id of the trial.
            state: final state.
            values: objective values of a COMPLETE trial; None for other states.
            attributes: user attributes to store with the trial.
            shortfall: skill threshold minus score. Optuna and optuna-dashboard treat a value above 0 as a violated constraint, so
                that both show the same front as this program.

        Raises:
            TrialChangedError: another program ended, edited or removed the trial.
        """
        end = End(state, values, json.loads(json.dumps(dict(attributes))), shortfall)
        self._rows.change(trial_id, lambda trial: end.change(trial, self._stored.get(trial_id), self._seals))
        self._stored.pop(trial_id, None)

    @_guarded
    def discard(self, trial_id: int, why: str) -> None:
        """Set a trial that another program changed to FAIL, without a seal; :meth:`records` omits this trial from now on."""
        self._stored.pop(trial_id, None)
        with contextlib.suppress(TrialChangedError):  # it has ended or is gone
            self._rows.change(trial_id, lambda _: Change(TrialState.FAIL, system_attributes={DISCARDED: why}))

    @_guarded
    def write_notes(self, notes: Mapping[int | None, str]) -> None:
        """Write notes for optuna-dashboard; see :func:`.dashboard.write_notes`."""
        self._trials.read(reread_running=False)
        write_notes(self._storage, self._study_id, notes, self._trials.id_of)

    def n_started(self) -> int:
        """Return the number of trials that this program had started when :meth:`records` last read the trials."""
        return self._trials.n_started()

    @_guarded
    def n_ended(self) -> int:
        """Return the position of the next trial in the order in which trials end."""
        self._trials.read(reread_running=False)
        return self._trials.n_ended()

    @property
    def skipped(self) -> dict[int, str]:
        """Return, by trial number, the state of each trial of another program and the change to each discarded trial."""
        return {**self._trials.foreign, **self._trials.changed}

    @_guarded
    def records(self, *, reread_running: bool = True) -> list[TrialRecord]:
        """Return this program's trials in order of number; ended trials are read from the file once.

        Args:
            reread_running: whether the attributes of running trials, such as the learning curve, are read again. Decisions that
                need only ended trials read much less without these attributes.
        """
        return self._trials.records(reread_running=reread_running)

    @_guarded
    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Return the start and end of each trial in local time, by trial number; None if the trial has not started or ended."""
        return self._trials.times()

    @_guarded
    def pause(self, trial_id: int) -> None:
        """Set a RUNNING trial to WAITING, to be resumed."""
        self._rows.change(trial_id, pause)
        self._stored.pop(trial_id, None)

    @_guarded
    def claim(self, number: int, *, worker: int | None = None) -> int:
        """Set a WAITING trial to RUNNING (in a worker); return the trial's storage id.

        The trial may already be RUNNING, since ``study.ask()`` of another program sets WAITING trials to RUNNING. Its start is
        set in any case, so that other processes notice the claim.
        """
        attributes = {} if worker is None else {"worker": worker}
        found: dict[str, Any] = {}

        def claiming(trial: FrozenTrial) -> Change:
            found.update(trial.user_attrs, **attributes)
            return Change(TrialState.RUNNING, attributes=attributes)

        self._trials.read(reread_running=False)
        try:
            trial_id = self._trials.id_of(number)
        except KeyError as error:
            raise TrialChangedError("another program removed it", code="trial-removed") from error
        self._rows.change(trial_id, claiming)
        self._stored[trial_id] = found
        return trial_id

    @_guarded
    def unfinished(self, *states: TrialState) -> list[tuple[int, FrozenTrial]]:
        """Return storage ids and trials of this program in these states; discard the trials that another program changed."""
        ours = []
        for trial, changed in self._trials.of_states(*states):
            if changed is None:
                ours.append((trial._trial_id, trial))
            else:
                self.discard(trial._trial_id, changed)
        return ours


def _rows_of(database: RDBStorage | None, storage: BaseStorage, study_id: int) -> TrialRows:
    return MemoryRows(storage, study_id) if database is None else SqlRows(database.engine, study_id)


def _require_sealed(copy: Path) -> None:
    """Check the seals in a copy of a study, so that a damaged copy never replaces an intact backup.

    Raises:
        DamagedError: trials in the copy were changed.
        OSError: the copy can't be opened for another reason.
    """
    try:
        StudyStorage(copy).close()
    except HyperoptError as error:
        cause = error.__cause__
        if isinstance(cause, DamagedError):
            raise DamagedError(str(cause)) from cause
        raise OSError(first_line(cause or error)) from error
