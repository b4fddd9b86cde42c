"""Progress reports of a training and the decisions that answer them; shared by training and search."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What the training does after a report."""

    CONTINUE = "continue"
    STOP = "stop"
    """End now: the run is interrupted (time limit, Ctrl-C)."""
    PRUNE = "prune"
    """End now: the results so far do not justify more time."""


@dataclass(frozen=True)
class Decision:
    """An action and its recorded reason; the reason is empty for CONTINUE."""

    action: Action
    reason: str = ""


CONTINUE = Decision(Action.CONTINUE)


@dataclass(frozen=True)
class ProgressReport:
    """Progress of a training.

    Attributes:
        epoch: epochs done; 0.25 is a quarter of the first.
        seconds: wall seconds spent in training steps so far.
        projected_seconds: estimated seconds of all epochs at this speed; None while it is unknown.
        score: the study's metric on validation, larger is better; None without an evaluation.
        loss: unsmoothed validation cross-entropy in nats; None without an evaluation.
        last: whether the training ends now without a decision: all epochs are done, or patience is exhausted.
        again: whether an earlier process has already sent this report and received its answer.
    """

    epoch: float
    seconds: float
    projected_seconds: float | None
    score: float | None = None
    loss: float | None = None
    last: bool = False
    again: bool = False


OnReport = Callable[[ProgressReport], Decision]
