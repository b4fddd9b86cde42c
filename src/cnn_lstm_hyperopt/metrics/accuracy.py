"""Accuracy, with Wilson's interval (1927) of a score and Tango's interval (1998) of a difference between two scores."""

import math

import numpy as np

from cnn_lstm_hyperopt.metrics.base import (
    ConfusionMetric,
    Dependence,
    Floats,
    Labels,
    Probabilities,
    gain_interval,
    hits,
    ratio,
)
from cnn_lstm_hyperopt.metrics.proportions import Interval, wilson


class Accuracy(ConfusionMetric):
    """Share of windows whose most probable class is correct.

    Comparisons with chance use the balanced accuracy, which is 1 / number of classes for every constant prediction. The accuracy
    of the majority class varies with the shares of the classes. If these shares change slowly over time, as for classes of
    volatility, the change hides the skill of a model. For this reason, Pesaran & Timmermann (1992) test the association between
    predictions and labels.
    """

    name, place = "accuracy", 0
    description = "share of windows whose most probable class is correct"
    label, article = "accuracy", "an"
    score_range = (0.0, 1.0)
    small_gain = 0.02
    per_cent = True
    fixed_error = False
    chance_varies = True
    constant = "the majority class"
    superlative = "most accurate"
    chance_metric = "balanced_accuracy"
    result_key = "test_class_acc"

    def of_confusion(self, cells: Floats) -> Floats:
        return ratio(np.trace(cells, axis1=-2, axis2=-1), cells.sum(axis=(-2, -1)))

    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return the share p of the majority class and its standard error √(p (1 − p) / n), with n independent windows."""
        n, p = counts.sum(), counts.max() / counts.sum()
        return float(p), math.sqrt(p * (1 - p) * overlap / n)

    def standard_error(self, score: float, chance: float, n: float) -> float:
        """Return the standard error √(p (1 − p) / n) of an accuracy p, with n independent windows."""
        p = min(max(score, 0.0), 1.0)
        return math.sqrt(p * (1 - p) / n)

    def interval(
        self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence
    ) -> Interval:
        share, reach = dependence.effective_share(hits(labels, probabilities))
        return wilson(estimate, share * len(labels), reach)

    def paired_interval(
        self, labels: Labels, ours: Probabilities, theirs: Probabilities, dependence: Dependence
    ) -> Interval:
        gain = hits(labels, ours) - hits(labels, theirs)
        return gain_interval(gain, *dependence.effective_share(gain))

    def threshold_text(self, chance: float, threshold: float) -> str:
        return f"Majority class on validation: {chance:.1%} right; above {threshold:.1%}"
