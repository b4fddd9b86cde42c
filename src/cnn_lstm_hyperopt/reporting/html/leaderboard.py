"""Leaderboard of finalists and baselines on the test set, with intervals."""

import math
from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.reporting.html.study_files import Content

FIGURES = {
    **{each.key: (each.column, f"{{:{each.digits}}}") for each in METRICS.values()},
    "test_calibration_error": ("calib. error", "{:.3f}"),
    "test_reg_mse": ("MSE", "{:.4g}"),
}
"""Title and format of each column other than the score."""


def leaderboard(content: Content) -> dict[str, Any]:
    """Return the rows, the titles of the other columns by key, and the range of the axis of the intervals.

    The first row is the model of the verdict; the others follow, the best first.
    """
    results = content.results
    score = "test_class_acc" if content.skill.metric == "accuracy" else "test_score"  # what the study maximises
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
        note = f"of {len(ensemble.get('members') or ())} members"
        rows.append(row("ensemble", ensemble, note=note, validation=ensemble.get("validation_score")))
    rows += [row(each["name"], each, kind="baseline") for each in results.get("baselines") or []]
    ends = [end for each in rows for end in (*(each["interval"] or ()), each["score"]) if end is not None]
    of_verdict = f"model {(results.get('verdict') or {}).get('model_rank')}"
    margin = 0.05 * max(max(ends) - min(ends), 0.01) if ends else 0.0
    return {
        "rows": sorted(rows, key=lambda each: (each["name"] != of_verdict, _descending(each["score"]))),
        "figures": {
            key: figure
            for key, figure in FIGURES.items()
            if key != score and any(each["metrics"].get(key) is not None for each in rows)
        },
        "axis": (min(ends) - margin, max(ends) + margin) if ends else None,
        "ensemble": bool(ensemble),
    }


def _descending(score: float | None) -> float:
    """Return a key that sorts larger scores first and unknown scores last."""
    return math.inf if score is None else -score
