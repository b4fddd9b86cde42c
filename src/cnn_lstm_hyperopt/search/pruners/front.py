"""The pruner ``front``, which ends trials that are unlikely to end on the front."""

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
"""Epochs of early decisions, which end the most expensive trials. The value 0.25 means after a quarter of the first epoch."""
FIRST_RUNG, RUNG_GROWTH, LAST_RUNG = 1 / 6, 1.6, 0.3
"""Epochs of later decisions as shares of all epochs: the first share, the factor to each next share, and the upper bound.
Decisions after the upper bound would save few seconds and cause most false prunes."""
MAX_REQUIRED, MAX_REQUIRED_EARLY = 0.5, 0.02
"""Upper bounds of the required chance: with at least :data:`NEIGHBOURS` finished curves, and with fewer. With fewer curves, the
predictions for the best trials are too low."""
OPTIMISTIC = 0.9
"""A trial continues only if this quantile of its predicted final scores is above the skill threshold."""


class FrontPruner(Pruner):
    """Pruner that ends a trial if its estimated chance of ending on the front is too small for its remaining seconds.

    **Required chance.** If a trial is ended, its remaining seconds are saved, but with the estimated chance a member of the front
    is lost. The rule compares the ratio of this chance to the remaining seconds (a fractional knapsack, Dantzig 1957). Estimated
    chances are overconfident: on recorded curves, the observed frequency is proportional to the estimated chance or, at worst, to
    its cube root. Therefore, the required chance grows with the cube of a trial's remaining seconds. If a trial's remaining
    seconds are half of the mean seconds of a trial, a chance of 5 % is required. The mean uses the projected seconds of trials
    that this pruner ended. The required chance is at most 50 %, and at most 2 % until 60 curves are finished.

    **Estimated chance.** Likely outcomes are predicted from the nearest finished curves (:class:`FinishedCurves`). The chance is
    the share of outcomes that no COMPLETE trial beats. A trial beats an outcome if the trial is not larger, not slower, and
    better in score by more than one standard error (the one-standard-error rule of Breiman et al. 1984). To reduce selection
    noise, measured scores are shrunk towards the sampler's predictions. So trials continue that are likely to be the best,
    fastest or smallest trial. Trials below the skill threshold beat no outcome. A trial that is unlikely to exceed the threshold
    is ended.
    """

    name, place = "front", 2
    description = "ends trials that are unlikely to reach the front"
    uses = ("n_startup_trials",)

    min_chance: ClassVar[float] = 0.05
    """Required chance for a trial whose remaining seconds are half of the mean seconds of a trial."""
    power: ClassVar[float] = 3
    """Exponent of the remaining seconds in the required chance."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = rungs_of(plan.max_epochs)
        self._rows: dict[tuple[int, float], Row | None] = {}
        self._settled: dict[int, tuple[float, float, float]] = {}
        self._projected: dict[int, float] = {}
        self._curves: dict[float, tuple[int, FinishedCurves]] = {}
        self._front: tuple[int, NDArray[np.float64]] = (-1, np.empty((0, 3)))

    def acts(self, curve: Sequence[Point]) -> bool:
        """Return True if the pruner makes a decision at the epoch of the curve's last point."""
        return curve[-1].epoch in self.rungs

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        complete = [other for other in others if other.state is State.COMPLETE]
        if not self.acts(trial.curve) or self._n_skilled(complete) < max(1, self.settings.n_startup_trials):
            return None
        epoch = trial.curve[-1].epoch
        outcomes = self.outcomes(trial, complete)
        if outcomes is None:
            return None
        optimistic = float(np.quantile(outcomes.scores, OPTIMISTIC))
        if not self.skill.passes(optimistic):
            return (
                f"front: at epoch {epoch:g} it is likely to end at chance (90% of similar curves end below {optimistic:.4f};"
                f" the skill threshold is {self.skill.threshold:.4f})"
            )
        chance = self.chance(outcomes, trial.size_mb, complete)
        left = max(0.0, outcomes.seconds - trial.curve[-1].seconds)
        required = self.required_chance(left, self._mean_seconds(others), len(self._finished(complete, epoch)))
        if chance >= required:
            return None
        return (
            f"front: at epoch {epoch:g} its chance to end on the front is {chance:.0%}; {100 * required:.2g}% is required for"
            f" {left:.1f} s more (expected: {self.skill.words} {outcomes.score:.4f}, {outcomes.seconds:.1f} s)"
        )

    def outcomes(self, trial: TrialRecord, complete: Sequence[TrialRecord]) -> Outcomes | None:
        """Return the likely final results of a trial; None with too few COMPLETE trials."""
        finished = self._finished(complete, trial.curve[-1].epoch)
        return finished.outcomes(trial.curve, trial.size_mb, trial.expected_score)

    def margin(self, score: float) -> float:
        """Return one standard error of a score. The pruner ignores smaller differences between scores."""
        return self.skill.standard_error(score)

    def chance(self, outcomes: Outcomes, size_mb: float, complete: Sequence[TrialRecord]) -> float:
        """Return the share of a trial's likely outcomes that no trial of the front beats."""
        front = self._front_of(complete)
        rivals = front[front[:, 2] <= size_mb]
        if not len(rivals):
            return 1.0
        lower_scores = np.array([score - self.margin(score) for score in rivals[:, 0]])
        faster = rivals[:, 1] <= np.exp(outcomes.log_seconds)[:, None]
        better = lower_scores > outcomes.scores[:, None]
        return float(np.mean(~(faster & better).any(axis=1)))

    def required_chance(self, left: float, mean_seconds: float, n_curves: int) -> float:
        """Return the chance of ending on the front below which a trial is ended.

        Args:
            left: remaining seconds of the trial.
            mean_seconds: mean seconds of trials that are not ended early.
            n_curves: number of finished curves from which the chance is estimated.
        """
        upper = MAX_REQUIRED if n_curves >= NEIGHBOURS else MAX_REQUIRED_EARLY
        return min(upper, self.min_chance * math.pow(left / (0.5 * mean_seconds), self.power))

    def inactive_because(self) -> str | None:
        if not self.rungs:
            return (
                f"training.max_epochs={self.plan.max_epochs} leaves the front pruner no epoch for decisions: no trial will be"
                " pruned; raise it to 2 or more"
            )
        if reason := self._endless_startup():
            return reason
        if self.plan.n_trials <= MIN_CURVES:
            return (
                f"the front pruner needs {MIN_CURVES} finished trials, and study.n_trials={self.plan.n_trials} leaves none after"
                " them: no trial will be pruned; raise it"
            )
        return None

    def _n_skilled(self, complete: Sequence[TrialRecord]) -> int:
        threshold = self.skill.threshold
        return sum(r.values is not None and r.values.score > threshold for r in complete)

    def _mean_seconds(self, others: Sequence[TrialRecord]) -> float:
        """Return the mean of the seconds of COMPLETE trials and the projected seconds of trials that this pruner ended.

        Each trial counts as at least a millisecond. Without the ended trials, each early end of an expensive trial would lower
        the mean, and the pruner would then end even more trials.
        """
        seconds = []
        for record in others:
            if record.values is not None:
                seconds.append(max(record.values.seconds, 1e-3))
            elif record.ended_by == self.settings.type:
                if record.number not in self._projected:
                    self._projected[record.number] = projected_seconds(record.curve, self.plan.max_epochs)
                seconds.append(max(self._projected[record.number], 1e-3))
        return statistics.fmean(seconds)

    def _finished(self, complete: Sequence[TrialRecord], epoch: float) -> FinishedCurves:
        """Return the finished curves at an epoch; the result is cached until another trial completes."""
        known = self._curves.get(epoch)
        if known is None or known[0] != len(complete):
            curves = FinishedCurves(
                complete, epoch, self.plan.max_epochs, self._rows, score_range=self.skill.score_range
            )
            known = (len(complete), curves)
            self._curves[epoch] = known
        return known[1]

    def _front_of(self, complete: Sequence[TrialRecord]) -> NDArray[np.float64]:
        """Return the shrunk score, seconds and MB of each non-dominated trial above the skill threshold, shape ``(front, 3)``."""
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
    """Return the rungs: the epochs at which the pruner decides.

    Args:
        max_epochs: number of epochs of a full trial.
        last: upper bound of the later rungs, as a share of ``max_epochs``.

    Returns:
        The early rungs, then round(first · 1.6^k) epochs for k = 0, 1, …, with first = max(2, ``max_epochs`` / 6). The result is
        empty if ``max_epochs`` is 1.
    """
    first = max(2.0, FIRST_RUNG * max_epochs)
    ladder = (float(round(first * RUNG_GROWTH**k)) for k in range(max_epochs))
    rungs = (*EARLY_RUNGS, *(height for height in ladder if height < last * max_epochs))
    return tuple(dict.fromkeys(rungs)) if max_epochs > EARLY_RUNGS[-1] else ()
