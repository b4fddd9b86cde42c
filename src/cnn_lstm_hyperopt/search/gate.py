"""The line between trials that have learnt something and those that have not."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class SkillGate:
    """Accuracy beyond what guessing the majority class reaches by luck.

    A model that always says the majority class is small and fast, so it is never dominated: without a gate such trials fill the
    front and are safe from every pruner.

    Attributes:
        chance: share of the majority class among the validation labels.
        n_validation: validation windows.
        overlap: windows whose labels look at one and the same bar (the horizon): they are not independent.
    """

    chance: float
    n_validation: int
    overlap: int = 1

    @property
    def n_effective(self) -> float:
        """Independent readings among the validation windows."""
        return max(1.0, self.n_validation / self.overlap)

    @property
    def threshold(self) -> float:
        """Chance plus two standard errors."""
        return self.chance + 2 * self.standard_error(self.chance)

    def standard_error(self, accuracy: float) -> float:
        """Of an accuracy as read on validation: √(p (1 − p) / n)."""
        p = min(max(accuracy, 0.0), 1.0)
        return math.sqrt(p * (1 - p) / self.n_effective)

    def passes(self, accuracy: float) -> bool:
        """Whether a model of this accuracy has learnt more than the majority class."""
        return accuracy > self.threshold
