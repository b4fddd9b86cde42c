"""Scores of classifications and of the regression beside it."""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, balanced_accuracy_score, matthews_corrcoef, mean_squared_error


@dataclass(frozen=True)
class Scores:
    """Accuracy, balanced accuracy (mean recall of the classes present), Matthews' correlation coefficient, and the mean squared
    error in the target's units squared (None without regression)."""

    accuracy: float
    balanced_accuracy: float
    mcc: float
    mse: float | None


def score(
    labels: NDArray[np.int64],
    classes: NDArray[np.int64],
    *,
    targets: NDArray[np.floating] | None = None,
    values: NDArray[np.floating] | None = None,
) -> Scores:
    """Scores predicted ``classes`` against ``labels``, and ``values`` against ``targets`` where both are there.

    All arrays have shape ``(windows,)``.
    """
    with warnings.catch_warnings():
        # A constant prediction has no correlation (MCC 0 by convention) and a label may be absent: both are legal here.
        warnings.simplefilter("ignore")
        return Scores(
            accuracy=float(accuracy_score(labels, classes)),
            balanced_accuracy=float(balanced_accuracy_score(labels, classes)),
            mcc=float(matthews_corrcoef(labels, classes)),
            mse=None if targets is None or values is None else float(mean_squared_error(targets, values)),
        )
