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
    """

    chance: float
    n_validation: int

    @property
    def threshold(self) -> float:
        """Chance plus two standard errors, √(p (1 − p) / n)."""
        return self.chance + 2 * math.sqrt(self.chance * (1 - self.chance) / self.n_validation)

    def passes(self, accuracy: float) -> bool:
        """Whether a model of this accuracy has learnt more than the majority class."""
        return accuracy > self.threshold
