"""The interface of the pruners, and which trials are exempt from them."""

import abc
import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, TrialRecord
from cnn_lstm_hyperopt.utils.rng import stream_seed

EXEMPT = 12
"""One trial in so many runs to its own end whatever the pruner says, so that what it costs can be estimated."""


def is_exempt(seed: int, number: int) -> bool:
    """Whether trial ``number`` is exempt: by a hash of its number, so that a resumed study decides alike."""
    return stream_seed(seed, number, "exempt from pruning") % EXEMPT == 0


class Pruner(abc.ABC):
    """Says after each report whether a trial deserves more time.

    Holds nothing that is not in the stored trials; what it keeps is worked out from them and would be again.
    """

    name: ClassVar[str]
    """In settings."""
    place: ClassVar[int]
    """In the order of the pruners."""
    description: ClassVar[str]
    """What it ends, in a few words."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Its settings. All of these are literals: the settings read them without loading any library."""
    compares_running: ClassVar[bool] = False
    """Whether a decision looks at trials that still run."""

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self.settings = plan.pruner
        self.skill = plan.skill

    def acts(self, curve: Sequence[Point]) -> bool:
        """Whether the last point of the curve is one at which this pruner decides anything."""
        return True

    @abc.abstractmethod
    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        """Why the trial should end now, or None.

        Args:
            trial: running, its curve's last point is the report just made.
            others: all other trials, in order of number.
        """

    def inactive_because(self) -> str | None:
        """Why this pruner can't act at all in a study of this plan, or None."""
        return None

    def margin(self, score: float) -> float:
        """Half a standard error of a reading: a difference below that is no difference."""
        return 0.5 * self.skill.standard_error(score)


def extreme_in(losses: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    """Whether ``losses`` is the best of all in some objective; being the only one is being the best."""
    best = [math.inf] * len(losses)
    for other in others:
        best = [min(a, b) for a, b in zip(best, other, strict=True)]
    return any(loss < least or math.isinf(least) for loss, least in zip(losses, best, strict=True))
