"""Summaries of windows, which are the inputs of simple baselines."""

import numpy as np

from cnn_lstm_hyperopt.evaluation.baselines.base import Floats, Inputs

_NUMBERS_AT_ONCE = 1_000_000
"""Maximum number of inputs (windows × lookback × features) that are copied in one step (4 MB)."""


SPANS = (1, 5, 20)
"""Numbers of last bars of the means, in addition to the mean over all bars."""


def means(inputs: Inputs) -> Floats:
    """Return each feature's means over the last 1, 5 and 20 bars and over all bars, ``(windows, 4 × features)``."""
    parts = [*(inputs[:, -span:].mean(axis=1) for span in SPANS), inputs.mean(axis=1)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def summaries(inputs: Inputs) -> Floats:
    """Return the result of :func:`means`, the last 5 bars and the standard deviations, ``(windows, (4 + 5 + 1) × features)``."""
    tail = inputs[:, -5:].reshape(len(inputs), -1)
    return np.concatenate([means(inputs), tail, _deviations(inputs)], axis=1)


def _deviations(inputs: Inputs) -> Inputs:
    """Return the standard deviation of each feature over a window's bars, ``(windows, features)``.

    The windows are processed in parts, because numpy copies its input, and a copy of all windows may take gigabytes.
    """
    found = np.empty((len(inputs), inputs.shape[2]), dtype=inputs.dtype)
    rows = max(1, _NUMBERS_AT_ONCE // max(1, inputs.shape[1] * inputs.shape[2]))
    for first in range(0, len(inputs), rows):
        inputs[first : first + rows].std(axis=1, out=found[first : first + rows])
    return found
