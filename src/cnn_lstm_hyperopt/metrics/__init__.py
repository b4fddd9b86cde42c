"""Metrics that a study can maximise. All that other packages need to know about a metric is in the file of the metric."""

import math

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import ConfusionMetric, Metric
from cnn_lstm_hyperopt.metrics.decision import class_weights, decided
from cnn_lstm_hyperopt.utils.registry import members

METRICS: dict[str, Metric] = {name: kind() for name, kind in members(__name__, Metric).items()}
"""All metrics by name, in the order in which lists show them."""


def score(
    metric: str,
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    decision_weights: NDArray[np.floating] | None = None,
) -> float:
    """Return the score of predictions by the named metric; NaN if the score is undefined (an AUC of a single class)."""
    return METRICS[metric].score(labels, as_scored(metric, probabilities, decision_weights))


def as_scored(
    metric: str, probabilities: NDArray[np.floating], decision_weights: NDArray[np.floating] | None
) -> NDArray[np.floating]:
    """Return what the named metric scores: probabilities, or for metrics of predicted classes the weighted probabilities.

    Args:
        metric: name of the metric.
        probabilities: ``(windows, classes)``.
        decision_weights: ``(classes,)`` see :func:`.decided`; None: the most probable class is predicted.
    """
    return decided(probabilities, decision_weights) if isinstance(METRICS[metric], ConfusionMetric) else probabilities


def if_defined(score: float) -> float | None:
    """Return a score, or None if the score is undefined (NaN or infinite). JSON has no such numbers."""
    return score if math.isfinite(score) else None


__all__ = ["METRICS", "Metric", "as_scored", "class_weights", "decided", "if_defined", "score"]
