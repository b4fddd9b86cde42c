"""Trial records: immutable values read from Optuna's storage."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, Protocol

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.space.domains import Scalar

DIED, KILLED, LOST = "died", "killed", "lost"
"""Stored reasons why the process of a trial ended during the trial. KILLED means that a signal ended the process, perhaps for
lack of memory. LOST means that a worker on another machine sent no heartbeats."""
MAX_HANDOVERS = 10
"""Maximum number of times that a configuration is continued by another worker after a worker was lost."""
EARLIER_LEVELS = 3
"""Number of memory levels in earlier versions of this program, which did not store the number."""
CONSTRAINTS = "constraints"
"""Attribute of complete trials with the measured value and the bound of each constraint."""
LACKED_MEMORY = "not enough memory at any memory level"
"""Beginning of the stored reason why a trial failed at all memory levels."""


class State(Enum):
    """State of a trial. A FAIL trial is not a finished trial and is retried once. A WAITING trial will be resumed."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"
    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"

    def __init__(self, value: str) -> None:
        self.ended = value not in ("RUNNING", "WAITING")
        """Whether the trial has ended."""
        self.finished = value in ("COMPLETE", "PRUNED")
        """Whether the trial is COMPLETE or PRUNED."""

    def is_finished(self) -> bool:
        """Return whether the trial has ended; Optuna's states have this method too."""
        return self.ended


class Point(NamedTuple):
    """One point of a learning curve: epochs done, validation score, validation loss (nats), training seconds so far."""

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
    """Record of a trial.

    Attributes:
        params: active, searched parameters.
        values: objective values of a COMPLETE trial; None for other trials.
        size_mb: MB of the weights; known before training.
        curve: learning curve, one point for each report.
        seconds: training seconds so far.
        projected_seconds: projected training seconds of all epochs; None if unknown.
        reason: reason why the trial was pruned or failed; empty for other trials.
        retry_of: number of the failed trial that this trial repeats; None if the trial is not a retry.
        attributes: all user attributes that this program stored with the trial.
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
        """Whether the trial is COMPLETE or PRUNED."""
        return self.state.finished

    @property
    def owed_another_try(self) -> bool:
        """Whether the trial failed and may be retried.

        If the process of the trial was killed, the trial may be retried at each further memory level. If its worker was lost,
        for example with its machine, the trial may be retried ten times. Other failed trials are retried once. A trial that
        lacked memory at all levels, or whose process ended too often, is not retried.
        """
        if self.state is not State.FAIL or self.attributes.get("given_up"):
            return False
        if self.attributes.get("cut_off_by") == LOST:
            return int(self.attributes.get("handovers", 0)) < MAX_HANDOVERS
        if self.attributes.get("cut_off_by") == KILLED:
            return self.memory_level + 1 < int(self.attributes.get("memory_levels", EARLIER_LEVELS))
        return self.retry_of is None

    @property
    def memory_level(self) -> int:
        """Index in :func:`.memory_levels` of the level at which the trial starts."""
        return int(self.attributes.get("saving", 0))

    @property
    def seeded_as(self) -> int:
        """Trial number that determines the seed: the trial's own number or, for a retry that continues a trial, its number."""
        return int(self.attributes.get("seeded_as", self.number))

    @property
    def finish_order(self) -> tuple[int, int]:
        """Sort key for the order in which trials ended. Trials whose position in this order is unknown come first."""
        return int(self.attributes.get("finish_order", -1)), self.number

    @property
    def ended_by(self) -> str | None:
        """Cause of a PRUNED trial, the first word of ``reason``: a pruner's name or ``limit``; None for other trials."""
        return self.reason.partition(":")[0] if self.state is State.PRUNED else None

    @property
    def constraints(self) -> dict[str, tuple[float, float]]:
        """Measured value and upper bound of each constraint; empty for trials that are not complete."""
        stored = self.attributes.get(CONSTRAINTS) or {}
        return {name: (float(each["value"]), float(each["bound"])) for name, each in stored.items()}

    @property
    def feasible(self) -> bool:
        """Whether the trial breaks no bound, as far as its values are known."""
        return all(value <= bound for value, bound in self.constraints.values())

    @property
    def expected_score(self) -> float | None:
        """Score that the sampler's model expected; None if the sampler had no model."""
        return self.attributes.get("expected_score")

    @property
    def kept(self) -> Point | None:
        """Point of the curve at the epoch whose weights the trial kept (lowest loss); None before the first full epoch."""
        return selected(tuple(point for point in self.curve if point.epoch >= 1), math.inf)


class StoredState(Protocol):
    """State of a stored trial: Optuna's TrialState, or :class:`State`."""

    @property
    def name(self) -> str:
        """Name of the state, as in :class:`State`."""

    def is_finished(self) -> bool:
        """Return whether the trial has ended."""


class StoredTrial(Protocol):
    """A stored trial: Optuna's FrozenTrial, or a trial read without Optuna."""

    @property
    def number(self) -> int:
        """Number of the trial in the study."""

    @property
    def state(self) -> StoredState:
        """State of the trial."""

    @property
    def params(self) -> dict[str, Any]:
        """Parameters by name."""

    @property
    def values(self) -> Sequence[float] | None:
        """Objective values; None without values."""

    @property
    def user_attrs(self) -> dict[str, Any]:
        """User attributes by name."""

    @property
    def system_attrs(self) -> Mapping[str, Any]:
        """System attributes by name."""


def read_trial(trial: StoredTrial, attributes: dict[str, Any]) -> TrialRecord:
    """Return the record of a stored trial; ``attributes`` are this program's user attributes."""
    curve = tuple(map(Point._make, attributes.get("curve", ())))
    state = State[trial.state.name]
    values = Values(*trial.values) if state is State.COMPLETE and trial.values is not None else None
    if state is State.COMPLETE and values is None:
        raise TypeError("a COMPLETE trial has no values")
    return TrialRecord(
        number=trial.number,
        state=state,
        params=trial.params,
        values=values,
        size_mb=float(attributes.get("size_mb", math.nan if values is None else values.size_mb)),
        curve=curve,
        seconds=float(attributes.get("seconds", curve[-1].seconds if curve else 0.0)),
        projected_seconds=attributes.get("projected_seconds"),
        reason=str(attributes.get("reason") or ""),
        retry_of=attributes.get("retry_of"),
        attributes=attributes,
    )


def selected(curve: tuple[Point, ...], epoch: float) -> Point | None:
    """Return the point of a learning curve with the lowest loss up to ``epoch``; None without points."""
    return min((point for point in curve if point.epoch <= epoch), key=lambda point: point.loss, default=None)


def key_of(params: Params) -> tuple[tuple[str, Scalar], ...]:
    """Return a hashable key of a configuration; keys are equal exactly if configurations are equal."""
    return tuple(sorted(params.items()))
