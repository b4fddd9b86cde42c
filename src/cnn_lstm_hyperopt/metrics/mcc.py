"""Matthews correlation coefficient, for any number of classes (R_K of Gorodkin 2004)."""

import math

import numpy as np

from cnn_lstm_hyperopt.metrics.base import (
    Bounded,
    ConfusionMetric,
    Dependence,
    Floats,
    Labels,
    Probabilities,
    confusion_cells,
)
from cnn_lstm_hyperopt.metrics.proportions import Interval, wilson

PSEUDO_WINDOWS = 2.0
"""Number of windows that are added to a confusion matrix in equal parts, so that a class without errors has a positive variance
(Agresti & Coull 1998)."""


class Matthews(ConfusionMetric):
    """Matthews correlation coefficient (Gorodkin 2004, eq. 8); the coefficient of constant predictions is 0."""

    name, place = "mcc", 2
    description = "Matthews correlation coefficient; 0 for constant predictions"
    label, article = "MCC", "an"
    hub_name, hub_label = "matthews_correlation", "Matthews correlation"
    score_range = (-1.0, 1.0)
    small_gain = 0.04
    """Coefficient of p = 52 % correct predictions, for two balanced classes: 2p − 1."""
    needs_two_classes = True
    balances_classes = True
    measured = "MCC"
    digits = "+.3f"

    def of_confusion(self, cells: Floats) -> Floats:
        total = cells.sum(axis=(-2, -1))
        true, predicted = cells.sum(axis=-1), cells.sum(axis=-2)
        right = np.diagonal(cells, axis1=-2, axis2=-1).sum(axis=-1)
        covariance = right * total - (true * predicted).sum(axis=-1)
        spread = _spread(true) * _spread(predicted)
        correlation = np.where(spread > 0, covariance / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
        return np.asarray(np.where(total > 0, correlation, np.nan))

    def at_chance(self, counts: Floats, overlap: float) -> tuple[float, float]:
        """Return 0 and its standard error 1/√n, the error of the correlation of independent variables over n windows.

        For more than two classes, 1/√n is an upper bound of the standard error.
        """
        return 0.0, math.sqrt(overlap / counts.sum())

    def influence(self, labels: Labels, probabilities: Probabilities) -> Floats:
        return of_matthews(labels, probabilities)[0]

    def bounded(self, labels: Labels, probabilities: Probabilities, estimate: float, dependence: Dependence) -> Bounded:
        influence, smoothed, variance_of_one = of_matthews(labels, probabilities)
        share, _ = dependence.effective_share(influence)
        n = share * len(labels)
        effective = n * (1 - smoothed**2) / variance_of_one  # u (1 − u) = (1 − m²) / 4 of u = (1 + m) / 2
        low, high = wilson((1 + estimate) / 2, effective, dependence.variance(influence).reach)
        return Bounded(Interval(2 * low - 1, 2 * high - 1), influence, PSEUDO_WINDOWS / n)


def of_matthews(labels: Labels, probabilities: Probabilities) -> tuple[Floats, float, float]:
    """Return the influence of each window on the Matthews correlation coefficient (Gorodkin 2004, eq. 8), by its derivatives.

    Returns:
        The influences, ``(windows,)``; the coefficient after adding the pseudo-windows; the variance of one window's influence.
    """
    n_classes = probabilities.shape[1]
    cells = confusion_cells(labels, probabilities)
    counts = np.bincount(cells, minlength=n_classes**2) + PSEUDO_WINDOWS / n_classes**2
    shares = (counts / counts.sum()).reshape(n_classes, n_classes)
    true, predicted, right = shares.sum(axis=1), shares.sum(axis=0), float(np.trace(shares))
    covariance = right - float(true @ predicted)
    spread_true, spread_predicted = 1 - float(true @ true), 1 - float(predicted @ predicted)
    scale = math.sqrt(spread_true * spread_predicted)
    coefficient = covariance / scale
    of_covariance = np.eye(n_classes) + right - predicted[:, None] - true[None, :]
    of_spreads = (1 - true)[:, None] / spread_true + (1 - predicted)[None, :] / spread_predicted
    derivative = of_covariance / scale - coefficient * of_spreads
    derivative -= float((shares * derivative).sum())
    return derivative.ravel()[cells], coefficient, float((shares * derivative**2).sum())


def _spread(counts: Floats) -> Floats:
    """Return (Σ counts)² − Σ counts², computed as a sum over pairs of classes, which is exactly 0 if only one class occurs."""
    pairs = counts[..., :, None] * counts[..., None, :]
    return np.asarray(pairs.sum(axis=(-2, -1), where=~np.eye(counts.shape[-1], dtype=bool)))
