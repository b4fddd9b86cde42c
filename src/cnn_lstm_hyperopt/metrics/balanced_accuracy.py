"""Balanced accuracy. Its interval combines the intervals of each class's accuracy (MOVER, Zou & Donner 2008)."""

import math

import numpy as np

from cnn_lstm_hyperopt.metrics.base import (
    Bounded,
    ConfusionMetric,
    Dependence,
    Floats,
    Labels,
    Probabilities,
    gain_interval,
    hits,
    mean_of_known,
    ratio,
)
from cnn_lstm_hyperopt.metrics.proportions import Interval, combined, wilson


class BalancedAccuracy(ConfusionMetric):
    """Mean accuracy of the classes that occur. A class's accuracy is the share of its windows that is predicted correctly."""

    name, place = "balanced_accuracy", 1
    description = "mean over the classes of the share of their windows that is predicted correctly"
    label, header = "balanced accuracy", "balanced"
    score_range = (0.0, 1.0)
    small_gain = 0.02
    per_cent = True
    balances_classes = True
    measured = "balanced accuracy"

    def of_confusion(self, cells: Floats) -> Floats:
        return mean_of_known(ratio(np.diagonal(cells, axis1=-2, axis2=-1), cells.sum(axis=-1)))

    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return q = 1/C and its standard error √(Σ q (1 − q) / n_c) / C, with C classes and n_c windows of class c."""
        q = 1 / len(counts)
        return q, q * math.sqrt(float((q * (1 - q) * overlap / counts).sum()))

    def influence(self, labels: Labels, probabilities: Probabilities) -> Floats:
        return of_class_means(labels, hits(labels, probabilities))

    def bounded(self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence) -> Bounded:
        right, influence = hits(labels, probabilities), self.influence(labels, probabilities)
        share, reach = dependence.effective_share(influence)
        parts = [right[labels == c] for c in np.unique(labels)]
        means = [float(part.mean()) for part in parts]
        found = [wilson(mean, share * len(part), reach) for mean, part in zip(means, parts, strict=True)]
        return Bounded(_mean(means, found), influence)

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval:
        gain = hits(labels, ours) - hits(labels, theirs)
        share, reach = dependence.effective_share(of_class_means(labels, gain))
        parts = [gain[labels == c] for c in np.unique(labels)]
        return _mean([float(part.mean()) for part in parts], [gain_interval(part, share, reach) for part in parts])


def of_class_means(labels: Labels, values: Floats) -> Floats:
    """Return the influence of each window on the mean over classes of each class's mean value, shape ``(windows,)``."""
    counts = np.bincount(labels).astype(np.float64)
    present = np.count_nonzero(counts)
    counts = np.maximum(counts, 1.0)
    means = np.bincount(labels, weights=values) / counts
    return np.asarray((values - means[labels]) * len(labels) / (present * counts[labels]))


def _mean(estimates: list[float], intervals: list[Interval]) -> Interval:
    """Return the confidence interval of the mean of independent estimates, from the interval of each estimate."""
    low, high = combined(estimates, intervals)
    return Interval(low / len(estimates), high / len(estimates))
