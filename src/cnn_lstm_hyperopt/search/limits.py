"""Predicted cost of a configuration, and limits on it."""

from dataclasses import dataclass
from typing import NamedTuple


class Cost(NamedTuple):
    """Predicted cost of a configuration.

    Attributes:
        seconds: seconds of the training steps of all epochs; 0 if unknown.
        size_mb: MB of the model's weights.
        memory_mb: peak memory of the training process in MB; 0 if unknown.
    """

    seconds: float
    size_mb: float
    memory_mb: float = 0.0


@dataclass(frozen=True)
class Limits:
    """Limits on the predicted cost of a trial; None means no limit.

    A proposal that is predicted to exceed a limit is replaced by another proposal.

    Attributes:
        seconds: maximum seconds of the training steps. A running trial that is slower ends early.
        proposal_seconds: maximum predicted seconds of a proposal, if this limit is lower than ``seconds``. A running trial may
            exceed it, because the machine may be slower than predicted.
    """

    seconds: float | None = None
    size_mb: float | None = None
    memory_mb: float | None = None
    proposal_seconds: float | None = None

    @property
    def none(self) -> bool:
        """Whether no limit is set."""
        return all(each is None for each in (self.seconds, self.size_mb, self.memory_mb, self.proposal_seconds))

    def allow(self, cost: Cost) -> bool:
        """Return whether a predicted cost is within all limits."""
        return all(
            limit is None or amount <= limit
            for limit, amount in (
                (self.seconds, cost.seconds),
                (self.proposal_seconds, cost.seconds),
                (self.size_mb, cost.size_mb),
                (self.memory_mb, cost.memory_mb),
            )
        )

    def __str__(self) -> str:
        """Return the limits as text: ``300 s of training a trial, 50 MB of weights``, or ``none``."""
        parts = [
            f"{limit:,.0f} {unit}" if limit >= 100 else f"{limit:.3g} {unit}"
            for limit, unit in (
                (self.seconds, "s of training a trial"),
                (self.proposal_seconds, "s of predicted training a trial"),
                (self.size_mb, "MB of weights"),
                (self.memory_mb, "MB of memory"),
            )
            if limit is not None
        ]
        return ", ".join(parts) or "none"
