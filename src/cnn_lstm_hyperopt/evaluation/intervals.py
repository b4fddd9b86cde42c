"""Confidence intervals of scores and of paired differences of scores. The intervals stay within the range of the metric.

Each metric defines its own intervals (see :mod:`cnn_lstm_hyperopt.metrics`). Dependence between windows reduces the effective
number of windows (see :mod:`.dependence`). The interval of a share uses Student's t distribution and n V₀ / V effective
windows (Korn & Graubard 1998). Here n is the number of windows, V the variance, and V₀ the variance if windows were
independent.
"""

import math

from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics.base import Labels, Probabilities
from cnn_lstm_hyperopt.metrics.proportions import Interval


def score_interval(
    metric: str, labels: Labels, probabilities: Probabilities, dependence: Dependence
) -> Interval | None:
    """Return the confidence interval of a model's score, for scores of which larger is better.

    Args:
        metric: name in :data:`~cnn_lstm_hyperopt.metrics.METRICS`.
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)`` predicted probabilities.
        dependence: dependence of the windows, and the confidence level (95 % by default).

    Returns:
        The interval, or None if there are too few units, or if the score is undefined, such as an AUC of a single class.
    """
    estimate = METRICS[metric].score(labels, probabilities)
    if dependence.too_few is not None or not math.isfinite(estimate):
        return None
    return METRICS[metric].interval(labels, probabilities, estimate, dependence)


def paired_interval(
    metric: str, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
) -> Interval | None:
    """Return the confidence interval of a difference: score of ``ours`` minus score of ``theirs`` on the same windows.

    ``ours`` and ``theirs`` are probabilities ``(windows, classes)``. The other arguments are those of :func:`score_interval`.

    Returns:
        The interval, or None in the same cases as :func:`score_interval`, or if the log losses differ by the same non-zero
        amount in all windows.
    """
    chosen = METRICS[metric]
    if dependence.too_few is not None or not math.isfinite(chosen.score(labels, ours) - chosen.score(labels, theirs)):
        return None
    return chosen.paired_interval(labels, ours, theirs, dependence)
