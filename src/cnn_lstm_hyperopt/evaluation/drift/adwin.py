"""ADWIN: detection of a change in the mean of a stream of numbers in [0, 1].

Source: Bifet & Gavaldà 2007, "Learning from Time-Changing Data with Adaptive Windowing", SDM. This is the first version of the
paper (ADWIN0), which checks each cut of the window, so nothing is approximated by buckets.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MIN_PART = 5
"""Minimum number of values on each side of a cut."""


class Change(NamedTuple):
    """Change of the mean.

    Attributes:
        found_at: position of the value at which the change was found.
        cut: position of the first value after the change, as estimated.
        before, after: mean of the window before and after the cut.
    """

    found_at: int
    cut: int
    before: float
    after: float


def adwin(values: Floats, confidence: float, *, dependence: float = 1.0) -> list[Change]:
    """Return the changes of the mean of a stream, in the order in which they are found.

    Each value is added to a window. If two parts of the window have means that differ by more than :func:`threshold`, the part
    before the cut with the largest excess is dropped.

    Args:
        values: (n,) values in [0, 1], in order of time.
        confidence: δ, the bound on the probability of a false alarm at a value.
        dependence: factor by which dependence between neighbouring values increases the variance of a mean. The paper assumes
            independent values, so without this factor a slowly varying stream gives false alarms.
    """
    changes: list[Change] = []
    start = 0
    sums, squares = (np.concatenate([[0.0], np.cumsum(each)]) for each in (values, values**2))
    for end in range(1, len(values) + 1):
        while end - start >= 2 * MIN_PART:
            cuts = np.arange(start + MIN_PART, end - MIN_PART + 1)
            before = (sums[cuts] - sums[start]) / (cuts - start)
            after = (sums[end] - sums[cuts]) / (end - cuts)
            mean = (sums[end] - sums[start]) / (end - start)
            variance = dependence * max(0.0, (squares[end] - squares[start]) / (end - start) - mean**2)
            excess = np.abs(after - before) - threshold(cuts - start, end - cuts, variance, confidence)
            best = int(excess.argmax())
            if excess[best] <= 0:
                break
            start = int(cuts[best])
            changes.append(Change(end - 1, start, float(before[best]), float(after[best])))
    return changes


def threshold(n_before: NDArray[np.int64], n_after: NDArray[np.int64], variance: float, confidence: float) -> Floats:
    """Return ε of each cut: the largest difference of two means that chance explains (Bifet & Gavaldà 2007, section 2.2).

    Args:
        n_before, n_after: (cuts,) number of values on each side of each cut.
        variance: variance of the values in the window, times the factor for dependence.
        confidence: δ.
    """
    harmonic = 1 / (1 / n_before + 1 / n_after)
    strictness = math.log(2 * math.log(int(n_before[0] + n_after[0])) / confidence)
    return np.asarray(np.sqrt(2 / harmonic * variance * strictness) + 2 / (3 * harmonic) * strictness)
