"""Progress reports that a training sends, and the decisions that the search returns. Training and search share these types."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Action(Enum):
    """Action that a training takes after a progress report."""

    CONTINUE = "continue"
    STOP = "stop"
    """End the training now: the run is interrupted (time limit, Ctrl-C)."""
    PRUNE = "prune"
    """End the training now: its results so far do not justify more time."""


@dataclass(frozen=True)
class Decision:
    """Decision about a training: an action and its reason. The reason is empty for the action CONTINUE."""

    action: Action
    reason: str = ""


CONTINUE = Decision(Action.CONTINUE)


@dataclass(frozen=True)
class ProgressReport:
    """Progress report of a training.

    Attributes:
        epoch: number of epochs trained; 0.25 is a quarter of the first epoch.
        seconds: wall time of the training steps so far, in seconds.
        projected_seconds: estimated wall time of all epochs at the current speed, in seconds; None while the speed is unknown.
        score: the study's metric on validation windows; larger is better; None: not evaluated.
        loss: validation cross-entropy without label smoothing, in nats; None: not evaluated.
        last: True if the training ends now in any case, because all epochs are trained or patience is exhausted.
        again: True if an earlier process has already sent this report and received the decision.
    """

    epoch: float
    seconds: float
    projected_seconds: float | None
    score: float | None = None
    loss: float | None = None
    last: bool = False
    again: bool = False


OnReport = Callable[[ProgressReport], Decision]
