"""Progress reports of a training, and the decisions of the search about them; shared by training and search."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """Action of the training after a progress report."""

    CONTINUE = "continue"
    STOP = "stop"
    """End the training now: the run is interrupted (time limit, Ctrl-C)."""
    PRUNE = "prune"
    """End the training now: the results so far do not justify more time."""


@dataclass(frozen=True)
class Decision:
    """Decision about a training: an action and the reason to record, which is empty for CONTINUE."""

    action: Action
    reason: str = ""


CONTINUE = Decision(Action.CONTINUE)


@dataclass(frozen=True)
class ProgressReport:
    """Progress report of a training.

    Attributes:
        epoch: number of epochs trained; 0.25 is a quarter of the first epoch.
        seconds: wall time of the training steps so far, in seconds.
        projected_seconds: estimated wall time of all epochs at this speed; None while the speed is unknown.
        score: the study's metric on validation windows; larger is better; None: not evaluated.
        loss: validation cross-entropy without label smoothing, in nats; None: not evaluated.
        last: whether the training ends now without a decision, because all epochs are trained or patience is exhausted.
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
