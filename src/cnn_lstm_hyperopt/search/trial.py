"""A trial as the search sees it: a value, read from what Optuna stores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.space.domains import Scalar

DIED, KILLED = "died", "killed"
"""What became of a trial's process while the run went on; one that was killed may have been stopped by the kernel for memory."""
EARLIER_LEVELS = 3
"""Memory levels of a trial of an earlier version, which stored no number of them."""
LACKED_MEMORY = "memory did not suffice, with all of it saved that can be"
"""How the reason begins of a trial that failed though all of that was changed."""


class State(Enum):
    """States of a trial; FAIL ones are not counted and are tried once more. A WAITING one was cut off and is gone on with."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self not in (State.RUNNING, State.WAITING)


OPTUNA_STATES = {
    State.RUNNING: TrialState.RUNNING,
    State.WAITING: TrialState.WAITING,
    State.COMPLETE: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAIL: TrialState.FAIL,
}
_STATES = {theirs: ours for ours, theirs in OPTUNA_STATES.items()}


class Point(NamedTuple):
    """One point of a learning curve: epochs done, score and loss (nats) on validation, training seconds so far."""

    epoch: float
    score: float
    loss: float
    seconds: float


class Values(NamedTuple):
    """The three objectives: the score (maximised), training seconds and MB (minimised)."""

    score: float
    seconds: float
    size_mb: float


@dataclass(frozen=True)
class TrialRecord:
    """A trial.

    Attributes:
        params: active, searched parameters as stored.
        values: of a COMPLETE trial, else None.
        size_mb: known before training.
        curve: a point per finished epoch.
        seconds: training seconds so far.
        projected_seconds: what all its epochs would take, None when it could not be told.
        reason: why it was pruned or failed.
        retry_of: number of the failed trial that this one repeats.
        attributes: all that was stored beside, as told by the trial's runner.
    """

    number: int
    state: State
    params: Params
    values: Values | None
    size_mb: float
    curve: tuple[Point, ...]
    seconds: float
    projected_seconds: float | None
    reason: str
    retry_of: int | None
    attributes: dict[str, Any]

    @property
    def finished(self) -> bool:
        """Whether it counts: COMPLETE or PRUNED."""
        return self.state in (State.COMPLETE, State.PRUNED)

    @property
    def owed_another_try(self) -> bool:
        """Whether it failed and may be repeated: once, and after a kill as long as memory can be saved.

        One that was given up may not: its memory did not suffice however much of it was saved, or its process ended again and
        again.
        """
        if self.state is not State.FAIL or self.attributes.get("given_up"):
            return False
        if self.attributes.get("cut_off_by") == KILLED:
            return self.memory_level + 1 < int(self.attributes.get("memory_levels", EARLIER_LEVELS))
        return self.retry_of is None

    @property
    def memory_level(self) -> int:
        """Place in its :func:`.memory_levels` that it begins with."""
        return int(self.attributes.get("saving", 0))

    @property
    def seeded_as(self) -> int:
        """Number that seeds it: its own, or that of the trial whose process died and which it goes on with."""
        return int(self.attributes.get("seeded_as", self.number))

    @property
    def finish_order(self) -> tuple[int, int]:
        """Sorts trials by when they ended: those that were cut off and told so by nobody come first."""
        return int(self.attributes.get("finish_order", -1)), self.number

    @property
    def ended_by(self) -> str | None:
        """What ended it if it is PRUNED: a pruner's name or ``limit``; the reason begins with it."""
        return self.reason.partition(":")[0] if self.state is State.PRUNED else None

    @property
    def expected_score(self) -> float | None:
        """What the sampler expected it to end with; None where it had no model."""
        return self.attributes.get("expected_score")

    @property
    def kept(self) -> Point | None:
        """The epoch whose weights the trial kept, that of the lowest loss; None before its first whole epoch."""
        return selected(tuple(point for point in self.curve if point.epoch >= 1), math.inf)


def running_trial(
    params: Params,
    distributions: Mapping[str, BaseDistribution],
    attributes: Mapping[str, Any],
    system_attributes: Mapping[str, Any],
) -> FrozenTrial:
    """A trial that starts now, to be stored; the storage gives its number."""
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


def read_trial(trial: FrozenTrial, attributes: dict[str, Any]) -> TrialRecord:
    """The record of a stored trial; ``attributes`` are those of its user attributes that are ours."""
    curve = tuple(Point(*point) for point in attributes.get("curve", ()))
    state = _STATES[trial.state]
    return TrialRecord(
        number=trial.number,
        state=state,
        params=trial.params,
        values=Values(*trial.values) if state is State.COMPLETE else None,
        size_mb=float(attributes.get("size_mb", trial.values[2] if state is State.COMPLETE else math.nan)),
        curve=curve,
        seconds=float(attributes.get("seconds", curve[-1].seconds if curve else 0.0)),
        projected_seconds=attributes.get("projected_seconds"),
        reason=str(attributes.get("reason") or ""),
        retry_of=attributes.get("retry_of"),
        attributes=attributes,
    )


def selected(curve: tuple[Point, ...], epoch: float) -> Point | None:
    """The point of the lowest loss up to ``epoch``: what the trial would be worth if it had ended there."""
    return min((point for point in curve if point.epoch <= epoch), key=lambda point: point.loss, default=None)


def key_of(params: Params) -> tuple[tuple[str, Scalar], ...]:
    """By which two configurations are the same."""
    return tuple(sorted(params.items()))
