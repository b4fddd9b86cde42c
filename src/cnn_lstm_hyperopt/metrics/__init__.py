"""Metrics that a study can maximise. All that other packages need to know about a metric is in the file of the metric."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import Metric
from cnn_lstm_hyperopt.utils.registry import members

METRICS: dict[str, Metric] = {name: kind() for name, kind in members(__name__, Metric).items()}
"""All metrics by name, in the order in which lists show them."""


def score(metric: str, labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """Return the score of predictions by the named metric; NaN if the score is undefined (an AUC of a single class)."""
    return METRICS[metric].score(labels, probabilities)


__all__ = ["METRICS", "Metric", "score"]
