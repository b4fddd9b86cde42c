"""Calibration of probabilities: reliability table and expected calibration error."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 10


class CalibrationRow(NamedTuple):
    """Row of the reliability table for one bin: the windows whose confidence is above ``low`` and at most ``high``.

    Attributes:
        low, high: bounds of the bin.
        n: number of windows in the bin.
        confidence: mean confidence of these windows.
        right: share of these windows that are predicted correctly.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: float


def calibration_table(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], *, bins: int = BINS
) -> tuple[CalibrationRow, ...]:
    """Return the reliability table: mean confidence and accuracy of the windows in each bin of confidence.

    Bins have equal width. Empty bins are left out.

    The confidence of a window is the probability of its predicted class, so it is at least 1 / number of classes.

    Args:
        labels: ``(windows,)`` true classes.
        probabilities: ``(windows, classes)`` predicted probabilities.
        bins: number of bins of the confidence.
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
    """Return the expected calibration error: |accuracy − mean confidence| in each window's bin, averaged over the windows.

    Guo, Pleiss, Sun & Weinberger 2017, eq. 3. The error is not 0 even for a perfectly calibrated model: with n windows and
    probabilities near ½ it is about 0.4 √(number of non-empty bins / n).
    """
    rows = calibration_table(labels, probabilities, bins=bins)
    return sum(row.n * abs(row.right - row.confidence) for row in rows) / len(labels)
