"""Scores of classification and regression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.baselines.simple import Persistence
from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.evaluation.probability_calibration import calibration_error
from cnn_lstm_hyperopt.evaluation.r_squared import RSquared, r_squared
from cnn_lstm_hyperopt.metrics import METRICS, if_defined, score


@dataclass(frozen=True)
class Scores:
    """Scores of predictions on a set of windows.

    Attributes:
        metrics: value of each metric with its usual sign, so a log loss is positive; None if the metric is undefined.
        calibration_error: expected calibration error of the confidence in the predicted class, with 10 bins.
        mse: mean squared error, in squared units of the target; None without regression.
        mae: mean absolute error in the target's units; None without regression.
        r2: R² against the best simple forecast; None without regression.
    """

    metrics: Mapping[str, float | None]
    calibration_error: float
    mse: float | None
    mae: float | None
    r2: RSquared | None = None

    @property
    def r2_against_persistence(self) -> float | None:
        """R² against persistence: 1 − MSE / MSE of the last known value.

        The result is None without regression or persistence.
        """
        return None if self.r2 is None else self.r2.against.get(Persistence.name)


def score_predictions(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    *,
    targets: NDArray[np.floating] | None = None,
    values: NDArray[np.floating] | None = None,
    references: Mapping[str, NDArray[np.floating]] | None = None,
    dependence: Dependence | None = None,
    decision_weights: NDArray[np.floating] | None = None,
) -> Scores:
    """Return the scores of ``probabilities`` against ``labels``, and of ``values`` against ``targets`` if both are given.

    Args:
        labels: ``(windows,)`` true classes.
        probabilities: ``(windows, classes)``, whose rows sum to 1.
        targets: ``(windows,)`` true values of the regression target.
        values: ``(windows,)`` values that the model predicts.
        references: values ``(windows,)`` of each simple forecast for the same windows, by name.
        dependence: dependence of the windows; None: the windows are independent.
        decision_weights: ``(classes,)`` weight of each class. The predicted class has the largest product of probability and
            weight. None: the most probable class is predicted.
    """
    mse = mae = r2 = None
    if targets is not None and values is not None:
        true = np.asarray(targets, dtype=np.float64)
        mse = float(np.mean((true - values) ** 2))
        mae = float(np.mean(np.abs(true - values)))
        alike = dependence or Dependence.independent(len(true))
        r2 = r_squared(true, np.asarray(values, dtype=np.float64), references or {}, alike)
    return Scores(
        metrics={
            name: None if value is None else metric.shown(value)
            for name, metric in METRICS.items()
            for value in [if_defined(score(name, labels, probabilities, decision_weights))]
        },
        calibration_error=calibration_error(labels, probabilities),
        mse=mse,
        mae=mae,
        r2=r2,
    )


class GroupRow(NamedTuple):
    """Scores on the windows of one group.

    Attributes:
        group: a symbol or a year.
        n: number of windows of the group.
        accuracy: accuracy of the predictions on these windows.
        balanced_accuracy: balanced accuracy of the predictions on these windows.
        majority_share: share of the most frequent class in these windows. This share is the accuracy of always predicting the
            most frequent class, which is not known in advance.
    """

    group: str
    n: int
    accuracy: float
    balanced_accuracy: float
    majority_share: float


def by_group(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], groups: NDArray[Any]
) -> tuple[GroupRow, ...]:
    """Return the scores on each group of windows, sorted by group.

    Groups are small, so the scores of a single group are uncertain.
    """
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
    """Return the year of each date, ``(windows,)``. Return None for integer dates, which a user's own DataLoaders may have."""
    if not np.issubdtype(dates.dtype, np.datetime64):
        return None
    return np.asarray(dates.astype("datetime64[Y]").astype(np.int64) + 1970)


def shrinkage(validation_score: float, test_score: float) -> float:
    """Return the difference: validation score minus test score of the same model.

    A positive difference is expected. The validation score is the largest of many trials, so it is too high on average.
    """
    return validation_score - test_score
