"""Interface of the stores of a study's trials."""

import abc
import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.errors import TrialChangedError


class Head(NamedTuple):
    """The part of a trial that changes whenever a program starts, pauses, resumes or ends the trial.

    Attributes:
        trial_id: id of the trial in the store.
        number: number of the trial in the study.
        state: state of the trial.
        started: local time of the last start; None if the trial has never started.
        ended: local time of the end; None if the trial has not ended.
    """

    trial_id: int
    number: int
    state: TrialState
    started: datetime | None
    ended: datetime | None

    @classmethod
    def of(cls, trial: FrozenTrial) -> "Head":
        """Return the head of a whole trial."""
        return cls(trial._trial_id, trial.number, trial.state, trial.datetime_start, trial.datetime_complete)


@dataclass(frozen=True)
class Change:
    """A change to an unfinished trial, which is stored completely or not at all.

    Attributes:
        state: new state.
        values: objective values of a COMPLETE trial; None for other states.
        attributes: user attributes to add or replace, as JSON values.
        system_attributes: system attributes to add or replace, as JSON values.
    """

    state: TrialState
    values: Sequence[float] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    system_attributes: Mapping[str, Any] = field(default_factory=dict)


class TrialRows(abc.ABC):
    """Store of the trials of one study. Each method is one transaction.

    All methods that change a trial raise TrialChangedError if the trial has ended or is missing.
    """

    @abc.abstractmethod
    def insert(self, trial: FrozenTrial) -> tuple[int, int]:
        """Store a new RUNNING trial, which gets the next id and number; return both."""

    @abc.abstractmethod
    def note(self, trial_id: int, name: str, value: Any) -> None:
        """Add or replace a user attribute of an unfinished trial; ``value`` is a JSON value."""

    @abc.abstractmethod
    def change(self, trial_id: int, change_of: Callable[[FrozenTrial], Change]) -> None:
        """Change an unfinished trial.

        Args:
            trial_id: id of the trial.
            change_of: function that takes the trial as stored now and returns its change. No other program writes until the
                change is stored. If the function raises, the trial stays as it is.
        """

    @abc.abstractmethod
    def heads(self, after: int, ids: Collection[int]) -> list[Head]:
        """Return the heads of trials with an id above ``after`` or in ``ids``, in order of id."""

    @abc.abstractmethod
    def trials(self, ids: Collection[int]) -> list[FrozenTrial]:
        """Return the trials with these ids in order of id, without trials that do not exist."""

    @abc.abstractmethod
    def ids(self) -> list[int]:
        """Return the ids of all trials in ascending order."""

    def exclusive(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which no other process starts or ends a trial, where the store itself has such a lock."""
        return contextlib.nullcontext()


def require_unfinished(state: TrialState | None) -> None:
    """Raise TrialChangedError if a trial can't be changed.

    Args:
        state: stored state of the trial; None if the trial does not exist.
    """
    if state is None:
        raise TrialChangedError("another program removed it", code="trial-removed")
    if state.is_finished():
        raise TrialChangedError("another program ended it", code="trial-ended")


def existing(found: Iterable[FrozenTrial]) -> FrozenTrial:
    """Return the only trial; raise TrialChangedError if there is none or if it has ended."""
    trial = next(iter(found), None)
    require_unfinished(None if trial is None else trial.state)
    if trial is None:
        raise RuntimeError("a missing trial is refused above")
    return trial
