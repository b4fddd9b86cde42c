"""The pruner ``median``: the median rule (Golovin et al. 2017, Google Vizier, section 3.2), extended to three objectives."""

import statistics
from collections.abc import Sequence

from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search.pareto_front import ranked_front
from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord, selected


class MedianPruner(Pruner):
    """Pruner that ends a trial if its score is below the median of other trials *and* a trial of the front dominates it.

    A rule with the median alone would end small, fast models, because large models are more accurate. So a trial below the median
    ends only if a member of the front dominates the trial at the same epoch: the member is no worse in score, seconds and MB, and
    better in one of the three. Therefore, of the trials above the skill threshold at that epoch, those with the best score, the
    fewest seconds and the fewest MB continue. Differences in score below half a standard error are ignored.

    A trial below the skill threshold after the warm-up ends even if no trial dominates it, since a small, fast model at chance is
    useless. A long warm-up avoids false prunes of trials that learn slowly at first; the pruner ``none`` has no false prunes.
    """

    name, place = "median", 0
    description = "ends trials below the median that are dominated or not above chance"
    uses = ("n_startup_trials", "n_warmup_steps", "interval_steps")

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._front: tuple[list[int], list[TrialRecord]] = ([], [])

    def acts(self, curve: Sequence[Point]) -> bool:
        """Return True at every ``interval_steps``-th full epoch after the warm-up; the pruner decides only at these epochs."""
        epoch, after = int(curve[-1].epoch), self.settings.n_warmup_steps
        return epoch == curve[-1].epoch and epoch > after and (epoch - 1 - after) % self.settings.interval_steps == 0

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        complete = [other for other in others if other.state is State.COMPLETE]
        if not self.acts(trial.curve) or len(complete) < max(1, self.settings.n_startup_trials):
            return None
        epoch = int(trial.curve[-1].epoch)
        best = max(point.score for point in trial.curve)
        median = statistics.median(_score_at(other, epoch) for other in complete)
        if best >= median - self.margin(median):
            return None
        below = f"best {self.skill.words} so far {best:.4f} is below the median {median:.4f} at epoch {epoch}"
        if not self.skill.passes(best):
            return f"median: {below} and not above chance (needs {self.skill.threshold:.4f})"
        front = self._front_of(complete)
        dominated_by = next((other.number for other in front if self._dominates(other, trial, best, epoch)), None)
        return (
            None if dominated_by is None else f"median: {below}, and trial {dominated_by} is no worse in any objective"
        )

    def inactive_because(self) -> str | None:
        first, max_epochs = self.settings.n_warmup_steps + 1, self.plan.max_epochs
        if first >= max_epochs:  # pruning after the last epoch saves nothing
            return (
                f"pruner.n_warmup_steps={self.settings.n_warmup_steps} leaves no epoch before the last of"
                f" training.max_epochs={max_epochs}: no trial will be pruned; lower it"
            )
        return self._endless_startup()

    def _front_of(self, complete: list[TrialRecord]) -> list[TrialRecord]:
        """Return the front; the result is cached until another trial completes."""
        numbers = [record.number for record in complete]
        if self._front[0] != numbers:
            self._front = (numbers, ranked_front(complete, self.skill))
        return self._front[1]

    def _dominates(self, other: TrialRecord, trial: TrialRecord, best: float, epoch: int) -> bool:
        """Return whether ``other`` dominates ``trial``; both are compared after ``epoch`` epochs."""
        at_epoch = selected(other.curve, epoch)
        if at_epoch is None:
            return False
        seconds = max(point.seconds for point in other.curve if point.epoch <= epoch)
        lower_score = at_epoch.score - self.margin(at_epoch.score)
        return dominates((-lower_score, seconds, other.size_mb), (-best, trial.curve[-1].seconds, trial.size_mb))


def _score_at(trial: TrialRecord, epoch: int) -> float:
    """Return the score of a trial after ``epoch``; for a shorter trial, return the last score."""
    return next((p.score for p in reversed(trial.curve) if p.epoch <= epoch), trial.curve[0].score)
