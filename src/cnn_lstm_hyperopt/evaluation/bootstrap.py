"""Circular block bootstrap over dates (Politis & Romano 1992).

Windows of one date share the market's day, and neighbouring dates share its mood, so neither windows nor dates are drawn one by
one: whole runs of consecutive dates are, with all their windows.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.randomness import stream

RESAMPLES = 2000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A percentile interval of 95 %."""

    low: float
    high: float


def block_length(n_dates: int, horizon: int) -> int:
    """n^(1/3) dates (the rate of Hall, Horowitz & Jing 1995), rounded up, but at least the horizon, over which labels overlap.

    At most a third of the dates: longer blocks would be the same few days in every resample, and the interval would look certain.
    """
    root = round(math.cbrt(n_dates))
    root += root**3 < n_dates
    return min(max(horizon, root), max(1, n_dates // 3))


def accuracy_interval(right: NDArray[np.bool_], dates: NDArray[Any], *, horizon: int, seed: int) -> Interval:
    """Interval of an accuracy.

    Args:
        right: ``(windows,)`` whether each prediction was right.
        dates: ``(windows,)`` decision dates; several windows may share one.
        horizon: bars that a label looks ahead.
        seed: of the resampling.
    """
    return _interval(right.astype(float), dates, horizon, seed)


def difference_interval(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_], dates: NDArray[Any], *, horizon: int, seed: int
) -> Interval:
    """Interval of the difference of two accuracies on the same windows, resampled together (paired)."""
    return _interval(ours.astype(float) - theirs.astype(float), dates, horizon, seed)


def _interval(values: NDArray[np.float64], dates: NDArray[Any], horizon: int, seed: int) -> Interval:
    """Interval of the mean of ``values`` over windows."""
    _, day = np.unique(dates, return_inverse=True)
    n_dates = int(day.max()) + 1
    sums: NDArray[np.float64] = np.bincount(day, weights=values, minlength=n_dates).astype(np.float64)
    counts = np.bincount(day, minlength=n_dates).astype(np.float64)
    length = block_length(n_dates, horizon)
    n_blocks = math.ceil(n_dates / length)
    starts = stream(seed, 0, "bootstrap").integers(n_dates, size=(RESAMPLES, n_blocks))
    means = _block_sums(sums, length)[starts].sum(axis=1) / _block_sums(counts, length)[starts].sum(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _block_sums(per_date: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Sum over the block of ``length`` dates that starts at each date, wrapping round the end."""
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([per_date, per_date[:length]]))])
    starts = np.arange(len(per_date))
    sums: NDArray[np.float64] = total[starts + length] - total[starts]
    return sums
