"""The pruner ``successive_halving``: asynchronous halving (Li et al. 2020, arXiv 1810.05934), extended to three objectives."""

import math
from collections.abc import Sequence

import numpy as np

from cnn_lstm_hyperopt.pareto import hypervolume_contributions, non_dominated
from cnn_lstm_hyperopt.search.learning_curves import projected_seconds, smoothed_score, up_to
from cnn_lstm_hyperopt.search.pruners.base import Pruner, extreme_in
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord

Losses = tuple[float, float, float]


class SuccessiveHalvingPruner(Pruner):
    """Pruner that lets one in ``reduction_factor`` trials continue at each rung. Rungs are epochs that grow geometrically.

    Rung k (k = 0, 1, …) is at min_resource · η^(s + k) epochs, with η = ``reduction_factor`` and s = ``min_early_stopping_rate``.
    At its first report at or above a rung, a trial is compared with all earlier trials at this rung. Trials are ordered by
    non-dominated rank of (smoothed score, projected seconds of all epochs, MB), and within a rank by hypervolume contribution.
    Trials below the skill threshold come last, ordered by score. The score of the reporting trial is raised by half a standard
    error, so that noise alone does not end the trial. Of the trials above the skill threshold, the trial with the best score, the
    fastest trial and the smallest trial always continue.

    If all trials have equal seconds and MB, this pruner makes the same decisions as Optuna's SuccessiveHalvingPruner. Trials are
    then ordered by score alone, and of the first η − 1 trials at a rung the best continues.
    """

    name, place = "successive_halving", 1
    description = "continues only the best share of trials at each rung"
    uses = ("min_resource", "reduction_factor", "min_early_stopping_rate")

    compares_running = True

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._rung_losses: dict[tuple[int, int], Losses] = {}

    def height(self, rung: int) -> float:
        """Return the number of epochs of a rung."""
        factor = self.settings.reduction_factor
        return float(self.settings.min_resource * factor ** (self.settings.min_early_stopping_rate + rung))

    def rung(self, epoch: float) -> int:
        """Return the number of the highest rung at or below an epoch; −1 if the epoch is below all rungs."""
        rung = -1
        while self.height(rung + 1) <= epoch:
            rung += 1
        return rung

    def acts(self, curve: Sequence[Point]) -> bool:
        """Return whether the last point of the curve is the trial's first report at or above a rung."""
        rung = self.rung(curve[-1].epoch)
        return rung >= 0 and (len(curve) < 2 or self.rung(curve[-2].epoch) < rung)

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        if not self.acts(trial.curve):
            return None
        rung = self.rung(trial.curve[-1].epoch)
        loss, seconds, size = self._losses(trial, trial.curve)
        mine = (loss - self.margin(-loss), seconds, size)
        judged = [losses for other in others if (losses := self._losses_at(other, rung)) is not None]
        skilled = [losses for losses in judged if self.skill.passes(-losses[0])]
        promoted = max(1, (len(judged) + 1) // self.settings.reduction_factor)
        if not self.skill.passes(-loss):
            better_unskilled = sum(losses[0] < mine[0] for losses in judged if not self.skill.passes(-losses[0]))
            place = len(skilled) + better_unskilled
        elif extreme_in((loss, seconds, size), skilled):
            return None
        else:
            place = place_among(mine, skilled, promoted)
        if place < promoted:
            return None
        return (
            f"successive_halving: at the rung of epoch {self.height(rung):g}, {promoted} of {len(judged) + 1} trials continue,"
            f" and at least {place} are better than this one"
        )

    def inactive_because(self) -> str | None:
        lowest = self.height(0)
        if lowest >= self.plan.max_epochs:
            return (
                f"the lowest rung of successive halving is at {lowest:g} epochs, but training.max_epochs={self.plan.max_epochs}:"
                " no trial will be pruned; lower pruner.min_resource or min_early_stopping_rate"
            )
        return None

    def _losses_at(self, other: TrialRecord, rung: int) -> Losses | None:
        """Return the losses with which a trial was compared at a rung; None if the trial was never compared at this rung."""
        if other.state is State.FAIL:
            return None
        key = (other.number, rung)
        if key not in self._rung_losses:
            first = next((p for p in other.curve if self.height(rung) <= p.epoch < self.height(rung + 1)), None)
            if first is None:
                return None
            self._rung_losses[key] = self._losses(other, up_to(other.curve, first.epoch))
        return self._rung_losses[key]

    def _losses(self, trial: TrialRecord, curve: Sequence[Point]) -> Losses:
        seconds = projected_seconds(curve, self.plan.max_epochs)
        return -smoothed_score(curve, curve[-1].epoch), math.log(max(seconds, 1e-3)), math.log(trial.size_mb)


def place_among(mine: Losses, others: Sequence[Losses], enough: int) -> int:
    """Return the number of ``others`` that come before ``mine`` in the order of a rung; counting stops at ``enough``."""
    rows = np.array([mine, *others])
    left = np.arange(len(rows))
    place = 0
    while place < enough:
        on_front = non_dominated(rows[left])
        front = left[on_front]
        if front[0] == 0:
            scale = np.ptp(rows[front], axis=0)
            scaled = (rows[front] - rows[front].min(axis=0)) / np.where(scale > 0, scale, 1.0)
            shares = hypervolume_contributions(scaled, (1.1, 1.1, 1.1))
            return place + int((shares > shares[0]).sum())
        place += len(front)
        left = left[~on_front]
    return place
