"""Leaderboard of finalists and baselines on the test set, with intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from cnn_lstm_hyperopt.evaluation import level_text
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE
from cnn_lstm_hyperopt.pipeline.results.ensemble import ensemble_text, weights_text
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.utils.text import counted

FIGURES = {
    **{each.key: (each.column, f"{{:{each.digits}}}") for each in METRICS.values()},
    "test_calibration_error": ("calib. error", "{:.3f}"),
    "test_reg_r2": ("R²", "{:+.3f}"),
}
"""Title and number format of each column of the leaderboard except the score."""


def leaderboard(content: Content) -> dict[str, Any]:
    """Return the leaderboard: its rows, the titles of its columns, and the range of the axis on which intervals are drawn.

    The first row is the model that the verdict is about. The other rows are sorted by score, the best first.
    """
    results = content.results
    verdict = results.get("verdict") or {}
    metric = METRICS[verdict.get("metric") or content.skill.metric]
    tested = [each["test_metrics"] for each in (*content.models, *(results.get("baselines") or []))]
    # results of an earlier version have intervals of the accuracy and of the study's metric only
    has_intervals = all(f"{metric.key}_interval" in each for each in tested)
    score, title = (metric.key, metric.label) if has_intervals else ("test_score", metric.words)
    sign = 1 if has_intervals and metric.lower_is_better else -1
    candidates = (results.get("confirmation") or {}).get("candidates") or []
    confirmed = {entry["trial_number"]: entry.get("mean") for entry in candidates}

    def row(name: str, entry: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        metrics = entry["test_metrics"]
        found = {"score": metrics.get(score), "interval": metrics.get(f"{score}_interval")}
        return {"name": name, "kind": "model", "note": "", "validation": None, "metrics": metrics, **found, **more}

    rows = []
    for entry in content.models:
        trial = entry["trial_number"]
        rows.append(row(f"model {entry['model_rank']}", entry, note=f"trial {trial}", validation=confirmed.get(trial)))
    ensemble = results.get("ensemble")
    if ensemble:
        note = f"of {counted(len(ensemble.get('members') or ()), 'member')}"
        rows.append(row("ensemble", ensemble, note=note, validation=ensemble.get("validation_score")))
    rows += [row(each["name"], each, kind="baseline") for each in results.get("baselines") or []]
    ends = [end for each in rows for end in (*(each["interval"] or ()), each["score"]) if end is not None]
    of_verdict = f"model {verdict.get('model_rank')}"
    margin = 0.05 * max(max(ends) - min(ends), 0.01) if ends else 0.0
    return {
        "rows": sorted(rows, key=lambda each: (each["name"] != of_verdict, _order(each["score"], sign))),
        "title": title,
        "validation": f"validation: {content.skill.words}",
        "level": level_text(verdict.get("level", CONFIDENCE)),
        "figures": {
            key: figure
            for key, figure in FIGURES.items()
            if key != score and any(each["metrics"].get(key) is not None for each in rows)
        },
        "axis": (min(ends) - margin, max(ends) + margin) if ends else None,
        "ensemble": f"{ensemble_text(ensemble)}; {weights_text(ensemble)}" if ensemble else None,
        "regression": _regression(rows, of_verdict),
    }


def _regression(rows: Sequence[Mapping[str, Any]], of_verdict: str) -> str | None:
    """Return a sentence about the R² of the model of the verdict, with interval and reference; None without regression."""
    metrics: Mapping[str, Any] = next((each["metrics"] for each in rows if each["name"] == of_verdict), {})
    if metrics.get("test_reg_r2") is None:
        known = metrics.get("test_reg_mse") is not None and "test_reg_r2" in metrics
        return f"{of_verdict.capitalize()}: –, because a simple forecast has almost no error." if known else None
    interval = metrics["test_reg_r2_interval"]
    between = "" if interval is None else f" (interval {interval[0]:+.3f} to {interval[1]:+.3f})"
    value, reference = metrics["test_reg_r2"], metrics["test_reg_r2_reference"]
    return f"{of_verdict.capitalize()} has an R² of {value:+.3f}{between} against {reference}."


def _order(score: float | None, sign: int) -> float:
    """Return a sort key for scores. The key sorts ``sign`` times the score in increasing order, and unknown scores last."""
    return math.inf if score is None else sign * score
