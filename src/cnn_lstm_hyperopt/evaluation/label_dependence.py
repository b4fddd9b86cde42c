"""Dependence between labels, and the effect of the dependence on the variance of the score of a model without skill.

Let r be the correlation between the labels of two windows, and q the correlation between the predictions of a model without
skill for them. Then the variance of the score is that of independent windows, multiplied by 1 + Σ r q / n. The sum is over all
pairs of n windows. This factor is called the design effect (Kish 1965 for groups, Bartlett 1935 for time series). The
validation labels are known before the first trial, so r can be estimated. For q, the predictions within a date or a session
day are assumed to be equal (q = 1). Over time, predictions are assumed to vary as slowly as the labels without noise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.dependence import MIN_UNITS, Dependence


def dates_effect(labels: NDArray[np.int64], dates: NDArray[Any], *, horizon: int = 1, slow: bool = True) -> float:
    """Return the factor by which dates increase the variance of a random guess's score, in addition to overlapping labels.

    The factor is the product of the design effect of dates and of their serial effect. Intraday windows are grouped by
    session day if there are at least 10 days.

    Args:
        labels: (windows,) classes. Each window occurs once.
        dates: (windows,) date of each window's last bar; several windows may have the same date.
        horizon: number of bars that a label looks ahead. Overlapping labels alone increase the variance by the factor
            ``horizon``, which is not included in the result.
        slow: True if predictions are assumed to vary as slowly as the labels without noise, see :func:`serial_effect`.

    Returns:
        A factor of at least 1.
    """
    bar = np.unique(dates, return_inverse=True)[1]
    effect = _within(labels, bar)
    by_date = Dependence.by_date(dates, horizon=horizon)
    unit, ahead = bar, horizon
    if by_date.kind == "days" and by_date.n_units >= MIN_UNITS["days"]:
        unit, ahead = by_date.unit, by_date.horizon
    over_time = _within(labels, unit) * max(ahead, serial_effect(labels, unit, slow=slow))
    return max(1.0, effect, over_time / horizon)


def _within(labels: NDArray[np.int64], unit: NDArray[np.int64]) -> float:
    """Return the design effect of units.

    The effect is 1 for a single unit, which does not show how similar the labels in a unit are.
    """
    return design_effect(labels, unit) if unit.max() else 1.0


def serial_effect(labels: NDArray[np.int64], unit: NDArray[np.int64], *, slow: bool = True) -> float:
    """Return the factor by which autocorrelation increases the variance of the covariance between labels and predictions.

    Let r be the autocorrelation of the labels' sums by unit, q the autocorrelation of the predictions, and r₁ the value of r
    at lag 1. The factor is Σ r q over all lags (Bartlett 1935). If ``slow``, the labels are assumed to be a slowly varying
    part plus noise, and the predictions only a slowly varying part. Then q = r / r₁ at all lags except 0, and the factor is 1
    + (Σ r² − 1) / r₁. If ``slow`` is false, or if r₁ is not significantly above 0, q = r is assumed.

    By Parseval's theorem, Σ r² is the mean square of the spectrum divided by its squared mean. The periodogram I estimates the
    spectrum f without a choice of lags, with E I = f and E I² = 2 f². The factor for several classes is the mean of the factors
    of each class, weighted by variance.

    Args:
        labels: (windows,) classes.
        unit: (windows,) number of each window's unit, in time order.
        slow: True if predictions are assumed to have no noise.

    Returns:
        The factor, which is about 1 for labels without autocorrelation, and 1 if the sums are constant.
    """
    sums = np.stack([np.bincount(unit, weights=labels == c) for c in np.unique(labels)])
    sizes = np.bincount(unit)
    sums -= np.outer(sums.sum(axis=1) / sizes.sum(), sizes)
    periodogram = np.square(np.abs(np.fft.rfft(sums, axis=1)[:, 1:]))
    total = periodogram.sum(axis=1)
    if not (known := total > 1e-9).any():
        return 1.0
    sums, periodogram, total = sums[known], periodogram[known], total[known]
    squares = np.square(periodogram).sum(axis=1) * periodogram.shape[1] / (2 * total**2)
    first = (sums[:, 1:] * sums[:, :-1]).sum(axis=1) / np.square(sums).sum(axis=1)
    share = np.where(slow & (first > 2 / np.sqrt(len(sizes))), first, 1.0)
    return float(np.average(1 + (squares - 1) / share, weights=total))


def design_effect(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
    """Return the design effect of groups.

    The design effect is an upper bound of the factor by which groups increase the variance of a random guess's score.

    The bound is 1 + (m − 1) ρ (Kish 1965). Here m is the size of a window's group, averaged over all windows, and ρ is the
    intraclass correlation of the labels. The result is an upper bound because the hits of a guess are at most as correlated as
    the labels. The bound is 1 if each window is a group of its own. The bound is the number of windows if all windows are one
    group.

    Args:
        labels: (windows,) classes.
        groups: (windows,) number of each window's group.
    """
    unit, n_groups = np.unique(groups, return_inverse=True)[1], len(np.unique(groups))
    n, sizes = len(labels), np.bincount(unit).astype(np.float64)
    if n_groups in (1, n):
        return float(n / n_groups)
    classes = np.eye(int(labels.max()) + 1)[labels]
    shares = np.stack([np.bincount(unit, weights=each) for each in classes.T], axis=1) / sizes[:, None]
    between = float((sizes[:, None] * (shares - classes.mean(axis=0)) ** 2).sum()) / (n_groups - 1)
    within = float((sizes[:, None] * shares * (1 - shares)).sum()) / (n - n_groups)
    usual = (n - float(sizes @ sizes) / n) / (n_groups - 1)
    if between + (usual - 1) * within <= 0:
        return 1.0
    alike = min(1.0, max(0.0, (between - within) / (between + (usual - 1) * within)))
    return 1 + (float(sizes @ sizes) / n - 1) * alike
