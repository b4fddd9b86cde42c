"""Decision rule: the class that is predicted from class probabilities, with one weight for each class."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.metrics.base import Floats, Labels, Probabilities


def class_weights(labels: Labels, n_classes: int) -> Floats:
    """Return inverse class frequencies with a mean of 1 over the windows, ``(classes,)``; 1 for a class that does not occur.

    As weights of a training loss, they make all classes count equally. As decision weights, they predict the class whose
    probability exceeds its frequency by the largest factor. This rule maximises the expected balanced accuracy (Menon,
    Narasimhan, Agarwal & Chawla 2013).

    Args:
        labels: ``(windows,)`` classes of the training windows.
        n_classes: number of classes.
    """
    counts = np.bincount(labels, minlength=n_classes)
    present = counts > 0
    return np.asarray(np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 1.0))


def decided(probabilities: Probabilities, weights: NDArray[np.floating] | None) -> Probabilities:
    """Return the probabilities times the decision weights, with rows that add up to 1; their largest entry is the decision.

    Args:
        probabilities: ``(windows, classes)``.
        weights: ``(classes,)`` decision weights; None: returns ``probabilities``.
    """
    if weights is None:
        return probabilities
    weighted = probabilities * weights
    return np.asarray(weighted / weighted.sum(axis=1, keepdims=True))
