"""Reader of this program's trials in a study."""

import itertools
from collections.abc import Iterator
from datetime import datetime

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.search.storage_recovery import FAULTS, DamagedError, first_line
from cnn_lstm_hyperopt.search.trial import TrialRecord, read_trial
from cnn_lstm_hyperopt.search.trial_seals import Ownership, Seals, own_attributes


class StoredTrials:
    """Records of a study's trials. An ended trial is read from the file only once.

    Attributes:
        foreign: state of each trial that another program added, by trial number.
        changed: change that another program made to each discarded trial, by trial number.
    """

    def __init__(self, storage: BaseStorage, study_id: int, seals: Seals) -> None:
        self._storage = storage
        self._study_id = study_id
        self._seals = seals
        self._ownership = Ownership(seals)
        self._records: dict[int, TrialRecord] = {}
        self._n_trials = 0
        self.foreign, self.changed = self._ownership.foreign, self._ownership.changed
        self.news = self._ownership.news

    def records(self) -> list[TrialRecord]:
        """Return this program's trials in order of number."""
        self.read()
        return [self._records[number] for number in sorted(self._records)]

    def n_started(self) -> int:
        """Return the number of trials that this program started."""
        self.read()
        return self._n_trials - len(self.foreign)

    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """Return the start and end of each trial in local time, by trial number; None if the trial has not started or ended."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return {trial.number: (trial.datetime_start, trial.datetime_complete) for trial in trials}

    def id_of(self, trial: FrozenTrial) -> int:
        """Return the storage id of a trial."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def of_states(self, *states: TrialState) -> Iterator[tuple[FrozenTrial, str | None]]:
        """Yield each trial of this program in one of the states, and the change made by another program (None if unchanged)."""
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False, states=states):
            if self._ownership.accepts(trial):
                yield trial, None
            elif (why := self.changed.get(trial.number)) is not None:
                yield trial, why

    def read(self) -> None:
        """Read new trials, and trials that had not ended at the last read.

        Raises:
            DamagedError: a trial is missing, can't be read or was changed; the text names the trial.
        """
        try:
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        except FAULTS:
            raise
        except Exception as error:  # a damaged row can cause any error in Optuna
            raise DamagedError(self._unreadable()) from error
        if trials and trials[-1].number != len(trials) - 1:
            raise DamagedError(f"{trials[-1].number + 1 - len(trials)} of {trials[-1].number + 1} trials are missing")
        self._n_trials = len(trials)
        for trial in trials:
            known = self._records.get(trial.number)
            if known is None or not known.state.ended:
                if not self._ownership.accepts(trial):
                    self._records.pop(trial.number, None)
                    continue
                if trial.state.is_finished() and not self._seals.is_sealed(trial):
                    raise DamagedError(f"trial {trial.number} was changed by another program or by the disk")
                try:
                    self._records[trial.number] = read_trial(trial, own_attributes(trial))
                except (LookupError, TypeError, ValueError) as error:
                    raise DamagedError(f"trial {trial.number} can't be read: {error}") from error

    def _unreadable(self) -> str:
        """Return a sentence about the first trial that Optuna can't read."""
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
