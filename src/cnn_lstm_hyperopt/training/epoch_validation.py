"""Validation windows on which a network is evaluated after each epoch: all of them, or an evenly spaced subset."""

import numpy as np

from cnn_lstm_hyperopt.data.splits import spread_positions
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


def watched(n_train: int, validation: Windows) -> Windows:
    """Return the validation windows for evaluations after each epoch: the same windows, or an evenly spaced subset.

    The subset is the same for all trainings on these windows, so scores of different networks are compared on the same windows. A
    subset that lacked a class would leave some scores undefined; all windows are used then.
    """
    count = n_watched(n_train, len(validation))
    if count == len(validation):
        return validation
    subset = validation.subset(spread_positions(len(validation), count))
    lacks = np.setdiff1d(validation.labels.cpu().numpy(), subset.labels.cpu().numpy())
    return validation if len(lacks) else subset
