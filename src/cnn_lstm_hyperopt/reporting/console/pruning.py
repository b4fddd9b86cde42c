"""Terminal lines about the pruned trials of a search."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.search import TrialRecord, hypervolume_history
from cnn_lstm_hyperopt.search.pareto_front import milestone_at
from cnn_lstm_hyperopt.search.pruning_audit import Audit, Verdict
from cnn_lstm_hyperopt.search.pruning_stats import PruningSummary, Unknown, pruning_summary
from cnn_lstm_hyperopt.utils.text import counted, seconds_text

if TYPE_CHECKING:  # this module imports Optuna, which ``status`` does not need
    from cnn_lstm_hyperopt.search import StudyPlan

STATES = {Verdict.PAYS: "on, it pays", Verdict.UNKNOWN: "off, unproven", Verdict.HARMS: "off, harmful"}
"""State of a pruner that an audit switches on and off, by verdict, with the reason."""
ALMOST = 0.9
"""Share of the final hypervolume. A line names the trial at which the search reached this share."""


def search_lines(records: Sequence[TrialRecord], plan: "StudyPlan") -> list[str]:
    """Return lines about pruning, and about the trial at which the search reached most of its final hypervolume."""
    summary = pruning_summary(records, plan.skill, max_epochs=plan.max_epochs, seed=plan.seed, pruner=plan.pruner.type)
    lines = pruning_lines(summary)
    step = milestone_at(hypervolume_history(records, plan.skill), ALMOST)
    if step is not None:
        trials, seconds = counted(step.trials, "trial"), seconds_text(step.seconds)
        lines.append(f"Hypervolume: {ALMOST:.0%} reached after {trials} and {seconds} of training.")
    return lines


def pruning_lines(summary: PruningSummary) -> list[str]:
    """Return a line about the pruned trials.

    If the pruner ended trials, also return lines about saved time and false prunes. If an audit switches the pruner on and off,
    also return a line that says whether the pruner is on, and why.
    """
    lines = [f"Pruned: {pruned_text(summary.pruned_by)}."]
    saved, false = summary.seconds_saved, summary.false_prunes
    share = false.share
    if summary.ended_by_pruner and isinstance(saved, Unknown):
        lines.append(f"  Training saved: unknown, {saved.why}.")
    elif summary.ended_by_pruner and not isinstance(saved, Unknown):
        whole = summary.seconds_spent + saved.value
        part = saved.value / whole if whole > 0 else 0.0
        value, low, high = map(seconds_text, saved)
        lines.append(f"  Training saved: {value} ({low} to {high}), {part:.0%} of that without pruning.")
    if not isinstance(share, Unknown):
        control = counted(false.would_have_ended, "control trial")
        value, low, high = (f"{figure:.0%}" for figure in share)
        lines.append(f"  False prunes: {value} ({low} to {high}): {false.on_front:,} of {control} on the front.")
    elif summary.ended_by_pruner:
        lines.append(f"  False prunes: unknown, {share.why}.")
    if summary.audited and summary.audit.would_have_ended:
        lines.append(f"  Pruning is {_audited(summary.audit)} on the front.")
    return lines


def _audited(audit: Audit) -> str:
    saves = f"saves {audit.seconds_saved:.0%} of the time"
    return f"{STATES[audit.verdict]}: {saves}, loses {audit.lost:,} of {audit.on_front:,}"


def pruned_text(pruned_by: Mapping[str, int]) -> str:
    """Return as text how many trials were pruned for each reason, such as ``31 by front, 4 by limit``."""
    causes = sorted((-n, cause) for cause, n in pruned_by.items())
    return ", ".join(f"{-n:,} by {cause}" for n, cause in causes) or "no trial"
