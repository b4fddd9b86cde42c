"""What a search maximises: a score of class probabilities against labels. Larger is better for each of them.

Each takes weights of the windows, one set or many at once: a window that weighs 2 counts as two. A call needs at most three times
the memory of the weights.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

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
    return _mean_recall(_confusion(labels, probabilities, weights))


def matthews(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Matthews' correlation coefficient, for any number of classes R_K (Gorodkin 2004, eq. 8); 0 for constants."""
    return _correlation(_confusion(labels, probabilities, weights))


def auc(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Area under the ROC curve; with more than two classes the mean over classes of each against the rest."""
    classes = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [_Ranking.of(labels == c, probabilities[:, c]).area(weights) for c in classes]
    return _mean_of_known(np.stack(areas, axis=-1))


def negative_log_loss(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Mean log probability (nats) of what happened: the log loss with its sign turned."""
    happened = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    logs = np.log(np.maximum(happened, LEAST_PROBABILITY))
    return np.asarray(_ratio(weights @ logs, weights.sum(axis=-1)))


def _mean_recall(confusion: Floats) -> Floats:
    """Of matrices ``(…, classes, classes)``."""
    return _mean_of_known(_ratio(np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1)))


def _correlation(confusion: Floats) -> Floats:
    """Gorodkin 2004, eq. 8."""
    total = confusion.sum(axis=(-2, -1))
    true, said = confusion.sum(axis=-1), confusion.sum(axis=-2)
    right = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1)
    covariance = right * total - (true * said).sum(axis=-1)
    spread = _spread(true) * _spread(said)
    correlation = np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
    return np.asarray(np.where(total > 0, correlation, np.nan))


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


def confusion_cells(labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Cell ``(windows,)`` of each window in the confusion matrix, read row by row: class × classes + predicted class."""
    return np.asarray(labels * probabilities.shape[1] + probabilities.argmax(axis=1), dtype=np.int64)


def _confusion(labels: NDArray[np.int64], probabilities: NDArray[np.floating], weights: Floats) -> Floats:
    """Weight of each pair (class, predicted class), ``(…, classes, classes)``."""
    n_classes = probabilities.shape[1]
    cells = np.zeros((len(labels), n_classes * n_classes))
    cells[np.arange(len(labels)), confusion_cells(labels, probabilities)] = 1.0
    return np.asarray((weights @ cells).reshape(*weights.shape[:-1], n_classes, n_classes))


def _mean_of_known(of_classes: Floats) -> Floats:
    """Mean over the last axis of what is not NaN."""
    there = ~np.isnan(of_classes)
    return np.asarray(_ratio(np.where(there, of_classes, 0.0).sum(axis=-1), there.sum(axis=-1)))


def _spread(counts: Floats) -> Floats:
    """(Σ counts)² − Σ counts², as the sum over pairs of classes: the difference of squares is no exact 0 for constants."""
    pairs = counts[..., :, None] * counts[..., None, :]
    return np.asarray(pairs.sum(axis=(-2, -1), where=~np.eye(counts.shape[-1], dtype=bool)))


class _Ranking(NamedTuple):
    """Windows in the order of a class's probability.

    Attributes:
        ones, zeros: windows of the class and the others, from the lowest probability to the highest.
        below: ``(ones,)`` for each window of the class, the number of others with a lower probability.
        tied: which windows of the class have the same probability as some others.
        up_to: ``(tied,)`` for each of these, the number of others with a probability that is not higher.
    """

    ones: NDArray[np.int64]
    zeros: NDArray[np.int64]
    below: NDArray[np.int64]
    tied: NDArray[np.int64]
    up_to: NDArray[np.int64]

    @classmethod
    def of(cls, positive: NDArray[np.bool_], said: NDArray[np.floating]) -> "_Ranking":
        order = np.argsort(said, kind="stable")
        ones, zeros = order[positive[order]], order[~positive[order]]
        below = np.searchsorted(said[zeros], said[ones], side="left")
        up_to = np.searchsorted(said[zeros], said[ones], side="right")
        tied = np.flatnonzero(below != up_to)
        return cls(ones, zeros, below, tied, up_to[tied])

    def area(self, weights: Floats) -> Floats:
        """Weighted share of pairs (one of the class, another) whose first has the higher probability; a tie counts half."""
        # window by window in memory: fetching whole rows is several times faster than fetching single numbers
        by_window = np.ascontiguousarray(np.moveaxis(weights, -1, 0))
        passed = np.zeros((len(self.zeros) + 1, *weights.shape[:-1]))
        np.cumsum(by_window[self.zeros], axis=0, out=passed[1:])
        beaten = passed[self.below]
        beaten[self.tied] = (beaten[self.tied] + passed[self.up_to]) / 2
        of_ones = by_window[self.ones]
        pairs = of_ones.sum(axis=0) * passed[-1]
        return _ratio(np.einsum("i...,i...->...", of_ones, beaten), pairs)
