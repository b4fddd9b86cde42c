"""Interface of the pruners."""

import abc
import math
from collections.abc import Iterable, Sequence
from typing import ClassVar

from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, TrialRecord


class Pruner(abc.ABC):
    """Interface of pruners, which decide after each report whether a trial ends early.

    Decisions depend on the stored trials alone. The attributes of a pruner are only a cache of values computed from stored
    trials.
    """

    name: ClassVar[str]
    """Name of the pruner in the settings."""
    place: ClassVar[int]
    """Position of the pruner in lists of pruners."""
    description: ClassVar[str]
    """Description of the pruner in a few words, for help texts and documentation."""
    uses: ClassVar[tuple[str, ...]] = ()
    """Names of the settings that the pruner reads. The value is a literal, so that ``--help`` reads it without importing the
    pruner."""
    compares_running: ClassVar[bool] = False
    """Whether the pruner compares a trial also with trials that are still running."""

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self.settings = plan.pruner
        self.skill = plan.skill

    def acts(self, curve: Sequence[Point]) -> bool:
        """Return True if the pruner makes a decision at the last point of the curve."""
        return True

    @abc.abstractmethod
    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        """Return the reason why a running trial should end now; None if the trial should continue.

        Args:
            trial: the running trial; the last point of the trial's curve is the current report.
            others: all other trials of the study, ordered by number.
        """

    def only_records(self, records: Sequence[TrialRecord]) -> bool:
        """Return True while the pruner ends no trial, and only records its decisions about control trials.

        Args:
            records: trials of the study.
        """
        return False

    def starts_control(self, number: int, records: Sequence[TrialRecord]) -> bool:
        """Return True if a trial that starts now is a control trial, beside those of :func:`.is_exempt`.

        Args:
            number: number of the trial.
            records: trials of the study.
        """
        return False

    def inactive_because(self) -> str | None:
        """Return the reason why the pruner can never end a trial in a study with this plan; None if the pruner can."""
        return None

    def _endless_startup(self) -> str | None:
        """Return the reason why the pruner is inactive if all trials of the study are start-up trials; None otherwise."""
        startup, n_trials = self.settings.n_startup_trials, self.plan.n_trials
        if startup < n_trials:
            return None
        return f"pruner.n_startup_trials={startup} is not below study.n_trials={n_trials}: no trial will be pruned; lower it"

    def margin(self, score: float) -> float:
        """Return half a standard error of a score. The pruner ignores smaller differences between scores."""
        return 0.5 * self.skill.standard_error(score)


def extreme_in(losses: tuple[float, ...], others: Iterable[tuple[float, ...]]) -> bool:
    """Return True if a loss in ``losses`` is lower than the same loss in all ``others``; True without others."""
    best = [math.inf] * len(losses)
    for other in others:
        best = [min(a, b) for a, b in zip(best, other, strict=True)]
    return any(loss < other or math.isinf(other) for loss, other in zip(losses, best, strict=True))
