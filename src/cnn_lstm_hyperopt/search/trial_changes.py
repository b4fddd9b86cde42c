"""Optuna's trial at the start of a trial, and the changes that end or pause a trial, computed from the trial as stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.search.rows.base import Change
from cnn_lstm_hyperopt.search.trial import State, Values
from cnn_lstm_hyperopt.search.trial_seals import SEAL, Seals, with_attributes

ENDINGS = ("reason", "cut_off_by", "given_up", "diverged", "memory_saving")
"""User attributes that only some ended trials have."""
OPTUNA_CONSTRAINTS = "constraints"
"""Name of the system attribute in which Optuna stores the constraint values of a trial; values above 0 violate a constraint."""


def running_trial(
    params: Params,
    distributions: Mapping[str, BaseDistribution],
    attributes: Mapping[str, Any],
    system_attributes: Mapping[str, Any],
) -> FrozenTrial:
    """Return an Optuna trial that starts now; the storage assigns its number."""
    return FrozenTrial(
        number=-1,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=datetime.now(),
        datetime_complete=None,
        params=dict(params),
        distributions=dict(distributions),
        user_attrs=dict(attributes),
        system_attrs=dict(system_attributes),
        intermediate_values={},
        trial_id=-1,
    )


@dataclass(frozen=True)
class End:
    """The end of a trial.

    Attributes:
        state: final state.
        values: objective values of a COMPLETE trial; None for other states.
        attributes: user attributes to store with the trial, as JSON values.
        excesses: skill threshold minus score, then value minus bound of each constraint; empty without a score.
    """

    state: State
    values: Values | None
    attributes: Mapping[str, Any]
    excesses: Sequence[float] = ()

    def change(self, trial: FrozenTrial, stored: Mapping[str, Any] | None, seals: Seals) -> Change:
        """Return the change that ends and seals a trial.

        Attributes of another end, which an earlier version stored before an interruption, are cleared.

        Args:
            trial: the trial as stored now.
            stored: attributes that this process stored; None if another process ran the trial.
            seals: seals of the study.

        Raises:
            TrialChangedError: another program changed the trial.
        """
        seals.require_as_stored(trial, stored)
        ends = TrialState[self.state.name], None if self.values is None else [float(value) for value in self.values]
        of_other_ends = (name for name in ENDINGS if name not in self.attributes)
        stale = [name for name in of_other_ends if trial.user_attrs.get(name) is not None]
        written = {**self.attributes, **dict.fromkeys(stale)}
        ended = with_attributes(trial, written)
        names = ended.user_attrs if stored is None else {**stored, **written}
        system: dict[str, Any] = {SEAL: seals.seal(ended, names, *ends)}
        if self.excesses:
            system[OPTUNA_CONSTRAINTS] = [float(excess) for excess in self.excesses]
        return Change(*ends, written, system)

    def is_stored(self, trial: FrozenTrial) -> bool:
        """Return whether a stored trial has this state and these values."""
        values = None if self.values is None else [float(value) for value in self.values]
        return trial.state is TrialState[self.state.name] and trial.values == values


def pause(trial: FrozenTrial, stored: Mapping[str, Any] | None = None) -> Change:
    """Return the change that sets a trial to WAITING; no worker runs the trial then.

    Args:
        trial: the trial as stored now.
        stored: attributes that this process stored; None if another process ran the trial.

    Raises:
        TrialChangedError: another worker runs the trial.
    """
    worker = trial.user_attrs.get("worker")
    if stored is not None and worker is not None and worker != stored.get("worker"):
        raise TrialChangedError("another worker runs it", code="trial-ended")
    return Change(TrialState.WAITING, attributes={} if worker is None else {"worker": None})
