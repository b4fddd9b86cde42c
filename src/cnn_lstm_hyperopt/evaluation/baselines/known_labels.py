"""Labels and values that are known at the end of a window."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.baselines.base import UNKNOWN, Floats, Labels

SPANS = (20, 60, 250, 1000)
"""Numbers of last known labels in which the classes are counted."""


def earlier_windows(symbols: NDArray[Any], starts: NDArray[np.int64], horizon: int) -> NDArray[np.int64]:
    """Return for each window the position of the window of the same symbol that starts ``horizon`` rows earlier.

    The position is −1 if there is no such window.

    The label of the earlier window depends on bars up to the last bar of the later window. So the label of the earlier window
    is the last label that is known at this bar. Pass the windows of training, validation and test together, because a test
    label is known to windows that end a horizon later.

    Args:
        symbols: ``(windows,)`` names.
        starts: ``(windows,)`` first row of each window in the series that all windows share.
        horizon: number of bars that a label looks ahead, at least 1.

    Raises:
        ValueError: the starts are too far apart to be rows of one series.
    """
    if len(starts) == 0:
        return np.empty(0, dtype=np.int64)
    names, who = np.unique(symbols, return_inverse=True)
    low, high = int(starts.min()), int(starts.max())
    if len(names) * (high - low + 1 + horizon) > np.iinfo(np.int64).max:
        raise ValueError(f"starts must be rows of one series, but are between {low} and {high}")
    # one number for each (symbol, row); symbols are more than a horizon apart
    keys = who * (high - low + 1 + horizon) + (starts - low + horizon)
    order = np.argsort(keys, kind="stable")
    wanted = keys - horizon
    place = order[np.maximum(np.searchsorted(keys, wanted, side="right", sorter=order) - 1, 0)]
    return np.where(keys[place] == wanted, place, -1)


def last_labels(labels: Labels, earlier: NDArray[np.int64]) -> Labels:
    """Return the label at each position in ``earlier`` (see :func:`earlier_windows`), or :data:`UNKNOWN` for position −1."""
    return np.where(earlier >= 0, labels[earlier], UNKNOWN)


def last_values(values: NDArray[np.floating], earlier: NDArray[np.int64]) -> Floats:
    """Return the value at each position in ``earlier`` (see :func:`earlier_windows`), or NaN for position −1."""
    return np.where(earlier >= 0, values[earlier].astype(np.float64), np.nan)


def recent_counts(
    symbols: NDArray[Any],
    starts: NDArray[np.int64],
    labels: Labels,
    horizon: int,
    n_classes: int,
    chosen: NDArray[np.int64],
) -> NDArray[np.int32]:
    """Return how often each class occurs among the last labels of the same symbol that are known when a window ends.

    A label is known to the windows of its symbol that start at least ``horizon`` rows later. Pass the windows of training,
    validation and test together, as for :func:`earlier_windows`.

    Args:
        symbols: ``(windows,)`` names.
        starts: ``(windows,)`` first row of each window in the series that all windows share.
        labels: ``(windows,)`` classes.
        horizon: number of bars that a label looks ahead, at least 1.
        n_classes: number of classes.
        chosen: ``(chosen windows,)`` positions of the windows whose counts are returned.

    Returns:
        ``(chosen windows, spans, n_classes)`` counts among the last known labels, for each number of labels in :data:`SPANS`.
        If fewer labels are known, all known labels are counted.
    """
    counts = np.zeros((len(chosen), len(SPANS), n_classes), dtype=np.int32)
    for symbol in np.unique(symbols[chosen]):
        own = np.flatnonzero(symbols == symbol)
        own = own[np.argsort(starts[own], kind="stable")]
        sums = np.zeros((len(own) + 1, n_classes), dtype=np.int32)  # counts among the first windows of the symbol
        np.cumsum(labels[own, None] == np.arange(n_classes), axis=0, out=sums[1:])
        here = np.flatnonzero(symbols[chosen] == symbol)
        known = np.searchsorted(starts[own], starts[chosen[here]] - horizon, side="right")
        first = np.maximum(known[:, None] - np.array(SPANS), 0)
        counts[here] = sums[known][:, None] - sums[first]
    return counts
