"""What the finalists said of the test windows: confusion, years, symbols."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.reporting.html.study_files import Content

MOST_GROUPS, MOST_CLASSES = 50, 20
"""Beyond which a table is no use to anybody's eyes; ``results.json`` and ``predictions.csv`` have all of it."""


def model_pages(content: Content) -> list[dict[str, Any]]:
    """A page for each retrained model."""
    names = [str(name) for name in content.data.get("class_names") or []]
    return [
        {
            "rank": entry["model_rank"],
            "trial": entry["trial_number"],
            "path": f"retrained_model_{entry['model_rank']}",
            "epochs": _epochs(entry["training_results"].get("epochs")),
            "best_epoch": _epochs(entry["training_results"].get("best_epoch")),
            "seeds": [
                {"seed": each["seed"], "validation": _text(each["validation_score"]), "test": _text(each["test_score"])}
                for each in entry.get("seeds") or []
            ],
            "confusion": confusion(content.predictions.get(entry["model_rank"]), names),
            "latency": _latency(entry.get("latency")),
            "years": _groups(entry["test_metrics"].get("by_year") or []),
            "symbols": _groups((entry["test_metrics"].get("by_symbol") or [])[:MOST_GROUPS]),
        }
        for entry in content.models
    ]


def _latency(measured: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Milliseconds for one window and for 256 at once; None in the results of a run that did not measure them."""
    if measured is None:
        return None
    together = measured["batch_256_ms"]
    return {
        "one": f"{measured['batch_1_ms']:.3g}",
        "together": "–" if together is None else f"{together:.3g}",
        "each": "–" if together is None else f"{together / 256:.2g}",
        "threads": str(measured["threads"]),
        "device": str(measured["device"]).upper(),
    }


def confusion(frame: pd.DataFrame | None, names: Sequence[str]) -> dict[str, Any] | None:
    """Counts and shares of what was said, a row for each true class; None without predictions, and of very many classes."""
    if frame is None or frame.empty:
        return None
    n_classes = max(len(names), int(frame[["label", "class"]].to_numpy().max()) + 1)
    if n_classes > MOST_CLASSES:
        return None
    shown = [names[k] if k < len(names) else f"class {k}" for k in range(n_classes)]
    table = pd.crosstab(frame["label"], frame["class"]).reindex(
        index=range(n_classes), columns=range(n_classes), fill_value=0
    )
    rows = []
    for k, name in enumerate(shown):
        counts = table.to_numpy()[k].tolist()
        total = sum(counts)
        cells = [
            {"count": f"{count:,}", "share": count / total if total else 0.0, "right": k == j}
            for j, count in enumerate(counts)
        ]
        rows.append({"name": name, "cells": cells, "total": f"{total:,}"})
    return {"names": shown, "rows": rows}


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "group": row["group"],
            "n": f"{row['n']:,}",
            "accuracy": _text(row["accuracy"]),
            "balanced": _text(row["balanced_accuracy"]),
            "majority": _text(row["majority_share"]),
            "percent": 100 * (row["accuracy"] or 0.0),
        }
        for row in rows
    ]


def _epochs(count: float | None) -> str:
    return "–" if count is None else f"{count:g}"


def _text(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.4f}"
