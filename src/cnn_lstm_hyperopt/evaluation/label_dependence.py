"""Dependence between labels, and its effect on the variance of a score without skill.

Let n windows have labels with correlations r between two windows, and a model without skill have predictions with correlations q.
The variance of the score is that of independent windows times 1 + Σ r q / n, with the sum over all pairs (design effect; Kish
1965 for groups, Bartlett 1935 for time series). The labels of validation are known before the first trial and give r; q is
assumed: predictions within a date or a session day are all equal, q = 1, and over time they vary as slowly as the labels without
their noise.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.dependence import MIN_UNITS, Dependence


def dates_effect(labels: NDArray[np.int64], dates: NDArray[Any], *, horizon: int = 1, slow: bool = True) -> float:
    """Return the factor by which dates increase the variance of a random guess's score, beyond overlapping labels.

    The factor is the design effect of dates times their serial effect. Intraday windows are grouped by session day if there are
    at least 10 days.

    Args:
        labels: (windows,) classes; each window occurs once.
        dates: (windows,) date of each window's last bar; several windows may have the same date.
        horizon: bars that a label looks ahead. Overlapping labels alone increase the variance by this factor, which is not
            included.
        slow: whether predictions vary as slowly as the labels without noise, see :func:`serial_effect`.

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
    """Return the design effect of units; 1 for a single unit, which does not show how similar its labels are."""
    return design_effect(labels, unit) if unit.max() else 1.0


def serial_effect(labels: NDArray[np.int64], unit: NDArray[np.int64], *, slow: bool = True) -> float:
    """Return the factor by which autocorrelation increases the variance of a covariance between labels and predictions.

    Let r be the autocorrelation of the labels' sums by unit, and q the one of the predictions. The factor is Σ r q over all lags
    (Bartlett 1935). If ``slow``, labels are a slowly varying part plus noise, and predictions have the slow part only: q = r / r₁
    at all lags but 0, so the factor is 1 + (Σ r² − 1) / r₁. Otherwise q = r, as also if r₁, the autocorrelation at lag 1, is not
    significantly above 0.

    By Parseval's theorem, Σ r² is the mean square of the spectrum divided by its squared mean. The periodogram I estimates the
    spectrum f without a choice of lags, with E I = f and E I² = 2 f². The factor for several classes is the mean of the factors
    of each class, weighted by variance.

    Args:
        labels: (windows,) classes.
        unit: (windows,) number of each window's unit, in time order.
        slow: whether predictions have no noise.

    Returns:
        About 1 for labels without autocorrelation; also 1 if the sums are constant.
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
    """Return an upper bound of the factor by which groups increase the variance of a random guess's score (design effect).

    The bound is 1 + (m − 1) ρ, with m the mean over windows of their group's size (Kish 1965) and ρ the intraclass correlation
    of the labels. It is an upper bound because the hits of a guess are at most as correlated as the labels. It is 1 if each
    window is a group of its own, and the number of windows if all are one group.

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
