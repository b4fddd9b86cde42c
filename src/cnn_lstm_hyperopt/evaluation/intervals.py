"""Confidence intervals of 95 % for scores and for differences of scores on the same windows; none leaves its range.

| metric | of a score | of a difference |
|---|---|---|
| accuracy | Wilson 1927 | Tango 1998 |
| balanced accuracy | the same by class, put together (MOVER, Zou & Donner 2008) | likewise |
| MCC, AUC | Wilson's on a scale from 0 to 1 | MOVER of both, with the correlation of their errors |
| log loss | Student's t of its logit | Student's t (Diebold & Mariano 1995), on the scale of artanh |

Dependent windows count for less than one each: see :mod:`.dependence`. Shares have the effective number of windows
n V₀ / V, with V the variance and V₀ that of independent windows (Korn & Graubard 1998), and Student's t.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.dependence import Dependence, standard_errors
from cnn_lstm_hyperopt.evaluation.influence import (
    PSEUDO_WINDOWS,
    balanced_windows,
    hits,
    log_probabilities,
    of_area,
    of_class_means,
    of_matthews,
)
from cnn_lstm_hyperopt.evaluation.proportions import Interval, combined, paired_difference, wilson
from cnn_lstm_hyperopt.metrics.base import SCORE_RANGES, score

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]

_LARGEST_LOSS = -SCORE_RANGES["log_loss"][0]
_NO_VARIANCE = 1e-24


def score_interval(
    metric: str, labels: Labels, probabilities: Probabilities, dependence: Dependence
) -> Interval | None:
    """Interval of a score.

    Args:
        metric: of :data:`~cnn_lstm_hyperopt.metrics.base.METRICS`; larger is better.
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``.
        dependence: of the windows.

    Returns:
        None where there is none: too few units, or a score that is not defined (an AUC of a single class).
    """
    estimate = score(metric, labels, probabilities)
    if dependence.too_few is not None or not math.isfinite(estimate):
        return None
    if metric == "accuracy":
        right = hits(labels, probabilities)
        share, reach = dependence.effective_share(right)
        return wilson(estimate, share * len(labels), reach)
    if metric == "log_loss":
        return _of_loss(log_probabilities(labels, probabilities), dependence)
    if _is_constant(probabilities):  # what it scores does not depend on the windows
        return Interval(estimate, estimate)
    if metric == "balanced_accuracy":
        return _of_class_shares(labels, hits(labels, probabilities), dependence)
    return _OF_BOUNDED[metric](labels, probabilities, estimate, dependence).interval


def paired_interval(
    metric: str, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
) -> Interval | None:
    """Interval of the score of ``ours`` − that of ``theirs`` on the same windows.

    Arguments as in :func:`score_interval`.

    Returns:
        None where there is none: as there, and where a difference of log losses is the same for all windows without being 0:
        what never varies shows no error to measure it by.
    """
    own, other = score(metric, labels, ours), score(metric, labels, theirs)
    if dependence.too_few is not None or not math.isfinite(own - other):
        return None
    if metric == "log_loss":
        return _of_mean_difference(log_probabilities(labels, ours) - log_probabilities(labels, theirs), dependence)
    gain = hits(labels, ours) - hits(labels, theirs)
    if metric == "accuracy":
        share, reach = dependence.effective_share(gain)
        return _of_gain(gain, share, reach)
    if metric == "balanced_accuracy":
        return _of_class_gains(labels, gain, dependence)
    first, second = (
        _Bounded(Interval(estimate, estimate), np.zeros(len(labels)))
        if _is_constant(each)
        else _OF_BOUNDED[metric](labels, each, estimate, dependence)
        for each, estimate in ((ours, own), (theirs, other))
    )
    turned = Interval(-second.interval.high, -second.interval.low)
    correlation = _correlation(first.influence, second.influence, dependence) - max(first.unlike, second.unlike)
    return combined((own, -other), (first.interval, turned), -max(-1.0, correlation))


class _Bounded(NamedTuple):
    """A score's interval; what each window adds to it, (windows,); what to take off its error's correlation with another's."""

    interval: Interval
    influence: Floats
    unlike: float = 0.0


def _of_area(labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence) -> _Bounded:
    """Of an AUC. Its effective number of windows is at most all of them, or twice as many where it is not perfect.

    Without that a perfect AUC would have no error, and one near it too little.
    """
    influence = of_area(labels, probabilities)
    variance = dependence.variance(influence)
    share, _ = dependence.effective_share(influence)
    n = share * balanced_windows(labels)
    if 0 < estimate < 1 and variance.value > _NO_VARIANCE:
        n = min(2 * n, estimate * (1 - estimate) / variance.value)
    return _Bounded(wilson(estimate, n, standard_errors(variance.freedom)), influence)


def _of_matthews(labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence) -> _Bounded:
    influence, smoothed, variance_of_one = of_matthews(labels, probabilities)
    share, _ = dependence.effective_share(influence)
    n = share * len(labels)
    effective = n * (1 - smoothed**2) / variance_of_one  # u (1 − u) = (1 − m²) / 4 of u = (1 + m) / 2
    low, high = wilson((1 + estimate) / 2, effective, standard_errors(dependence.variance(influence).freedom))
    return _Bounded(Interval(2 * low - 1, 2 * high - 1), influence, PSEUDO_WINDOWS / n)


_OF_BOUNDED = {"auc": _of_area, "mcc": _of_matthews}


def _of_class_shares(labels: Labels, right: Floats, dependence: Dependence) -> Interval:
    share, reach = dependence.effective_share(of_class_means(labels, right))
    parts = [right[labels == c] for c in np.unique(labels)]
    means = [float(part.mean()) for part in parts]
    found = [wilson(mean, share * len(part), reach) for mean, part in zip(means, parts, strict=True)]
    return _mean(means, found)


def _of_class_gains(labels: Labels, gain: Floats, dependence: Dependence) -> Interval:
    share, reach = dependence.effective_share(of_class_means(labels, gain))
    parts = [gain[labels == c] for c in np.unique(labels)]
    return _mean([float(part.mean()) for part in parts], [_of_gain(part, share, reach) for part in parts])


def _mean(estimates: list[float], intervals: list[Interval]) -> Interval:
    """Interval of the mean of independent estimates."""
    low, high = combined(estimates, intervals)
    return Interval(low / len(estimates), high / len(estimates))


def _of_gain(gain: Floats, share: float, reach: float) -> Interval:
    """Of the mean of ``gain`` (windows,) −1, 0 or 1, each of which counts as ``share`` windows."""
    more, fewer = (float(np.count_nonzero(gain == side)) for side in (1, -1))
    return paired_difference(share * more, share * fewer, share * len(gain), reach)


def _of_loss(logs: Floats, dependence: Dependence) -> Interval:
    """Of a mean log probability, in (log of the smallest probability, 0)."""
    loss, (variance, freedom) = -float(logs.mean()), dependence.variance(logs)
    reach = standard_errors(freedom)
    if loss <= 0 or loss >= _LARGEST_LOSS:
        share, _ = dependence.effective_share(logs)
        found = wilson(min(max(loss / _LARGEST_LOSS, 0.0), 1.0), share * len(logs), reach)
        return Interval(-_LARGEST_LOSS * found.high, -_LARGEST_LOSS * found.low)
    variance += 0.5 * float(logs.min() / len(logs)) ** 2  # half a window as bad as the worst: rare ones may be missing
    odds = loss / (_LARGEST_LOSS - loss)
    factor = math.exp(min(700.0, reach * math.sqrt(variance) * _LARGEST_LOSS / (loss * (_LARGEST_LOSS - loss))))
    low, high = (_LARGEST_LOSS * each / (1 + each) for each in (odds / factor, odds * factor))
    return Interval(-high, -low)


def _of_mean_difference(gain: Floats, dependence: Dependence) -> Interval | None:
    """Of a mean difference of log probabilities."""
    mean, (variance, freedom) = float(gain.mean()), dependence.variance(gain)
    if variance <= _NO_VARIANCE:
        return Interval(0.0, 0.0) if abs(mean) < 1e-12 else None
    share = mean / _LARGEST_LOSS
    reach = standard_errors(freedom) * math.sqrt(variance) / _LARGEST_LOSS / (1 - share**2)
    middle = math.atanh(share)
    return Interval(_LARGEST_LOSS * math.tanh(middle - reach), _LARGEST_LOSS * math.tanh(middle + reach))


def _correlation(first: Floats, second: Floats, dependence: Dependence) -> float:
    """Of the errors of two scores; 0 where one of them has none."""
    own, other, both = (dependence.variance(each).value for each in (first, second, first - second))
    if min(own, other) <= _NO_VARIANCE:
        return 0.0
    return min(1.0, max(-1.0, (own + other - both) / (2 * math.sqrt(own * other))))


def _is_constant(probabilities: Probabilities) -> bool:
    return bool((probabilities == probabilities[0]).all())
