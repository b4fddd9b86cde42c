"""What pruning did, in a few lines."""

from collections.abc import Mapping, Sequence

from cnn_lstm_hyperopt.search import StudyPlan, TrialRecord, hypervolume_history
from cnn_lstm_hyperopt.search.pareto_front import milestone_at
from cnn_lstm_hyperopt.search.pruning_stats import PruningSummary, Unknown, pruning_summary
from cnn_lstm_hyperopt.utils.text import counted, seconds_text

ALMOST = 0.9
"""Share of the final hypervolume; when it was reached says whether the search could have been shorter."""


def search_lines(records: Sequence[TrialRecord], plan: StudyPlan) -> list[str]:
    """What pruning did, what it saved and may have cost, and how soon the front was almost there."""
    lines = pruning_lines(pruning_summary(records, plan.skill, max_epochs=plan.max_epochs, seed=plan.seed))
    step = milestone_at(hypervolume_history(records, plan.skill), ALMOST)
    if step is not None:
        trials, seconds = counted(step.trials, "trial"), seconds_text(step.seconds)
        lines.append(f"Hypervolume: {ALMOST:.0%} of it after {trials} and {seconds} of training.")
    return lines


def pruning_lines(summary: PruningSummary) -> list[str]:
    """A line on what was pruned and, where the pruner acted, one on what it saved and one on what it may have cost."""
    lines = [f"Pruned: {pruned_text(summary.pruned_by)}."]
    saved, wrongly = summary.seconds_saved, summary.false_prunes
    share = wrongly.share
    if summary.ended_by_pruner and isinstance(saved, Unknown):
        lines.append(f"  Training saved: not known, {saved.why}.")
    elif summary.ended_by_pruner and not isinstance(saved, Unknown):
        whole = summary.seconds_spent + saved.value
        part = saved.value / whole if whole > 0 else 0.0
        value, low, high = map(seconds_text, saved)
        lines.append(f"  Training saved: {value} ({low} to {high}), {part:.0%} of that without pruning.")
    if not isinstance(share, Unknown):
        spared = counted(wrongly.would_have_ended, "spared trial")
        value, low, high = (f"{figure:.0%}" for figure in share)
        lines.append(f"  Wrongly pruned: {value} ({low} to {high}): {wrongly.on_front:,} of {spared} made the front.")
    elif summary.ended_by_pruner:
        lines.append(f"  Wrongly pruned: not known, {share.why}.")
    return lines


def pruned_text(pruned_by: Mapping[str, int]) -> str:
    """``31 by front, 4 by limit``: what ended the PRUNED trials."""
    causes = sorted((-n, cause) for cause, n in pruned_by.items())
    return ", ".join(f"{-n:,} by {cause}" for n, cause in causes) or "no trial"
