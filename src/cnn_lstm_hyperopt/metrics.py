"""What a search maximises: a score of class probabilities against labels. Larger is better for each of them.

Each takes weights of the windows, one set or many at once, so that a bootstrap is one call: a window drawn twice weighs 2. What
a call needs beside is at most three times as large as the weights: whoever has more than fit passes them in parts.
"""

import math
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
    spread = _spread(true) * _spread(said)
    correlation = np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
    return np.asarray(np.where(total > 0, correlation, np.nan))


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


SCORE_RANGES: dict[str, tuple[float, float]] = {
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "mcc": (-1.0, 1.0),
    "auc": (0.0, 1.0),
    "log_loss": (math.log(LEAST_PROBABILITY), 0.0),
}
"""The worst and the best score that there can be."""

SMALL_GAINS: dict[str, float] = {
    "accuracy": 0.02,
    "balanced_accuracy": 0.02,
    "mcc": 0.04,
    "auc": 0.028,
    "log_loss": 0.0008,
}
"""What being right in 52 of 100 instead of 50 is worth in each, for two even classes: 2p − 1 of an MCC; Φ(√2 Φ⁻¹(p)) − ½ of an
AUC (two normal distributions); ln 2 less the entropy of p of a log loss. By it, what is tuned in accuracies fits all metrics."""


def objective_name(metric: str) -> str:
    """What the maximised quantity is called where a study's objectives are named."""
    return "negative_log_loss" if metric == "log_loss" else metric


def objective_words(metric: str) -> str:
    """The same in a sentence."""
    return objective_name(metric).replace("_", " ")


def best_constant(metric: str) -> str:
    """What has learnt nothing and scores best, in a sentence: for an accuracy the most frequent class, always."""
    return "the majority class" if metric == "accuracy" else "the best constant prediction"


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
    return np.asarray((weights @ cells).reshape(*weights.shape[:-1], n_classes, n_classes))


def _spread(counts: Floats) -> Floats:
    """(Σ counts)² − Σ counts², as the sum over pairs of classes: the difference of squares is no exact 0 for constants."""
    pairs = counts[..., :, None] * counts[..., None, :]
    return np.asarray(pairs.sum(axis=(-2, -1), where=~np.eye(counts.shape[-1], dtype=bool)))


def _area(positive: NDArray[np.bool_], said: NDArray[np.floating], weights: Floats) -> Floats:
    """Weighted share of pairs (positive, negative) in which the positive one was given more; a tie counts half."""
    order = np.argsort(said, kind="stable")
    ones, zeros = order[positive[order]], order[~positive[order]]
    below = np.searchsorted(said[zeros], said[ones], side="left")  # of each positive, negatives that were given less
    up_to = np.searchsorted(said[zeros], said[ones], side="right")
    of_ones, of_zeros = weights[..., ones], weights[..., zeros]
    passed = np.zeros((*weights.shape[:-1], len(zeros) + 1))
    np.cumsum(of_zeros, axis=-1, out=passed[..., 1:])
    beaten = passed[..., below]
    if (below != up_to).any():
        beaten = (beaten + passed[..., up_to]) / 2
    pairs = of_ones.sum(axis=-1) * of_zeros.sum(axis=-1)
    return _ratio(np.einsum("...i,...i->...", of_ones, beaten), pairs)
