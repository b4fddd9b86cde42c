"""Validation windows on which a network is evaluated after each epoch: all of them, or an evenly spaced subset."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.windows import Windows

WATCHED_SHARE, MIN_WATCHED = 0.25, 500
"""Number of watched windows as a share of the training windows, and the minimum. An evaluation of a window costs about a third of
a training step on it, so an evaluation after each epoch then costs about a tenth of the epoch."""
WORTHWHILE = 0.5
"""Maximum share of the validation windows that a subset may have. A larger subset would save less than it costs, because the best
epoch is evaluated on all windows in the end."""


def n_watched(n_train: int, n_validation: int) -> int:
    """Return the number of validation windows on which a network is evaluated after each epoch.

    Args:
        n_train: number of training windows of an epoch, over all its passes.
        n_validation: number of validation windows.
    """
    limit = max(MIN_WATCHED, round(WATCHED_SHARE * n_train))
    return limit if limit <= WORTHWHILE * n_validation else n_validation


def watched_positions(n_train: int, validation: Windows) -> NDArray[np.int64] | None:
    """Return the positions of the validation windows for evaluations after each epoch; None: all windows.

    The windows are divided into equal stretches, and one window is drawn from each. With the same place in each stretch, windows
    in a periodic order (symbols of a date, hours of a day) could all be of one symbol or of one hour.

    The subset is the same for all trainings on these windows, so scores of different networks are compared on the same windows. A
    subset that lacked a class would leave some scores undefined; all windows are used then.
    """
    n = len(validation)
    count = n_watched(n_train, n)
    if count == n:
        return None
    edges = np.arange(count + 1, dtype=np.int64) * n // count
    positions = np.random.default_rng(0).integers(edges[:-1], edges[1:])
    labels = validation.labels.cpu().numpy()
    return None if len(np.setdiff1d(labels, labels[positions])) else positions
