"""The part of ``results.json`` about the search."""

import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from cnn_lstm_hyperopt.config import SearchSpace, readable
from cnn_lstm_hyperopt.pareto import with_row
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    State,
    StudyPlan,
    TrialRecord,
    Values,
    above_chance,
    front_hypervolume,
    hypervolume_history,
    named_picks,
    reported_front,
    with_fixed,
)
from cnn_lstm_hyperopt.search.constraints import nearest_infeasible
from cnn_lstm_hyperopt.search.pruning_audit import Verdict
from cnn_lstm_hyperopt.search.pruning_stats import Estimate, PruningSummary, Unknown, pruning_summary

if TYPE_CHECKING:  # this module imports torch (1 to 2 seconds), which ``status`` does not need
    from cnn_lstm_hyperopt.training.cost_model import CostModel

_PACKAGES = ("cnn-lstm-hyperopt", "torch", "optuna", "numpy", "pandas", "scikit-learn")


def search_results(
    study_name: str, records: Sequence[TrialRecord], skill: SkillThreshold, space: SearchSpace
) -> dict[str, Any]:
    """Return the part of ``results.json`` about the search: study, number of trials, best trials, history and timestamp."""
    return {
        "study_name": study_name,
        "n_trials_completed": sum(record.finished for record in records),
        "best_trials": [
            {
                "trial_number": record.number,
                "values": list(record.values) if record.values else None,
                "params": readable(with_fixed(space, record.params)),
                "rank": rank,
                "above_chance": above_chance(record, skill),
            }
            for rank, record in enumerate(reported_front(records, skill), start=1)
        ],
        "optimization_history": _history(records, skill),
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def search_facts(records: Sequence[TrialRecord], plan: StudyPlan) -> dict[str, Any]:
    """Return facts about the search.

    These are the metric, named trials of the front, counts of trials by state, pruning results, skill threshold and hypervolume.

    The entry ``training_seconds`` is measured if possible. All other seconds are values of the study's time objective.
    """
    skill = plan.skill
    volume, reference = front_hypervolume(records, skill)
    counts = Counter(record.state.value for record in records)
    summary = pruning_summary(records, plan.skill, max_epochs=plan.max_epochs, seed=plan.seed, pruner=plan.pruner.type)
    return {
        "metric": plan.metric,
        "picks": _picks(records, skill),
        "constraints": _constraints(records, plan),
        "counts": {state.value: counts[state.value] for state in State},
        "pruned_by": summary.pruned_by,
        "training_seconds": sum(record.attributes.get("measured_seconds", record.seconds) for record in records),
        "pruning": _pruning_facts(summary),
        "skill_gate": {**asdict(skill), "threshold": skill.threshold},
        "hypervolume": {
            "value": volume,
            "reference": reference,
            "space": [skill.words, "ln seconds", "ln MB"],
            "history": [
                {"trials": step.trials, "seconds": step.seconds, "value": step.hypervolume}
                for step in hypervolume_history(records, skill)
            ],
        },
    }


def _picks(records: Sequence[TrialRecord], skill: SkillThreshold) -> dict[str, int] | None:
    """Return the numbers of the named trials of the front by name; None without a front."""
    picks = named_picks(reported_front(records, skill))
    return None if picks is None else {name: record.number for name, record in picks._asdict().items()}


def _constraints(records: Sequence[TrialRecord], plan: StudyPlan) -> dict[str, Any] | None:
    """Return the bounds, and which complete trials break which bound; None for a study without measured constraints."""
    if not plan.constraints:
        return None
    complete = [record for record in records if record.values is not None]
    nearest = nearest_infeasible(records)
    return {
        "bounds": dict(plan.constraints),
        "feasible": sum(record.feasible for record in complete),
        "infeasible": [
            {
                "trial_number": record.number,
                "broken": {name: value for name, (value, bound) in record.constraints.items() if value > bound},
            }
            for record in complete
            if not record.feasible
        ],
        "nearest": None if nearest is None else nearest.number,
    }


def _pruning_facts(summary: PruningSummary) -> dict[str, Any]:
    false_prunes = summary.false_prunes
    return {
        "pruned_by": summary.pruned_by,
        "seconds_spent": summary.seconds_spent,
        "seconds_saved": _figure(summary.seconds_saved),
        "wrongly_pruned": {
            **_figure(false_prunes.share),
            "exempt_would_have_ended": false_prunes.would_have_ended,
            "of_these_on_front": false_prunes.on_front,
        },
        "exempt": summary.exempt,
        "audit": _audit_facts(summary),
    }


def _audit_facts(summary: PruningSummary) -> dict[str, Any]:
    """Return the entry of the audit; ``prunes`` is null if the audit does not switch the pruner on and off."""
    audit = summary.audit
    low, high = audit.bounds
    prunes = audit.verdict is Verdict.PAYS if summary.audited else None
    return {
        **audit._asdict(),
        "lost_share_low": low,
        "lost_share_high": high,
        "verdict": audit.verdict.value,
        "prunes": prunes,
    }


def _figure(figure: Estimate | Unknown) -> dict[str, Any]:
    """Return the entry of a value that may be unknown.

    If the value is known, ``why`` is null. If the value is unknown, ``estimate`` is null.
    """
    if isinstance(figure, Unknown):
        return {"estimate": None, "low": None, "high": None, "why": figure.why}
    return {"estimate": figure.value, "low": figure.low, "high": figure.high, "why": None}


def cost_model_facts(speeds: "CostModel", records: Sequence[TrialRecord], max_epochs: int) -> dict[str, Any]:
    """Return the source of the predicted speeds, and quantiles of the measured divided by the predicted training seconds."""
    ratios = []
    for record in records:
        predicted, epochs = record.attributes.get("estimated_seconds"), float(record.attributes.get("epochs") or 0.0)
        if record.finished and predicted is not None and predicted * epochs > 0:
            ratios.append(record.attributes["measured_seconds"] / (predicted * epochs / max_epochs))
    low, median, high = (float(q) for q in np.quantile(ratios, (0.1, 0.5, 0.9))) if ratios else (None, None, None)
    return {
        "device": speeds.device,
        "measured": speeds.measured,
        "measured_to_predicted": {"trials": len(ratios), "p10": low, "median": median, "p90": high},
    }


def environment(device: str, seed: int) -> dict[str, Any]:
    """Return the facts on which results depend: versions of libraries, device and seed."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version(name) for name in _PACKAGES},
        "device": device,
        "seed": seed,
    }


def _history(records: Sequence[TrialRecord], skill: SkillThreshold) -> list[dict[str, Any]]:
    """Return a row for each finished trial: its state and values, and the best feasible score and size of the front so far.

    The key of the best score contains the name of the objective, such as ``best_accuracy`` or ``best_negative_log_loss``.
    """
    rows: list[dict[str, Any]] = []
    best: float | None = None
    front: list[tuple[float, float, float]] = []
    below: list[tuple[float, float, float]] = []
    for record in records:
        if not record.finished:
            continue
        if record.values is not None and record.feasible:
            best = record.values.score if best is None else max(best, record.values.score)
            if skill.passes(record.values.score):
                front = with_row(front, _losses(record.values))
            else:
                below = with_row(below, _losses(record.values))
        rows.append(
            {
                "trial_number": record.number,
                "state": record.state.value,
                "values": list(record.values) if record.values else None,
                f"best_{skill.objective}": best,
                "front_size": len(front or below),
            }
        )
    return rows


def _losses(values: Values) -> tuple[float, float, float]:
    return -values.score, values.seconds, values.size_mb
