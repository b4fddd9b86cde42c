"""Circular moving-block bootstrap over dates (Politis & Romano 1992), of any metric.

Windows of one date share the market's day, and neighbouring dates share its mood, so neither windows nor dates are drawn one by
one: whole runs of consecutive dates are, with all their windows.

Three things keep the intervals honest where there are few dates (tests/evaluation/test_bootstrap.py has the measured coverage):

- Blocks are longer than those with the least error of the variance (twice Politis & White's, at least √dates): the bias of short
  blocks makes intervals too narrow, and the noise of long ones can be paid for (Lazarus, Lewis, Stock & Watson 2018).
- It is paid for by Student's t with as many observations as there are blocks (expanded percentiles, Hesterberg 2015).
- Intervals are symmetric about the estimate, by quantiles of |resample − estimate| (Hall 1988): where two classifiers differ on a
  handful of windows, the plain percentile interval would exclude 0 too easily.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit  # scipy.stats takes half a second to import

from cnn_lstm_hyperopt.metrics import (
    LEAST_PROBABILITY,
    OF_CONFUSION,
    SCORE_RANGES,
    confusion_cells,
    ranked_auc,
    score,
)
from cnn_lstm_hyperopt.randomness import stream

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]

RESAMPLES = 2000
CONFIDENCE = 0.95
LEAST_DATES = 10
"""With fewer dates no interval is told: resamples of them are a few days over and over."""
LEAST_BLOCKS = 5
"""A block is at most this part of the dates; with a longer horizon no interval is told."""
_CHUNK = 1_000_000
"""Weights (resamples × windows) that are held at once: 8 MB, of which an AUC needs a few copies."""


class Interval(NamedTuple):
    """A confidence interval of 95 %."""

    low: float
    high: float


def score_interval(
    metric: str, labels: Labels, probabilities: Probabilities, dates: NDArray[Any], *, horizon: int, seed: int
) -> Interval | None:
    """Interval of a score.

    Args:
        metric: of :data:`~cnn_lstm_hyperopt.metrics.METRICS`; larger is better.
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``.
        dates: ``(windows,)`` decision dates; several windows may share one.
        horizon: bars that a label looks ahead.
        seed: of the resampling.

    Returns:
        None where it can't be known: :func:`too_little` of these dates, or a score that is not defined (an AUC of a single
        class).
    """
    days = _Days.of(dates)
    if too_little(days.n, horizon) is not None:
        return None
    length = days.block_length(_per_window(metric, labels, probabilities), horizon)
    draws = _resampled(metric, labels, [probabilities], days, length, seed)[0]
    interval = _symmetric(score(metric, labels, probabilities), draws, days.n / length)
    if interval is None:
        return None
    worst, best = SCORE_RANGES[metric]
    return Interval(max(interval.low, worst), min(interval.high, best))


def paired_interval(
    metric: str,
    labels: Labels,
    ours: Probabilities,
    theirs: Probabilities,
    dates: NDArray[Any],
    *,
    horizon: int,
    seed: int,
) -> Interval | None:
    """Interval of the score of ``ours`` − that of ``theirs`` on the same windows, resampled together (paired).

    Arguments as in :func:`score_interval`.

    Returns:
        None where it can't be known: as there, and where the difference is the same in every resample without being 0 (all labels
        alike): what never varies has shown no error to measure it by.
    """
    days = _Days.of(dates)
    if too_little(days.n, horizon) is not None:
        return None
    gain = _per_window(metric, labels, ours) - _per_window(metric, labels, theirs)
    length = days.block_length(gain, horizon)
    our_draws, their_draws = _resampled(metric, labels, [ours, theirs], days, length, seed)
    estimate = score(metric, labels, ours) - score(metric, labels, theirs)
    interval = _symmetric(estimate, our_draws - their_draws, days.n / length)
    if interval is None or (abs(estimate) > 1e-9 and interval.high - interval.low < 1e-9):
        return None
    return interval


def too_little(n_dates: int, horizon: int) -> str | None:
    """Why these dates tell no interval, as the beginning of a sentence; None where they do.

    A block shorter than the horizon would take overlapping labels for independent ones: with horizon 60 on 120 dates, intervals
    of a difference without skill lay above 0 in 10 of 100 cases in place of 2.5.
    """
    if n_dates < LEAST_DATES:
        return f"fewer than {LEAST_DATES} dates tell nothing"
    if horizon > n_dates // LEAST_BLOCKS:
        return f"a horizon of {horizon} bars leaves too few independent stretches in {n_dates:,} dates to tell anything"
    return None


def block_length(per_date: Floats, horizon: int) -> int:
    """Dates in a block: twice the automatic length, at least √dates and the horizon, over which labels overlap.

    At most a fifth of the dates: longer blocks would be the same few days in every resample. A longer horizon is refused by
    :func:`too_little`.

    Args:
        per_date: ``(dates,)`` the series whose mean is studied, in order of time.
        horizon: bars that a label looks ahead.
    """
    n = len(per_date)
    wanted = math.ceil(max(2 * automatic_length(per_date), math.sqrt(n), horizon))
    return min(wanted, max(1, n // LEAST_BLOCKS))


def automatic_length(series: Floats) -> float:
    """The length of circular blocks that estimates the variance of the mean with the least squared error, at least 1.

    Politis & White 2004, with the correction of Patton, Politis & White 2009; constants as in Patton's program. 1 for a constant.

    Args:
        series: ``(n,)`` in order of time.
    """
    n = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred) / n
    if n < 3 or variance <= 1e-24:
        return 1.0
    run = max(5, int(math.log10(n)))  # K_n: autocorrelations in a row that must be small
    last = min(math.ceil(math.sqrt(n)) + run, n - 1)
    autocovariance = np.array([float(centred[lag:] @ centred[: n - lag]) for lag in range(last + 1)]) / n
    small = np.abs(autocovariance[1:]) < 2 * math.sqrt(math.log10(n) / n) * variance
    first = next((lag for lag in range(last - run + 1) if small[lag : lag + run].all()), None)
    width = last if first is None else min(2 * (first + 1), last)  # M = 2 m̂, m̂ the first lag of the run
    lags = np.arange(1, width + 1)
    flat_top = np.minimum(1.0, 2 * (1 - lags / width))  # λ(k/M)
    g = float(2 * (flat_top * lags) @ autocovariance[1 : width + 1])
    long_run = variance + float(2 * flat_top @ autocovariance[1 : width + 1])
    if abs(long_run) <= 1e-12 * variance:
        return 1.0
    length = (2 * g**2 / (4 / 3 * long_run**2)) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(length, 1.0), math.ceil(min(3 * math.sqrt(n), n / 3))))


class _Days(NamedTuple):
    """Which date each window belongs to.

    Attributes:
        of_window: ``(windows,)`` numbers 0..n−1 in order of time.
        n: dates.
    """

    of_window: NDArray[np.int64]
    n: int

    @classmethod
    def of(cls, dates: NDArray[Any]) -> "_Days":
        unique, inverse = np.unique(dates, return_inverse=True)
        return cls(np.asarray(inverse, dtype=np.int64), len(unique))

    def sums(self, values: Floats) -> Floats:
        """``(windows,)`` → sums per date ``(dates,)``."""
        return np.asarray(np.bincount(self.of_window, weights=values, minlength=self.n), dtype=np.float64)

    def block_length(self, values: Floats, horizon: int) -> int:
        """For the mean of ``values`` over windows: a date with more windows has more to say."""
        return block_length(self.sums(values - values.mean()), horizon)


def _per_window(metric: str, labels: Labels, probabilities: Probabilities) -> Floats:
    """What each window adds to the score: log probability or hit. Scores that are no means depend on dates as their hits do."""
    if metric == "log_loss":
        happened = probabilities[np.arange(len(labels)), labels].astype(np.float64)
        return np.asarray(np.log(np.maximum(happened, LEAST_PROBABILITY)))
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)


def _resampled(
    metric: str, labels: Labels, models: list[Probabilities], days: _Days, length: int, seed: int
) -> list[Floats]:
    """Scores ``(resamples,)`` of each model on the same resamples."""
    n_blocks = math.ceil(days.n / length)
    starts = stream(seed, 0, "bootstrap").integers(days.n, size=(RESAMPLES, n_blocks))
    if metric in ("accuracy", "log_loss"):  # means over windows: sums of blocks are enough
        counts = _drawn_sums(days.sums(np.ones(len(labels))), starts, length)
        return [_drawn_sums(days.sums(_per_window(metric, labels, each)), starts, length) / counts for each in models]
    if metric in OF_CONFUSION:
        return [OF_CONFUSION[metric](_drawn_confusions(labels, each, days, starts, length)) for each in models]
    areas = [ranked_auc(labels, each, days.of_window) for each in models]
    draws: list[list[Floats]] = [[] for _ in models]
    for weights in _weights(starts, length, days.n, at_once=max(1, _CHUNK // max(len(labels), days.n))):
        for found, area in zip(draws, areas, strict=True):
            found.append(area(weights))
    return [np.concatenate(found) for found in draws]


def _drawn_confusions(
    labels: Labels, probabilities: Probabilities, days: _Days, starts: NDArray[np.int64], length: int
) -> Floats:
    """Confusion matrices ``(resamples, classes, classes)``."""
    n_classes = probabilities.shape[1]
    cells = confusion_cells(labels, probabilities)
    sums = [_drawn_sums(days.sums((cells == cell).astype(np.float64)), starts, length) for cell in range(n_classes**2)]
    return np.stack(sums, axis=-1).reshape(-1, n_classes, n_classes)


def _drawn_sums(per_date: Floats, starts: NDArray[np.int64], length: int) -> Floats:
    """Sums ``(resamples,)`` over the dates that each row of ``starts`` draws; the last block is cut to the number of dates."""
    n = len(per_date)
    total = np.concatenate([[0.0], np.cumsum(np.concatenate([per_date, per_date[:length]]))])
    cut = n - (starts.shape[1] - 1) * length
    ends = starts + np.array([length] * (starts.shape[1] - 1) + [cut])
    return np.asarray((total[ends] - total[starts]).sum(axis=1))


def _weights(starts: NDArray[np.int64], length: int, n_dates: int, *, at_once: int) -> Iterator[Floats]:
    """How often each date is drawn, ``(resamples, dates)``, a few resamples at a time."""
    lengths = np.full(starts.shape[1], length)
    lengths[-1] = n_dates - (len(lengths) - 1) * length
    for first in range(0, len(starts), at_once):
        here = starts[first : first + at_once]
        row = np.arange(len(here))[:, None] * (n_dates + length + 1)
        size = len(here) * (n_dates + length + 1)
        steps = np.bincount((row + here).ravel(), minlength=size) - np.bincount(
            (row + here + lengths).ravel(), minlength=size
        )
        drawn = steps.reshape(len(here), -1).cumsum(axis=1)
        times = drawn[:, :n_dates].astype(np.float64)
        # blocks that run past the last date go on with the first
        times[:, : length + 1] += drawn[:, n_dates:][:, :n_dates]
        yield times


def _symmetric(estimate: float, draws: Floats, n_blocks: float) -> Interval | None:
    """Estimate ± a quantile of |draws − estimate|, at the level at which Student's t of ``n_blocks`` blocks has 95 %."""
    draws = draws[np.isfinite(draws)]
    if n_blocks <= 1 or not math.isfinite(estimate) or len(draws) < RESAMPLES / 2:
        return None
    # Hesterberg 2015, expanded percentiles: Φ(−√(n / (n − 1)) t) in place of the tail
    reach = math.sqrt(n_blocks / (n_blocks - 1)) * float(stdtrit(n_blocks - 1, (1 + CONFIDENCE) / 2))
    half = float(np.quantile(np.abs(draws - estimate), 1 - 2 * float(ndtr(-reach))))
    return Interval(estimate - half, estimate + half)
