"""Scores of classifications and of the regression beside it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.probability_calibration import calibration_error
from cnn_lstm_hyperopt.metrics import METRICS, score


@dataclass(frozen=True)
class Scores:
    """What one set of predictions is worth on one set of windows.

    Attributes:
        metrics: value of each metric as people read it (a loss is smaller for a better model); None: not defined.
        calibration_error: expected calibration error of the predicted class, 10 bins.
        mse: squared error in the target's units squared; None without regression.
        mae: absolute error in the target's units; None without regression.
        r2_against_persistence: 1 − MSE / MSE of the last known value; above 0 is better than that. None without it.
    """

    metrics: Mapping[str, float | None]
    calibration_error: float
    mse: float | None
    mae: float | None
    r2_against_persistence: float | None


def score_predictions(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    *,
    targets: NDArray[np.floating] | None = None,
    values: NDArray[np.floating] | None = None,
    reference: NDArray[np.floating] | None = None,
) -> Scores:
    """Scores ``probabilities`` against ``labels``, and ``values`` against ``targets`` where both are there.

    Args:
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``, rows add up to 1; the most probable class is the one that is said.
        targets: ``(windows,)`` true values of the regression.
        values: ``(windows,)`` predicted values.
        reference: ``(windows,)`` values of persistence on the same windows.
    """
    mse = mae = r2 = None
    if targets is not None and values is not None:
        true = np.asarray(targets, dtype=np.float64)
        mse = float(np.mean((true - values) ** 2))
        mae = float(np.mean(np.abs(true - values)))
        usual = 0.0 if reference is None else float(np.mean((true - reference) ** 2))
        r2 = 1 - mse / usual if usual > 0 else None
    return Scores(
        metrics={
            name: metric.shown(value) if math.isfinite(value := metric.score(labels, probabilities)) else None
            for name, metric in METRICS.items()
        },
        calibration_error=calibration_error(labels, probabilities),
        mse=mse,
        mae=mae,
        r2_against_persistence=r2,
    )


class GroupRow(NamedTuple):
    """Scores on the windows of one group.

    Attributes:
        group: a symbol or a year.
        n: windows.
        accuracy, balanced_accuracy: of the predictions.
        majority_share: of the group's own most frequent class: the accuracy of always saying it, known only afterwards.
    """

    group: str
    n: int
    accuracy: float
    balanced_accuracy: float
    majority_share: float


def by_group(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], groups: NDArray[Any]
) -> tuple[GroupRow, ...]:
    """A row per value of ``groups (windows,)``, in its order. Groups are small and many: single rows prove nothing."""
    rows = []
    for group in np.unique(groups):
        here = groups == group
        said, happened = probabilities[here], labels[here]
        rows.append(
            GroupRow(
                group=str(group),
                n=int(here.sum()),
                accuracy=score("accuracy", happened, said),
                balanced_accuracy=score("balanced_accuracy", happened, said),
                majority_share=float(np.bincount(happened).max() / len(happened)),
            )
        )
    return tuple(rows)


def years(dates: NDArray[Any]) -> NDArray[np.int64] | None:
    """Years ``(windows,)`` of dates, for :func:`by_group`; None where dates are mere integers (a user's own loaders)."""
    if not np.issubdtype(dates.dtype, np.datetime64):
        return None
    return np.asarray(dates.astype("datetime64[Y]").astype(np.int64) + 1970)


def shrinkage(validation_score: float, test_score: float) -> float:
    """Validation score − test score of the same model.

    The winner's validation score is the largest of many, so it is too high by selection alone: a positive number is what to
    expect, and it says nothing about a change of the market.
    """
    return validation_score - test_score
