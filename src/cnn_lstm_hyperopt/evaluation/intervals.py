"""Confidence intervals of 95 % for scores and for differences of scores on the same windows; none leaves its range.

Each metric has its own (see :mod:`cnn_lstm_hyperopt.metrics`). Dependent windows count for less than one each: see
:mod:`.dependence`. Shares have the effective number of windows n V₀ / V, with V the variance and V₀ that of independent windows
(Korn & Graubard 1998), and Student's t.
"""

import math

from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics.base import Labels, Probabilities
from cnn_lstm_hyperopt.metrics.proportions import Interval


def score_interval(
    metric: str, labels: Labels, probabilities: Probabilities, dependence: Dependence
) -> Interval | None:
    """Interval of a score.

    Args:
        metric: of :data:`~cnn_lstm_hyperopt.metrics.METRICS`; larger is better.
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``.
        dependence: of the windows.

    Returns:
        None where there is none: too few units, or a score that is not defined (an AUC of a single class).
    """
    estimate = METRICS[metric].score(labels, probabilities)
    if dependence.too_few is not None or not math.isfinite(estimate):
        return None
    return METRICS[metric].interval(labels, probabilities, estimate, dependence)


def paired_interval(
    metric: str, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
) -> Interval | None:
    """Interval of the score of ``ours`` − that of ``theirs`` on the same windows.

    Arguments as in :func:`score_interval`.

    Returns:
        None where there is none: as there, and where a difference of log losses is the same for all windows without being 0.
    """
    chosen = METRICS[metric]
    if dependence.too_few is not None or not math.isfinite(chosen.score(labels, ours) - chosen.score(labels, theirs)):
        return None
    return chosen.paired_interval(labels, ours, theirs, dependence)
