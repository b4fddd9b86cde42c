"""Metrics that a study can maximise: one file for each, with all facts that other packages need."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import Metric
from cnn_lstm_hyperopt.utils.registry import members

METRICS: dict[str, Metric] = {name: kind() for name, kind in members(__name__, Metric).items()}
"""Metrics by name, in the order of lists."""


def score(metric: str, labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """Return the score of equally weighted windows; NaN if it is undefined (an AUC of a single class)."""
    return METRICS[metric].score(labels, probabilities)


__all__ = ["METRICS", "Metric", "score"]
