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
    transaction,
)
from cnn_lstm_hyperopt.search.trial import OPTUNA_STATES, Point, State, TrialRecord, Values, running_trial
from cnn_lstm_hyperopt.search.trial_seals import DISCARDED, KEY, MARK, SEAL, Seals, unless_changed

ENDINGS = ("reason", "cut_off_by", "given_up", "diverged", "memory_saving")
"""User attributes that only some ended trials have."""
CONSTRAINTS = "constraints"
"""Name of the system attribute in which Optuna stores the constraint values of a trial; values above 0 violate a constraint."""


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
        self._trials = StoredTrials(storage, self._study_id, self._seals)
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
        stored: dict[str, Any] = json.loads(json.dumps(dict(attributes)))
        mark = self._seals.mark(params, distributions, stored)
        template = running_trial(params, distributions, stored, {MARK: mark} if mark else {})
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        self._stored[trial_id] = stored
        return trial_id, self._storage.get_trial_number_from_id(trial_id)

    def record_curve(self, trial_id: int, curve: tuple[Point, ...]) -> None:
        """Store the learning curve of a running trial."""
        self.note(trial_id, "curve", [list(point) for point in curve])

    @_guarded
    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Store a JSON value as a user attribute of a trial."""
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
        """Store the result of a trial. The state is written last, so that the data of an ended trial are always complete.

        If an earlier call was interrupted, attributes stored by that call are cleared.

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
        with unless_changed():
            if shortfall is not None:
                self._storage.set_trial_system_attr(trial_id, CONSTRAINTS, [shortfall])
            for name, value in attributes.items():
                self.note(trial_id, name, value)
            trial = self._storage.get_trial(trial_id)
            for name in ENDINGS:
                if name not in attributes and trial.user_attrs.get(name) is not None:
                    self.note(trial_id, name, None)
            ends = OPTUNA_STATES[state], None if values is None else [float(value) for value in values]
            # One transaction, so that no other program ends the trial between its seal and its state.
            with transaction(self._rdb or self._storage) as storage:
                trial, stored = storage.get_trial(trial_id), self._stored.get(trial_id)
                self._seals.require_as_stored(trial, stored)
                names = trial.user_attrs if stored is None else stored
                storage.set_trial_system_attr(trial_id, SEAL, self._seals.seal(trial, names, *ends))
                storage.set_trial_state_values(trial_id, *ends)
        self._stored.pop(trial_id, None)

    @_guarded
    def discard(self, trial_id: int, why: str) -> None:
        """Set a trial that another program changed to FAIL, without a seal; :meth:`records` omits this trial from now on."""
        self._stored.pop(trial_id, None)
        with contextlib.suppress(TrialChangedError), unless_changed():  # it has ended or is gone
            self._storage.set_trial_system_attr(trial_id, DISCARDED, why)
            self._storage.set_trial_state_values(trial_id, TrialState.FAIL)

    @_guarded
    def write_notes(self, notes: Mapping[int | None, str]) -> None:
        """Write notes for optuna-dashboard; see :func:`.dashboard.write_notes`."""
        write_notes(self._storage, self._study_id, notes)

    @_guarded
    def n_started(self) -> int:
        """Return the number of trials that this program started, without trials that other programs added."""
        return self._trials.n_started()

    @property
    def skipped(self) -> dict[int, str]:
        """Return, by trial number, the state of each trial of another program and the change to each discarded trial."""
        return {**self._trials.foreign, **self._trials.changed}

    @_guarded
    def records(self) -> list[TrialRecord]:
        """Return this program's trials in order of number; ended trials are read from the file once."""
        return self._trials.records()

    @_guarded
    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Return the start and end of each trial in local time, by trial number; None if the trial has not started or ended."""
        return self._trials.times()

    @_guarded
    def pause(self, trial_id: int) -> None:
        """Set a RUNNING trial to WAITING, to be resumed."""
        with unless_changed():
            if self._storage.get_trial(trial_id).user_attrs.get("worker") is not None:
                self.note(trial_id, "worker", None)
            self._storage.set_trial_state_values(trial_id, TrialState.WAITING)
        self._stored.pop(trial_id, None)

    @_guarded
    def claim(self, number: int, *, worker: int | None = None) -> int:
        """Set a WAITING trial to RUNNING (in a worker); return the trial's storage id.

        The trial may already be RUNNING, since ``study.ask()`` of another program sets WAITING trials to RUNNING.
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
    def unfinished(self, *states: TrialState) -> list[tuple[int, FrozenTrial]]:
        """Return storage ids and trials of this program in these states; discard the trials that another program changed."""
        ours = []
        for trial, changed in self._trials.of_states(*states):
            if changed is None:
                ours.append((self._trials.id_of(trial), trial))
            else:
                self.discard(self._trials.id_of(trial), changed)
        return ours


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
