"""What a configuration is predicted to cost, and what it may cost."""

from dataclasses import dataclass
from typing import NamedTuple


class Cost(NamedTuple):
    """Of a configuration, known before a step is run.

    Attributes:
        seconds: in the training steps of all epochs; 0 where nobody can tell.
        size_mb: of the weights.
        memory_mb: peak of the process that trains it; 0 where nobody can tell.
    """

    seconds: float
    size_mb: float
    memory_mb: float = 0.0


@dataclass(frozen=True)
class Limits:
    """None: no limit. A proposal that is predicted to exceed one is drawn anew and never becomes a trial."""

    seconds: float | None = None
    size_mb: float | None = None
    memory_mb: float | None = None

    @property
    def none(self) -> bool:
        """Whether there is nothing to keep."""
        return self.seconds is None and self.size_mb is None and self.memory_mb is None

    def allow(self, cost: Cost) -> bool:
        """Whether the cost keeps all limits."""
        return all(
            limit is None or amount <= limit
            for limit, amount in (
                (self.seconds, cost.seconds),
                (self.size_mb, cost.size_mb),
                (self.memory_mb, cost.memory_mb),
            )
        )

    def __str__(self) -> str:
        """The limits in a few words: ``300 s of training a trial, 50 MB of weights``; ``none``."""
        parts = [
            f"{limit:,.0f} {unit}" if limit >= 100 else f"{limit:g} {unit}"
            for limit, unit in (
                (self.seconds, "s of training a trial"),
                (self.size_mb, "MB of weights"),
                (self.memory_mb, "MB of memory"),
            )
            if limit is not None
        ]
        return ", ".join(parts) or "none"
