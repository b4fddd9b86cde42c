"""Store of trials in memory, for tests and simulations."""

from collections.abc import Callable, Collection
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from cnn_lstm_hyperopt.search.rows.base import Change, Head, TrialRows, existing


class MemoryRows(TrialRows):
    """Store of the trials of one study in a storage of Optuna that only this process uses.

    Args:
        storage: Optuna's storage.
        study_id: id of the study.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        self._storage = storage
        self._study_id = study_id

    def insert(self, trial: FrozenTrial) -> tuple[int, int]:
        """Store a new trial, as :meth:`.TrialRows.insert`."""
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=trial)
        return trial_id, self._storage.get_trial_number_from_id(trial_id)

    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Add or replace a user attribute, as :meth:`.TrialRows.note`."""
        try:
            self._storage.set_trial_user_attr(trial_id, name, value)
        except (KeyError, optuna.exceptions.UpdateFinishedTrialError):
            existing(self.trials([trial_id]))
            raise

    def change(self, trial_id: int, change_of: Callable[[FrozenTrial], Change]) -> None:
        """Change an unfinished trial, as :meth:`.TrialRows.change`."""
        change = change_of(existing(self.trials([trial_id])))
        for name, value in change.attributes.items():
            self._storage.set_trial_user_attr(trial_id, name, value)
        for name, value in change.system_attributes.items():
            self._storage.set_trial_system_attr(trial_id, name, value)
        self._storage.set_trial_state_values(trial_id, change.state, change.values)

    def heads(self, after: int, ids: Collection[int]) -> list[Head]:
        """Return heads of trials, as :meth:`.TrialRows.heads`."""
        new = [Head.of(trial) for trial in self._all()[after + 1 :]]
        return [*(Head.of(trial) for trial in self.trials(ids) if trial._trial_id <= after), *new]

    def trials(self, ids: Collection[int]) -> list[FrozenTrial]:
        """Return trials, as :meth:`.TrialRows.trials`."""
        stored = self._all()
        return [stored[trial_id] for trial_id in sorted(ids) if 0 <= trial_id < len(stored)]

    def ids(self) -> list[int]:
        """Return the ids of all trials, as :meth:`.TrialRows.ids`."""
        return list(range(len(self._all())))

    def _all(self) -> list[FrozenTrial]:
        """Return all trials. The storage has one study and deletes no trial, so an id is a position."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)
