"""Ends what is unlikely to reach the front."""

import math
import statistics
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.pareto import non_dominated
from cnn_lstm_hyperopt.search.learning_curves import (
    MIN_CURVES,
    NEIGHBOURS,
    FinishedCurves,
    Outcomes,
    Row,
    believed_scores,
    projected_seconds,
    settled_score,
)
from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord

EARLY_RUNGS = (0.25, 0.5, 0.75, 1.0)
"""Epochs after which the dearest are ended already; the parts where a trial reports within its first epoch."""
FIRST_RUNG, RUNG_GROWTH, LAST_RUNG = 1 / 6, 1.6, 0.3
"""Shares of all epochs between which the other decisions are made, and the step of the ladder; later, little is left to save,
and most of the true front's members that were lost were lost there."""
MOST_NEEDED, NEEDED_EARLY = 0.5, 0.02
"""Chance to reach the front that is needed at most, whatever is left; and that as long as so few have finished that none of them
is near (:data:`NEIGHBOURS`): then the best are underrated."""
HOPEFUL = 0.9
"""Quantile of the likely scores that must pass the skill threshold."""


class FrontPruner(Pruner):
    """Ends a trial whose chance to reach the front is not worth the seconds that it would still take.

    As few as possible of those that would reach it are to be ended for the seconds saved, so what counts is the ratio of the
    two (a fractional knapsack, Dantzig 1957). Chances are rather too sure of themselves: on recorded curves what comes true of
    them grows in proportion, or as little as their cube root does. So what is needed grows with the cube of the seconds left,
    and the dearest end first: 5 % are worth half of the seconds that trials take on average, those that it ended by what they
    would have taken. What is more likely than not to reach the front never ends; and as long as fewer than 60 curves have
    finished, what has 2 %.

    The chance is the share of likely outcomes that would stand on the front. What is likely comes from the finished curves
    nearest to it (:class:`FinishedCurves`). An outcome is beaten by a COMPLETE trial that is no larger and no slower and believed
    to be better in score by more than one standard error (the rule by which Breiman et al. 1984 take trees for equals): where
    most are within it, who is on the front is luck. Of readings, the luckiest would be the front, so each is drawn towards what
    the sampler had expected. Nothing beats what would be the best in score, the fastest or the smallest. Trials that have learnt
    nothing beat nobody, and what is unlikely ever to pass the skill threshold ends.
    """

    name, place = "front", 2
    description = "ends trials that are unlikely to reach the front"
    uses = ("n_startup_trials",)

    least_chance: ClassVar[float] = 0.05
    """Chance to reach the front that is worth half the seconds of a usual trial."""
    power: ClassVar[float] = 3
    """Of the seconds left, with which the chance that is needed grows."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = rungs_of(plan.max_epochs)
        self._rows: dict[tuple[int, float], Row | None] = {}
        self._settled: dict[int, tuple[float, float, float]] = {}
        self._headed_for: dict[int, float] = {}
        self._curves: dict[float, tuple[int, FinishedCurves]] = {}
        self._front: tuple[int, NDArray[np.float64]] = (-1, np.empty((0, 3)))

    def acts(self, curve: Sequence[Point]) -> bool:
        """At the rungs."""
        return curve[-1].epoch in self.rungs

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        """See the base class."""
        complete = [other for other in others if other.state is State.COMPLETE]
        if not self.acts(trial.curve) or self._n_skilled(complete) < max(1, self.settings.n_startup_trials):
            return None
        epoch = trial.curve[-1].epoch
        outcomes = self.outcomes(trial, complete)
        if outcomes is None:
            return None
        hoped = float(np.quantile(outcomes.scores, HOPEFUL))
        if not self.skill.passes(hoped):
            return (
                f"front: at epoch {epoch:g} it is likely to end at chance (nine in ten similar curves below {hoped:.4f},"
                f" {self.skill.threshold:.4f} is needed)"
            )
        chance = self.chance(outcomes, trial.size_mb, complete)
        left = max(0.0, outcomes.seconds - trial.curve[-1].seconds)
        needed = self.needed(left, self._usual_seconds(others), len(self._finished(complete, epoch)))
        if chance >= needed:
            return None
        return (
            f"front: at epoch {epoch:g} its chance to reach the front is {chance:.0%}, and {left:.1f} s more need"
            f" {100 * needed:.2g}% (expected: {self.skill.words} {outcomes.score:.4f}, {outcomes.seconds:.1f} s)"
        )

    def outcomes(self, trial: TrialRecord, complete: Sequence[TrialRecord]) -> Outcomes | None:
        """What is likely to become of a trial; None where too few like it are COMPLETE."""
        finished = self._finished(complete, trial.curve[-1].epoch)
        return finished.outcomes(trial.curve, trial.size_mb, trial.expected_score)

    def margin(self, score: float) -> float:
        """One standard error of a reading: who is nearer to a rival may be as good."""
        return self.skill.standard_error(score)

    def chance(self, outcomes: Outcomes, size_mb: float, complete: Sequence[TrialRecord]) -> float:
        """Share of the outcomes of a trial of so many MB that nobody on the front beats."""
        front = self._front_of(complete)
        rivals = front[front[:, 2] <= size_mb]
        if not len(rivals):
            return 1.0
        surely = np.array([score - self.margin(score) for score in rivals[:, 0]])
        faster = rivals[:, 1] <= np.exp(outcomes.log_seconds)[:, None]
        better = surely > outcomes.scores[:, None]
        return float(np.mean(~(faster & better).any(axis=1)))

    def needed(self, left: float, usual: float, n_curves: int) -> float:
        """The chance to reach the front below which a trial ends.

        Args:
            left: seconds that it would still take.
            usual: mean seconds that trials take which nothing ends.
            n_curves: finished curves that it is compared with.
        """
        most = MOST_NEEDED if n_curves >= NEIGHBOURS else NEEDED_EARLY
        return min(most, self.least_chance * math.pow(left / (0.5 * usual), self.power))

    def inactive_because(self) -> str | None:
        """See the base class."""
        if not self.rungs:
            return (
                f"training.max_epochs={self.plan.max_epochs} leaves the front pruner no epoch to decide at: no trial will be"
                " pruned; raise it to 2 at least"
            )
        if self.settings.n_startup_trials >= self.plan.n_trials:
            return (
                f"pruner.n_startup_trials={self.settings.n_startup_trials} is not below study.n_trials={self.plan.n_trials}:"
                " no trial will be pruned; lower it"
            )
        if self.plan.n_trials <= MIN_CURVES:
            return (
                f"the front pruner compares with {MIN_CURVES} finished trials at least, and study.n_trials={self.plan.n_trials}"
                " leaves none after them: no trial will be pruned; raise it"
            )
        return None

    def _n_skilled(self, complete: Sequence[TrialRecord]) -> int:
        threshold = self.skill.threshold
        return sum(r.values is not None and r.values.score > threshold for r in complete)

    def _usual_seconds(self, others: Sequence[TrialRecord]) -> float:
        """Mean of what COMPLETE trials took, and of what those that it ended would have taken; a millisecond each at least.

        By those that are COMPLETE alone, what is usual would be the less the more it ends, and it would end the more.
        """
        seconds = []
        for record in others:
            if record.values is not None:
                seconds.append(max(record.values.seconds, 1e-3))
            elif record.ended_by == self.settings.type:
                if record.number not in self._headed_for:
                    self._headed_for[record.number] = projected_seconds(record.curve, self.plan.max_epochs)
                seconds.append(max(self._headed_for[record.number], 1e-3))
        return statistics.fmean(seconds)

    def _finished(self, complete: Sequence[TrialRecord], epoch: float) -> FinishedCurves:
        """The same until another trial completes."""
        known = self._curves.get(epoch)
        if known is None or known[0] != len(complete):
            curves = FinishedCurves(
                complete, epoch, self.plan.max_epochs, self._rows, score_range=self.skill.score_range
            )
            known = (len(complete), curves)
            self._curves[epoch] = known
        return known[1]

    def _front_of(self, complete: Sequence[TrialRecord]) -> NDArray[np.float64]:
        """(believed score, seconds, MB) of the non-dominated skilled ones, shape ``(front, 3)``."""
        if self._front[0] != len(complete):
            for record in complete:
                if record.number not in self._settled and record.values is not None:
                    _, seconds, size_mb = record.values
                    self._settled[record.number] = (settled_score(record), seconds, size_mb)
            values = np.array([self._settled[record.number] for record in complete]).reshape(-1, 3)
            expected = [math.nan if each.expected_score is None else each.expected_score for each in complete]
            errors = [self.skill.standard_error(score) for score in values[:, 0]]
            values[:, 0] = believed_scores(values[:, 0], np.array(expected), np.array(errors))
            skilled = values[values[:, 0] > self.skill.threshold]
            self._front = (len(complete), skilled[non_dominated(skilled * (-1.0, 1.0, 1.0))])
        return self._front[1]


def rungs_of(max_epochs: int, last: float = LAST_RUNG) -> tuple[float, ...]:
    """Epochs after which it decides.

    Args:
        max_epochs: epochs of a trial that is not ended.
        last: share of them from which on the ladder has no rung.

    Returns:
        The early ones, then round(first · 1.6^k) epochs, two at least; none where nothing would be left of the training.
    """
    first = max(2.0, FIRST_RUNG * max_epochs)
    ladder = (float(round(first * RUNG_GROWTH**k)) for k in range(max_epochs))
    rungs = (*EARLY_RUNGS, *(height for height in ladder if height < last * max_epochs))
    return tuple(dict.fromkeys(rungs)) if max_epochs > EARLY_RUNGS[-1] else ()
