"""The median rule (Golovin et al. 2017, Google Vizier, section 3.2), carried over to three objectives."""

import statistics
from collections.abc import Sequence

from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search.pareto_front import ranked_front
from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord, selected


class MedianPruner(Pruner):
    """Ends a trial that is below the median in score *and* beaten in all three objectives.

    The median alone would end a small, fast model because large ones are more accurate. So below the median a trial must also be
    beaten by a member of the front, compared at the same epoch: no worse in score, no slower, no larger, and better in one.
    What is, at that epoch, the best in score, the fastest or the smallest of the skilled trials is never beaten. Differences in
    score count from half a standard error on.

    A trial that after warm-up has still not passed the threshold has no such protection: being small and fast is no merit of a
    model that has learnt nothing. How early a curve is judged is thus the warm-up's to say; a trial that would have caught up
    later is the price of stopping early, and ``none`` does not pay it.
    """

    name, place = "median", 0
    description = "ends trials below the median that are dominated or not above chance"
    uses = ("n_startup_trials", "n_warmup_steps", "interval_steps")

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self._front: tuple[list[int], list[TrialRecord]] = ([], [])

    def acts(self, curve: Sequence[Point]) -> bool:
        """After the warm-up, at every ``interval_steps``-th whole epoch: within the first there is nothing to compare with."""
        epoch, after = int(curve[-1].epoch), self.settings.n_warmup_steps
        return epoch == curve[-1].epoch and epoch > after and (epoch - 1 - after) % self.settings.interval_steps == 0

    def reason_to_prune(self, trial: TrialRecord, others: Sequence[TrialRecord]) -> str | None:
        """See the base class."""
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
        beaten_by = next((other.number for other in front if self._beats(other, trial, best, epoch)), None)
        return None if beaten_by is None else f"median: {below}, and trial {beaten_by} is no worse in any objective"

    def inactive_because(self) -> str | None:
        """See the base class."""
        first, max_epochs = self.settings.n_warmup_steps + 1, self.plan.max_epochs
        if first >= max_epochs:  # after the last epoch there is nothing left to save
            return (
                f"pruner.n_warmup_steps={self.settings.n_warmup_steps} leaves no epoch before the last of"
                f" training.max_epochs={max_epochs}: no trial will be pruned; lower it"
            )
        if self.settings.n_startup_trials >= self.plan.n_trials:
            return (
                f"pruner.n_startup_trials={self.settings.n_startup_trials} is not below study.n_trials={self.plan.n_trials}:"
                " no trial will be pruned; lower it"
            )
        return None

    def _front_of(self, complete: list[TrialRecord]) -> list[TrialRecord]:
        """The same until another trial completes."""
        numbers = [record.number for record in complete]
        if self._front[0] != numbers:
            self._front = (numbers, ranked_front(complete, self.skill))
        return self._front[1]

    def _beats(self, other: TrialRecord, trial: TrialRecord, best: float, epoch: int) -> bool:
        """Whether ``other`` dominated ``trial`` when both had run this many epochs."""
        at_epoch = selected(other.curve, epoch)
        if at_epoch is None:
            return False
        seconds = max(point.seconds for point in other.curve if point.epoch <= epoch)
        surely = at_epoch.score - self.margin(at_epoch.score)
        return dominates((-surely, seconds, other.size_mb), (-best, trial.curve[-1].seconds, trial.size_mb))


def _score_at(trial: TrialRecord, epoch: int) -> float:
    """Score after this epoch; of a trial that had ended by then, its last."""
    return next((p.score for p in reversed(trial.curve) if p.epoch <= epoch), trial.curve[0].score)
