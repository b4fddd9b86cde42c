"""Reads the trials of a study: those of this program, as they were stored."""

import itertools
from collections.abc import Iterator
from datetime import datetime

from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.search.storage_recovery import FAULTS, DamagedError, first_line
from cnn_lstm_hyperopt.search.trial import TrialRecord, read_trial
from cnn_lstm_hyperopt.search.trial_seals import Ownership, Seals, own_attributes


class StoredTrials:
    """Records by number; ended trials are read once.

    Attributes:
        foreign: state of each trial that another program added, by number.
        changed: what another program did to trials of this one, which are not used any more, by number.
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
        """All trials in order of number."""
        self.read()
        return [self._records[number] for number in sorted(self._records)]

    def n_begun(self) -> int:
        """Number of trials that this program began."""
        self.read()
        return self._n_trials - len(self.foreign)

    def times(self) -> dict[int, tuple[datetime | None, datetime | None]]:
        """When each trial began and ended, by the local clock as it was stored."""
        trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return {trial.number: (trial.datetime_start, trial.datetime_complete) for trial in trials}

    def id_of(self, trial: FrozenTrial) -> int:
        """The storage's id."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def of_states(self, *states: TrialState) -> Iterator[tuple[FrozenTrial, str | None]]:
        """Trials of this program in these states, each with what another program changed, or None."""
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False, states=states):
            if self._ownership.accepts(trial):
                yield trial, None
            elif (why := self.changed.get(trial.number)) is not None:
                yield trial, why

    def read(self) -> None:
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
