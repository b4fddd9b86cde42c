"""What a study maximises: one file for each metric, which holds all that the other packages need to know of it."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import Metric
from cnn_lstm_hyperopt.utils.registry import members

METRICS: dict[str, Metric] = {name: kind() for name, kind in members(__name__, Metric).items()}
"""By name, in the order in which they are listed."""


def score(metric: str, labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """The score of one set of windows, each of the same weight; NaN where it is not defined (an AUC of a single class)."""
    return METRICS[metric].score(labels, probabilities)


__all__ = ["METRICS", "Metric", "score"]
