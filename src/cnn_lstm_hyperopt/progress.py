"""What a trial tells while it runs, and what it is told back: the words that training and search share."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """What to do after a report."""

    CONTINUE = "continue"
    STOP = "stop"
    """End here: the run is being interrupted (time is up, Ctrl-C)."""
    PRUNE = "prune"
    """End here: what was seen does not deserve more time."""


@dataclass(frozen=True)
class Decision:
    """An action and, unless it is to continue, its reason for the record."""

    action: Action
    reason: str = ""


CONTINUE = Decision(Action.CONTINUE)


@dataclass(frozen=True)
class ProgressReport:
    """How far a training is.

    Attributes:
        epoch: epochs done; 0.25 is a quarter of the first.
        seconds: wall seconds spent in training steps so far.
        projected_seconds: what all epochs would take at this speed; None before it can be told.
        score: the study's metric on validation, more is better; None when the network was not evaluated here.
        loss: unsmoothed validation cross-entropy in nats; None when it was not evaluated here.
        last: whether the training ends here of itself: all epochs are done, or patience is exhausted.
        again: whether it was told before, in a process that the training outlived: it was answered then.
    """

    epoch: float
    seconds: float
    projected_seconds: float | None
    score: float | None = None
    loss: float | None = None
    last: bool = False
    again: bool = False


OnReport = Callable[[ProgressReport], Decision]
