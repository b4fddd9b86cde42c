"""What a search maximises: a score of class probabilities against labels. Larger is better for each of them.

Each takes weights of the windows, one set or many at once, so that a bootstrap is one call: a window drawn twice weighs 2.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[[NDArray[np.int64], NDArray[np.floating], Floats], Floats]
"""``(labels (windows,), probabilities (windows, classes), weights (…, windows)) → scores (…)``; NaN where it is not defined."""
LEAST_PROBABILITY = 1e-7
"""Probabilities are lifted to it before their logarithm: float32 can't tell smaller ones from 0."""


def accuracy(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Share of windows whose most probable class is right."""
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    return np.asarray(_ratio(weights @ right, weights.sum(axis=-1)))


def balanced_accuracy(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Mean over the classes that occur of the share of their windows that is recognised."""
    confusion = _confusion(labels, probabilities, weights)
    recalls = _ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1))
    there = ~np.isnan(recalls)
    return np.asarray(_ratio(np.where(there, recalls, 0.0).sum(axis=-1), there.sum(axis=-1)))


def matthews(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Matthews' correlation coefficient, for any number of classes R_K (Gorodkin 2004, eq. 8); 0 for constants."""
    confusion = _confusion(labels, probabilities, weights)
    total = confusion.sum(axis=(-2, -1))
    true, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
    right = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    covariance = right * total - (true * said).sum(axis=-1)
    spread = (total**2 - (said**2).sum(axis=-1)) * (total**2 - (true**2).sum(axis=-1))
    return np.asarray(np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0))


def auc(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Area under the ROC curve; with more than two classes the mean over classes of each against the rest."""
    classes = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = np.stack([_area(labels == c, probabilities[:, c], weights) for c in classes], axis=-1)
    there = ~np.isnan(areas)
    return np.asarray(_ratio(np.where(there, areas, 0.0).sum(axis=-1), there.sum(axis=-1)))


def negative_log_loss(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Mean log probability (nats) of what happened: the log loss with its sign turned."""
    happened = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    logs = np.log(np.maximum(happened, LEAST_PROBABILITY))
    return np.asarray(_ratio(weights @ logs, weights.sum(axis=-1)))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "mcc": matthews,
    "auc": auc,
    "log_loss": negative_log_loss,
}


def score(metric: str, labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> float:
    """The score of one set of windows, each of the same weight; NaN where it is not defined (an AUC of a single class)."""
    return float(METRICS[metric](labels, probabilities, np.ones(len(labels))))


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)


def _confusion(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Weight of each pair (class, predicted class), ``(…, classes, classes)``."""
    n_classes = probabilities.shape[1]
    cells = np.zeros((len(labels), n_classes * n_classes))
    cells[np.arange(len(labels)), labels * n_classes + probabilities.argmax(axis=1)] = 1.0
    return (weights @ cells).reshape(*weights.shape[:-1], n_classes, n_classes)


def _area(positive: NDArray[np.bool_], said: NDArray[np.floating], weights: Floats) -> Floats:
    """Weighted share of pairs (positive, negative) in which the positive one was given more; a tie counts half."""
    order = np.argsort(said, kind="stable")
    firsts = np.flatnonzero(np.diff(said[order], prepend=-np.inf))  # of each run of equal values
    ones, zeros = (
        np.add.reduceat(np.where(mask[order], weights[..., order], 0.0), firsts, axis=-1)
        for mask in (positive, ~positive)
    )
    below = np.cumsum(zeros, axis=-1) - zeros
    pairs = ones.sum(axis=-1) * zeros.sum(axis=-1)
    return _ratio((ones * (below + zeros / 2)).sum(axis=-1), pairs)
