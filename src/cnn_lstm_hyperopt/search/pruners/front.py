"""The pruner ``front``, which ends trials that are unlikely to extend the front."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated
from cnn_lstm_hyperopt.search.learning_curves import (
    MIN_CURVES,
    FinishedCurves,
    Outcomes,
    Row,
    projected_seconds,
    smoothed_score,
    within,
)
from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.pruning_audit import AUDIT_EVERY, Verdict, audit, believed_losses, is_early_control
from cnn_lstm_hyperopt.search.samplers.boxes import improvement, undominated_boxes
from cnn_lstm_hyperopt.search.samplers.gp.acquisition import thin
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord

Array = NDArray[np.float64]

EARLY_RUNGS = (0.25, 0.5, 0.75, 1.0)
"""Epochs of early decisions, which end the most expensive trials. The value 0.25 means after a quarter of the first epoch."""
FIRST_RUNG, RUNG_GROWTH, LAST_RUNG = 1 / 6, 1.6, 0.3
"""Epochs of later decisions as shares of all epochs: the first share, the factor to each next share, and the upper bound.
Decisions after the upper bound would save few seconds and cause most false prunes."""
RECENT, MIN_RECENT = 1 / 3, 20
"""Share and minimum number of COMPLETE trials, the latest ones, over which the recent gain per second is measured."""
REFERENCE, EDGE = 1.1, 1.0
"""Coordinate of the reference point in each scaled loss. Expected seconds and MB count as at most :data:`EDGE`, so a slower or
larger trial than all on the front still gains hypervolume if it is more accurate."""
BASIS_STEPS = 50
"""The front and the finished curves are computed anew when the number of COMPLETE trials has grown by one part in this number."""
FRONT_ROWS = 60
"""Maximum number of front members in gain computations."""
MIN_WIDTH = 1e-3
"""Minimum range of ln seconds and ln MB that the front is scaled to."""
OPTIMISTIC = 0.9
"""A trial continues only if this quantile of its predicted final scores is above the skill threshold."""


class _Progress(NamedTuple):
    """The front of the COMPLETE, feasible trials, and the recent gain of hypervolume.

    Attributes:
        best: highest score of such a trial, without selection noise.
        low, width: minimum and range of each loss over the front, ``(3,)`` each.
        lows, highs: boxes that the front does not dominate, see :func:`.undominated_boxes`.
        gain: hypervolume that the recent COMPLETE trials added.
        since: finish order of the last COMPLETE trial before the recent ones.
    """

    best: float
    low: Array
    width: Array
    lows: Array
    highs: Array
    gain: float
    since: tuple[int, int]


class FrontPruner(Pruner):
    """Pruner that ends a trial if its expected gain in hypervolume is too small for its remaining seconds.

    **Rule.** A trial continues if its expected gain per remaining second is at least a share of the recent gain of the search per
    second (marginal value theorem, Charnov 1976: leave when the present gain falls below the average). So a trial that may extend
    the front where the front is thin continues, even if its chance is small and it is expensive. A trial that is expected to have
    the highest score always continues. If the search no longer gains, only trials without any expected gain are ended.

    **Expected gain.** Likely outcomes are predicted from the nearest finished curves (:class:`FinishedCurves`). The gain is the
    mean hypervolume that an outcome adds to the front of (score, ln seconds, ln MB), scaled to the range of the front. The scores
    of the front are lowered by half a standard error. To reduce selection noise, measured scores are shrunk towards the sampler's
    predictions. A trial that is unlikely to exceed the skill threshold is ended.

    **Audit.** At first, the pruner ends no trial and only records its decisions. So until then, the search is the same as without
    a pruner, and all trials are control trials. They show whether pruning pays (:class:`.Audit`). The pruner ends trials only
    while the audit shows that pruning pays. Then the share of control trials falls from :data:`.EARLY` / n at trial n to one in
    :data:`.EXEMPT`.
    """

    name, place = "front", 2
    description = "ends trials that are unlikely to extend the front, while control trials show that pruning pays"
    uses = ("n_startup_trials",)

    share: ClassVar[float] = 0.1
    """Required gain per second as a share of the recent gain per second. Ended trials lose at most about this share of what the
    saved seconds gain elsewhere."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = rungs_of(plan.max_epochs)
        self._rows: dict[tuple[int, float], Row | None] = {}
        self._settled: dict[int, tuple[float, float, float]] = {}
        self._curves: dict[float, tuple[int, FinishedCurves]] = {}
        self._progress: tuple[int, _Progress | None] = (-1, None)
        self._basis: tuple[int, Sequence[TrialRecord], int] = (-1, (), 0)
        self._since: tuple[int, int] = (0, 0)
        self._spent, self._counted = 0.0, set[int]()
        self._paused: tuple[int, bool] = (0, True)

    def acts(self, curve: Sequence[Point]) -> bool:
        """Return True if the pruner makes a decision at the epoch of the curve's last point."""
        return curve[-1].epoch in self.rungs

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        if not self.acts(trial.curve):
            return None
        complete, skilled = self._basis_of(others)
        if skilled < max(1, self.settings.n_startup_trials):
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
        progress = self.progress_of(complete)
        if progress is None or outcomes.score > progress.best:
            return None
        left = max(0.0, outcomes.seconds - trial.curve[-1].seconds)
        usual = progress.gain * left / max(self._whole_seconds(others, progress.since), 1e-3)
        gain = self.expected_gain(outcomes, trial.size_mb, progress)
        if gain > self.share * usual:
            return None
        part = gain / usual if usual > 0 else 0.0
        return (
            f"front: at epoch {epoch:g} it is expected to gain {part:.0%} of the hypervolume that the search gains in {left:.1f}"
            f" s; {self.share:.0%} is required (expected: {self.skill.words} {outcomes.score:.4f}, {outcomes.seconds:.1f} s)"
        )

    def only_records(self, records: Sequence[TrialRecord]) -> bool:
        """Return True unless the audit shows that pruning pays. The result is cached until the next audit."""
        audits = sum(record.state.ended for record in records) // AUDIT_EVERY
        if self._paused[0] != audits:
            found = audit(records, self.skill, self.plan.seed, self._settled)
            self._paused = (audits, found.verdict is not Verdict.PAYS)
        return self._paused[1]

    def starts_control(self, number: int, records: Sequence[TrialRecord]) -> bool:
        return self.only_records(records) or is_early_control(self.plan.seed, number)

    def outcomes(self, trial: TrialRecord, complete: Sequence[TrialRecord]) -> Outcomes | None:
        """Return the likely final results of a trial; None with too few COMPLETE trials.

        A trial keeps the weights of its best epoch. So no outcome is below the trial's present smoothed score, even if the
        finished curves, which may be of other sizes, predict a lower score.
        """
        epoch = trial.curve[-1].epoch
        found = self._finished(complete, epoch).outcomes(trial.curve, trial.size_mb, trial.expected_score)
        now = within(smoothed_score(trial.curve, epoch), self.skill.score_range)
        if found is None or math.isnan(now):
            return found
        return replace(found, scores=np.maximum(found.scores, now), score=max(found.score, now))

    @staticmethod
    def expected_gain(outcomes: Outcomes, size_mb: float, progress: _Progress) -> float:
        """Return the mean hypervolume that a trial's likely outcomes add to the front."""
        n = len(outcomes.scores)
        rows = np.column_stack([-outcomes.scores, outcomes.log_seconds, np.full(n, math.log(size_mb))])
        z = (rows - progress.low) / progress.width
        z[:, 1:] = np.minimum(z[:, 1:], EDGE)
        return float(improvement(z, progress.lows, progress.highs).mean())

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

    def _basis_of(self, others: Sequence[TrialRecord]) -> tuple[Sequence[TrialRecord], int]:
        """Return the COMPLETE trials that decisions use, and the number of these that are feasible and above the threshold.

        The latest trials are left out until their number is a fiftieth of all, so that the front and the finished curves of a
        long study are not computed anew after each trial.
        """
        complete = [other for other in others if other.state is State.COMPLETE]
        step = max(1, len(complete) // BASIS_STEPS)
        n_used = len(complete) // step * step
        if self._basis[0] != n_used:
            used = complete if step == 1 else sorted(complete, key=lambda r: r.finish_order)[:n_used]
            threshold = self.skill.threshold
            skilled = sum(r.values is not None and r.values.score > threshold and r.feasible for r in used)
            self._basis = (n_used, used, skilled)
        return self._basis[1:]

    def _whole_seconds(self, others: Sequence[TrialRecord], since: tuple[int, int]) -> float:
        """Return the seconds of the trials that ended after ``since``, with the projected seconds of trials that a pruner ended.

        With the seconds that ended trials really took, each ended trial would raise the gain per second, and so the required gain
        of the next trials.
        """
        ended = [record for record in others if record.state.ended]
        if self._since != since or len(self._counted) > len(ended):
            self._since, self._spent, self._counted = since, 0.0, set()
        new = [record for record in ended if record.number not in self._counted]
        for record in sorted(
            new, key=lambda each: each.finish_order
        ):  # always summed in this order, also after an interruption
            self._counted.add(record.number)
            if record.finish_order > since:
                pruned = record.ended_by == self.settings.type and record.curve
                self._spent += projected_seconds(record.curve, self.plan.max_epochs) if pruned else record.seconds
        return self._spent

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

    def progress_of(self, complete: Sequence[TrialRecord]) -> _Progress | None:
        """Return the front and the recent gain, cached until another trial completes; None without trials above the threshold."""
        if self._progress[0] != len(complete):
            self._progress = (len(complete), self._measure(complete))
        return self._progress[1]

    def _measure(self, complete: Sequence[TrialRecord]) -> _Progress | None:
        complete = sorted((r for r in complete if r.feasible), key=lambda record: record.finish_order)
        points = believed_losses(complete, self.skill, self._settled)
        scores = -points[:, 0]
        skilled = points[scores > self.skill.threshold]
        if not len(skilled):
            return None
        front = skilled[non_dominated(skilled)]
        low, high = front.min(axis=0), front.max(axis=0)
        width = np.maximum(high - low, MIN_WIDTH)
        width[0] = max(scores.max() - self.skill.threshold, self.skill.small_gain) / REFERENCE
        z = (points - low) / width
        before = max(0, len(z) - max(MIN_RECENT, int(RECENT * len(z))))
        reference = (REFERENCE,) * 3
        gain = hypervolume(z, reference) - (hypervolume(z[:before], reference) if before else 0.0)
        z[:, 0] += np.array([self.margin(score) for score in scores]) / width[0]
        rivals = z[(z < REFERENCE).all(axis=1)]
        rivals = rivals[non_dominated(rivals)]
        lows, highs = undominated_boxes(rivals[thin(rivals, FRONT_ROWS)], REFERENCE)
        since = complete[before - 1].finish_order if before else (-2, 0)
        return _Progress(float(scores.max()), low, width, lows, highs, gain, since)


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
