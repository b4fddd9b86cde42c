"""Calibration of probabilities: reliability table and expected calibration error."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 10


class CalibrationRow(NamedTuple):
    """Windows with a confidence in (low, high].

    Attributes:
        low, high: bounds of the bin.
        n: number of windows.
        confidence: mean confidence.
        right: share of correct predictions.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: float


def calibration_table(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], *, bins: int = BINS
) -> tuple[CalibrationRow, ...]:
    """Return confidence and accuracy in bins of equal width, without empty bins.

    The confidence is the probability of the predicted class, at least 1/classes.

    Args:
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``.
        bins: number of bins.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    which = np.searchsorted(edges[1:-1], confidence, side="left")  # bins are open below and closed above
    n, confidences, hits = (np.bincount(which, weights=of, minlength=bins) for of in (None, confidence, right))
    return tuple(
        CalibrationRow(
            low=float(edges[each]),
            high=float(edges[each + 1]),
            n=int(n[each]),
            confidence=float(confidences[each] / n[each]),
            right=float(hits[each] / n[each]),
        )
        for each in np.flatnonzero(n).tolist()
    )


def calibration_error(labels: NDArray[np.int64], probabilities: NDArray[np.floating], *, bins: int = BINS) -> float:
    """Return the expected calibration error: the mean over windows of |accuracy − confidence| of their bin.

    Guo, Pleiss, Sun & Weinberger 2017, eq. 3. With n windows even a perfectly calibrated model near ½ has about
    0.4 √(bins in use / n), not 0.
    """
    rows = calibration_table(labels, probabilities, bins=bins)
    return sum(row.n * abs(row.right - row.confidence) for row in rows) / len(labels)
