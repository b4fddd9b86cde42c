"""Stationary bootstrap of the mean of a dated series (Politis & Romano 1994)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.dependence import Dependence, automatic_length
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE, Interval
from cnn_lstm_hyperopt.utils.rng import stream

Floats = NDArray[np.float64]

RESAMPLES = 2_000
_STATIONARY = (2 / 3) ** (1 / 3)
"""Best mean length of random blocks divided by the best length of circular blocks.

The ratio follows from D_CB = ⅔ D_SB in Politis & White 2004.
"""


def mean_interval(values: Floats, dates: NDArray[Any], level: float = CONFIDENCE) -> Interval | None:
    """Return the confidence interval of the mean of ``values``. Equal arguments always give equal intervals.

    The ends of the interval are computed from resampled means (basic bootstrap). Intraday values are resampled by session day.

    Args:
        values: ``(periods,)`` finite numbers.
        dates: ``(periods,)`` date of each value.
        level: confidence level of the interval.

    Returns:
        The interval, or None if there are too few dates or days.
    """
    units = Dependence.by_date(dates)
    if units.too_few is not None:
        return None
    sums = np.bincount(units.unit, weights=values)
    counts = np.bincount(units.unit).astype(np.float64)
    mean = float(values.mean())
    length = max(1.0, _STATIONARY * automatic_length(sums - mean * counts))
    totals = stationary_sums(np.stack([sums, counts], axis=1), length, RESAMPLES, stream(0, 0, "stationary bootstrap"))
    tail = (1 - level) / 2
    low, high = np.quantile(totals[:, 0] / totals[:, 1] - mean, [tail, 1 - tail])
    return Interval(mean - float(high), mean - float(low))


def stationary_sums(values: Floats, length: float, resamples: int, random: np.random.Generator) -> Floats:
    """Return the sums ``(resamples, columns)`` of resampled series, each as long as ``values``.

    A resample starts at a random row. Each row is followed by the next row of the series or, with probability 1 / length, by
    another random row. After the last row comes the first row.

    Args:
        values: ``(n, columns)`` in time order.
        length: mean length of a block, ≥ 1.
        resamples: number of resamples.
        random: random number generator.
    """
    n = len(values)
    place = random.integers(n, size=resamples)
    totals = values[place].astype(np.float64)
    for _ in range(n - 1):
        place = (place + 1) % n
        jumps = np.flatnonzero(random.random(resamples) * length < 1)
        place[jumps] = random.integers(n, size=len(jumps))
        totals += values[place]
    return totals
