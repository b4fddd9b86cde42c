"""Scores of classification and regression."""

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
    """Scores of predictions on a set of windows.

    Attributes:
        metrics: value of each metric in its usual sign (a loss is smaller for a better model); None: undefined.
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
    """Score ``probabilities`` against ``labels``, and ``values`` against ``targets`` if both are given.

    Args:
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``, rows sum to 1; the most probable class is the prediction.
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
        n: number of windows.
        accuracy, balanced_accuracy: scores of the predictions.
        majority_share: share of the group's most frequent class: the accuracy of predicting it, known only in hindsight.
    """

    group: str
    n: int
    accuracy: float
    balanced_accuracy: float
    majority_share: float


def by_group(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], groups: NDArray[Any]
) -> tuple[GroupRow, ...]:
    """Return a row per value of ``groups (windows,)``, sorted. Groups are small, so single rows are not significant."""
    rows = []
    for group in np.unique(groups):
        here = groups == group
        predicted, truth = probabilities[here], labels[here]
        rows.append(
            GroupRow(
                group=str(group),
                n=int(here.sum()),
                accuracy=score("accuracy", truth, predicted),
                balanced_accuracy=score("balanced_accuracy", truth, predicted),
                majority_share=float(np.bincount(truth).max() / len(truth)),
            )
        )
    return tuple(rows)


def years(dates: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the years ``(windows,)`` of dates, for :func:`by_group`; None for integer dates (a user's own loaders)."""
    if not np.issubdtype(dates.dtype, np.datetime64):
        return None
    return np.asarray(dates.astype("datetime64[Y]").astype(np.int64) + 1970)


def shrinkage(validation_score: float, test_score: float) -> float:
    """Return validation score − test score of the same model.

    A positive number is expected: the validation score is the largest of many and so biased upwards.
    """
    return validation_score - test_score
