"""The median rule (Golovin et al. 2017, Google Vizier, section 3.2), carried over to three objectives."""

import statistics
from collections.abc import Sequence

from cnn_lstm_hyperopt.pareto import dominates
from cnn_lstm_hyperopt.search.pruners.base import Pruner
from cnn_lstm_hyperopt.search.trial import TrialRecord, selected


class MedianPruner(Pruner):
    """Ends a trial that is below the median in accuracy *and* beaten in all three objectives.

    The median alone would end a small, fast model because large ones are more accurate. So below the median a trial must also be
    beaten by a member of the front, compared at the same epoch: no less accurate, no slower, no larger, and better in one. What
    is, at that epoch, the most accurate, the fastest or the smallest of the skilled trials is never beaten.

    A trial that after the warm-up has still not passed the gate has no such protection: being small and fast is no merit of a
    model that has learnt nothing. How early a curve is judged is thus the warm-up's to say; a trial that would have caught up
    later is the price of stopping early, and ``none`` does not pay it.
    """

    def reason_to_prune(
        self, trial: TrialRecord, complete: Sequence[TrialRecord], front: Sequence[TrialRecord]
    ) -> str | None:
        """See the base class."""
        epoch = int(trial.curve[-1].epoch)
        if epoch != trial.curve[-1].epoch:
            return None  # within the first epoch there is nothing to compare with
        warmup, interval = self.settings.n_warmup_steps, self.settings.interval_steps
        if len(complete) < max(1, self.settings.n_startup_trials):
            return None
        if epoch <= warmup or (epoch - 1 - warmup) % interval:
            return None
        best = max(point.accuracy for point in trial.curve)
        median = statistics.median(_accuracy_at(other, epoch) for other in complete)
        if best >= median:
            return None
        below = f"best accuracy so far {best:.4f} is below the median {median:.4f} at epoch {epoch}"
        if not self.gate.passes(best):
            return f"median: {below} and not above chance (needs {self.gate.threshold:.4f})"
        beaten_by = next((other.number for other in front if _beats(other, trial, best, epoch)), None)
        return None if beaten_by is None else f"median: {below}, and trial {beaten_by} is no worse in any objective"

    def inactive_because(self, *, n_trials: int, max_epochs: int) -> str | None:
        """See the base class."""
        first = self.settings.n_warmup_steps + 1
        if first >= max_epochs:  # after the last epoch there is nothing left to save
            return (
                f"pruner.n_warmup_steps={self.settings.n_warmup_steps} leaves no epoch before the last of"
                f" training.max_epochs={max_epochs}: no trial will be pruned; lower it"
            )
        if self.settings.n_startup_trials >= n_trials:
            return (
                f"pruner.n_startup_trials={self.settings.n_startup_trials} is not below study.n_trials={n_trials}:"
                " no trial will be pruned; lower it"
            )
        return None


def _accuracy_at(trial: TrialRecord, epoch: int) -> float:
    """Accuracy after this epoch; of a trial that had ended by then, its last."""
    return next((p.accuracy for p in reversed(trial.curve) if p.epoch <= epoch), trial.curve[0].accuracy)


def _beats(other: TrialRecord, trial: TrialRecord, best: float, epoch: int) -> bool:
    """Whether ``other`` dominated ``trial`` when both had run this many epochs."""
    at_epoch = selected(other.curve, epoch)
    if at_epoch is None:
        return False
    seconds = max(point.seconds for point in other.curve if point.epoch <= epoch)
    theirs = (-at_epoch.accuracy, seconds, other.size_mb)
    ours = (-best, trial.curve[-1].seconds, trial.size_mb)
    return dominates(theirs, ours)
