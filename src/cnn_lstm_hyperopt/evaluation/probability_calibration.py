"""Whether a classifier is right as often as it says it is."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 10


class CalibrationRow(NamedTuple):
    """Windows whose confidence lies in (low, high].

    Attributes:
        low, high: of the bin.
        n: windows in it.
        confidence: their mean confidence.
        right: share of them in which what was said happened.
    """

    low: float
    high: float
    n: int
    confidence: float
    right: float


def calibration_table(
    labels: NDArray[np.int64], probabilities: NDArray[np.floating], *, bins: int = BINS
) -> tuple[CalibrationRow, ...]:
    """Confidence against truth in bins of equal width; bins without windows are left out.

    The confidence is that in the predicted class, at least 1/classes.

    Args:
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``.
        bins: number of them.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    edges = np.linspace(0.0, 1.0, bins + 1)
    which = np.searchsorted(edges[1:-1], confidence, side="left")  # bins are open below and closed above
    n, said, happened = (np.bincount(which, weights=of, minlength=bins) for of in (None, confidence, right))
    return tuple(
        CalibrationRow(
            low=float(edges[each]),
            high=float(edges[each + 1]),
            n=int(n[each]),
            confidence=float(said[each] / n[each]),
            right=float(happened[each] / n[each]),
        )
        for each in np.flatnonzero(n).tolist()
    )


def calibration_error(labels: NDArray[np.int64], probabilities: NDArray[np.floating], *, bins: int = BINS) -> float:
    """Expected calibration error: the mean over windows of |share right − confidence| of their bin.

    Guo, Pleiss, Sun & Weinberger 2017, eq. 3. With n windows even a perfectly calibrated model near ½ has about
    0.4 √(bins in use / n), not 0.
    """
    rows = calibration_table(labels, probabilities, bins=bins)
    return sum(row.n * abs(row.right - row.confidence) for row in rows) / len(labels)
