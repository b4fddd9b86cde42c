"""Finalists beside the baselines, with intervals, as they are shown."""

import math
from collections.abc import Mapping
from typing import Any

from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.reporting.html.study_files import Content

FIGURES = (
    *((each.key, each.column, f"{{:{each.digits}}}") for each in METRICS.values()),
    ("test_calibration_error", "calib. error", "{:.3f}"),
    ("test_reg_mse", "MSE", "{:.4g}"),
)


def leaderboard(content: Content) -> dict[str, Any]:
    """Rows with their figures, and each interval's place, in per cent, on an axis that all rows share."""
    results = content.results
    confirmed = {
        entry["trial_number"]: entry.get("mean")
        for entry in (results.get("confirmation") or {}).get("candidates") or []
    }
    entries = [
        {
            "name": f"model {entry['model_rank']}",
            "kind": "model",
            "note": f"trial {entry['trial_number']}",
            "validation": confirmed.get(entry["trial_number"]),
            "metrics": entry["test_metrics"],
        }
        for entry in content.models
    ]
    if ensemble := results.get("ensemble"):
        members = len(ensemble.get("members") or ())
        entries.append(
            {
                "name": "ensemble",
                "kind": "model",
                "note": f"of {members} members",
                "validation": ensemble.get("validation_score"),
                "metrics": ensemble["test_metrics"],
            }
        )
    entries += [
        {"name": each["name"], "kind": "baseline", "note": "", "validation": None, "metrics": each["test_metrics"]}
        for each in results.get("baselines") or []
    ]
    score = "test_class_acc" if content.gate.metric == "accuracy" else "test_score"
    axis = _axis([entry["metrics"] for entry in entries], score)
    columns = [figure for figure in FIGURES if figure[0] != score]
    known = [figure for figure in columns if any(entry["metrics"].get(figure[0]) is not None for entry in entries)]
    rows = [_row(entry, axis, known, score) for entry in sorted(entries, key=lambda each: _order(each, score))]
    return {
        "rows": rows,
        "figures": [title for _, title, _ in known],
        "axis": axis and [f"{end:.3g}" for end in axis],
        "ensemble": bool(ensemble),
    }


def _order(entry: Mapping[str, Any], score: str) -> float:
    """Best first, those without a score last."""
    found = entry["metrics"].get(score)
    return math.inf if found is None else -float(found)


def _axis(metrics: list[Mapping[str, Any]], score: str) -> tuple[float, float] | None:
    ends = [end for each in metrics for end in each.get(f"{score}_interval") or ()]
    ends += [each[score] for each in metrics if each.get(score) is not None]
    if not ends:
        return None
    margin = 0.05 * max(max(ends) - min(ends), 0.01)
    return min(ends) - margin, max(ends) + margin


def _row(
    entry: Mapping[str, Any], axis: tuple[float, float] | None, known: list[tuple[str, str, str]], score: str
) -> dict[str, Any]:
    metrics = entry["metrics"]
    value, interval = metrics.get(score), metrics.get(f"{score}_interval")
    against = metrics.get("difference_to_best_baseline_interval")
    bar = None
    if axis is not None and interval is not None and value is not None:
        bar = _places(axis, low=interval[0], high=interval[1], value=value)
    return {
        "name": entry["name"],
        "kind": entry["kind"],
        "note": entry["note"],
        "validation": "" if entry["validation"] is None else f"{entry['validation']:.4f}",
        "score": "–" if value is None else f"{value:.4f}",
        "interval": "" if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}",
        "bar": bar,
        "against": "" if against is None else f"{against[0]:+.3f} to {against[1]:+.3f}".replace("-", "−"),
        "figures": ["" if metrics.get(key) is None else form.format(metrics[key]) for key, _, form in known],
    }


def _places(axis: tuple[float, float], *, low: float, high: float, value: float) -> dict[str, float]:
    left, right = axis

    def place(at: float) -> float:
        return round(100 * (at - left) / (right - left), 2)

    return {"left": place(low), "width": round(place(high) - place(low), 2), "value": place(value)}
