"""What each window adds to a score: the estimate varies as the mean of these influences does.

A score that is no mean (an MCC, an AUC) is one to first order: its error is the mean of the influences of the windows.
"""

import math

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import LEAST_PROBABILITY, confusion_cells

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]

PSEUDO_WINDOWS = 2.0
"""Added to a confusion matrix, spread evenly: without them a class without an error has no uncertainty (Agresti & Coull 1998)."""


def hits(labels: Labels, probabilities: Probabilities) -> Floats:
    """Whether each window's most probable class is right, (windows,) 0 or 1."""
    return np.asarray(probabilities.argmax(axis=1) == labels, dtype=np.float64)


def log_probabilities(labels: Labels, probabilities: Probabilities) -> Floats:
    """Log probability of what happened, (windows,) nats."""
    happened = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(np.log(np.maximum(happened, LEAST_PROBABILITY)))


def of_class_means(labels: Labels, values: Floats) -> Floats:
    """Influence on the mean over classes of the classes' means of ``values``, (windows,)."""
    counts = np.bincount(labels).astype(np.float64)
    present = np.count_nonzero(counts)
    counts = np.maximum(counts, 1.0)
    means = np.bincount(labels, weights=values) / counts
    return np.asarray((values - means[labels]) * len(labels) / (present * counts[labels]))


def balanced_windows(labels: Labels) -> float:
    """Number of windows of a set of even classes in which a class is as uncertain as on average here: C² / Σ 1/n_c."""
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return float(len(counts) ** 2 / (1 / counts).sum())


def of_matthews(labels: Labels, probabilities: Probabilities) -> tuple[Floats, float, float]:
    """Influence on Matthews' correlation coefficient (Gorodkin 2004, eq. 8), by its derivatives.

    Returns:
        The influences, (windows,); the coefficient of a confusion matrix with two more windows, spread evenly; the variance
        that the coefficient of one window has there. Without them a perfect classifier would have none.
    """
    n_classes = probabilities.shape[1]
    cells = confusion_cells(labels, probabilities)
    counts = np.bincount(cells, minlength=n_classes**2) + PSEUDO_WINDOWS / n_classes**2
    shares = (counts / counts.sum()).reshape(n_classes, n_classes)
    true, said, right = shares.sum(axis=1), shares.sum(axis=0), float(np.trace(shares))
    covariance = right - float(true @ said)
    spread_true, spread_said = 1 - float(true @ true), 1 - float(said @ said)
    scale = math.sqrt(spread_true * spread_said)
    coefficient = covariance / scale
    of_covariance = np.eye(n_classes) + right - said[:, None] - true[None, :]
    of_spreads = (1 - true)[:, None] / spread_true + (1 - said)[None, :] / spread_said
    derivative = of_covariance / scale - coefficient * of_spreads
    derivative -= float((shares * derivative).sum())
    return derivative.ravel()[cells], coefficient, float((shares * derivative**2).sum())


def of_area(labels: Labels, probabilities: Probabilities) -> Floats:
    """Influence on the area under the ROC curve, of more than two classes the mean of each against the rest, (windows,).

    By placements, the share of the windows on the other side that a window is on the right side of (DeLong, DeLong &
    Clarke-Pearson 1988).
    """
    n_classes = probabilities.shape[1]
    found = [
        _of_one_area(labels == c, probabilities[:, c])
        for c in (range(1, 2) if n_classes == 2 else range(n_classes))
        if 0 < np.count_nonzero(labels == c) < len(labels)
    ]
    return np.asarray(np.mean(found, axis=0))


def _of_one_area(positive: NDArray[np.bool_], said: NDArray[np.floating]) -> Floats:
    influence = np.empty(len(said))
    for side, sign in ((positive, 1.0), (~positive, -1.0)):
        others = np.sort(said[~side])
        below = np.searchsorted(others, said[side], side="left") + np.searchsorted(others, said[side], side="right")
        placements = sign * below / (2 * len(others))
        size = len(placements)
        unbiased = math.sqrt(size / (size - 1)) if size > 1 else 1.0
        influence[side] = (placements - placements.mean()) * unbiased * len(said) / size
    return influence
