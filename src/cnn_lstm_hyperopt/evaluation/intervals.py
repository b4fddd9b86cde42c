"""95 % confidence intervals of scores and of paired differences of scores, within the range of the metric.

Each metric defines its own (see :mod:`cnn_lstm_hyperopt.metrics`). Dependent windows reduce the effective number of windows:
see :mod:`.dependence`. Shares use n V₀ / V effective windows, with V the variance and V₀ that of independent windows (Korn &
Graubard 1998), and Student's t.
"""

import math

from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.metrics.base import Labels, Probabilities
from cnn_lstm_hyperopt.metrics.proportions import Interval


def score_interval(
    metric: str, labels: Labels, probabilities: Probabilities, dependence: Dependence
) -> Interval | None:
    """Return the interval of a score.

    Args:
        metric: name in :data:`~cnn_lstm_hyperopt.metrics.METRICS`; larger is better.
        labels: ``(windows,)`` classes.
        probabilities: ``(windows, classes)``.
        dependence: dependence of the windows.

    Returns:
        None: too few units, or an undefined score (an AUC of a single class).
    """
    estimate = METRICS[metric].score(labels, probabilities)
    if dependence.too_few is not None or not math.isfinite(estimate):
        return None
    return METRICS[metric].interval(labels, probabilities, estimate, dependence)


def paired_interval(
    metric: str, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
) -> Interval | None:
    """Return the interval of the score of ``ours`` − that of ``theirs`` on the same windows.

    Arguments as in :func:`score_interval`.

    Returns:
        None: as there, or the log losses differ by the same non-zero amount in all windows.
    """
    chosen = METRICS[metric]
    if dependence.too_few is not None or not math.isfinite(chosen.score(labels, ours) - chosen.score(labels, theirs)):
        return None
    return chosen.paired_interval(labels, ours, theirs, dependence)
