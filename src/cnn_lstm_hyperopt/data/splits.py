"""Which windows train, validate and test: pure functions of dates and integers.

The cuts are dates, the same for all symbols: otherwise a training window of one symbol would see the market
days on which another symbol is tested. Purging removes the windows before a cut whose labels reach over it, and of those that are
judged (validation) also those whose label could have: else the last of them before the cut were those with a quick exit only.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.errors import DataError

TRAIN, VALIDATION, TEST, PURGED = 0, 1, 2, -1
SPLIT_NAMES = ("train", "validation", "test")
Dates = NDArray[Any]
"""datetime64 or integers: whatever can be sorted."""


def cut_dates(dates: Dates, shares: tuple[float, float, float]) -> tuple[Any, Any]:
    """First decision dates of validation and of test.

    Each is the first date before which at least ``shares[0]`` (or ``shares[0] + shares[1]``) of all windows
    lie.

    Args:
        dates: (windows,) decision date of each window, all symbols together, in any order.
        shares: of training, validation and test; they add up to 1.

    Raises:
        DataError: no date can be the cut, or both cuts are one date (too few dates).
    """
    unique, counts = np.unique(dates, return_counts=True)
    before = np.cumsum(counts) - counts
    needed = (shares[0] * len(dates), (shares[0] + shares[1]) * len(dates))
    places = [int(np.searchsorted(before, count - 1e-9 * len(dates))) for count in needed]
    if places[0] == places[1] or places[1] >= len(unique):
        raise DataError(
            f"can't split {len(dates)} windows on {len(unique)} dates into shares {list(shares)}: a split"
            " would be empty; give more bars (an earlier start, a later end, more symbols) or a shorter"
            " lookback"
        )
    return unique[places[0]], unique[places[1]]


def assign(dates: Dates, reach_dates: Dates, cuts: tuple[Any, Any], *, furthest: Dates) -> NDArray[np.int8]:
    """Split of each window: 0 train, 1 validation, 2 test, −1 purged.

    A window belongs to the split of its decision date. A training window is purged if its own label reaches a later split; a
    validation window if the longest possible label would, so that no outcome decides who is judged. So no label of one split
    looks at a bar of a later one.

    Args:
        dates: (windows,) decision dates.
        reach_dates: (windows,) date of the last bar that each label looks at, or of the bar ``purge`` bars after the decision.
        cuts: first dates of validation and test.
        furthest: (windows,) date of the last bar that a label decided then can look at, whatever the prices; the reach or later.

    Raises:
        DataError: a split is empty.
    """
    split = _place(dates, cuts)
    ends = np.where(split == TRAIN, _place(reach_dates, cuts), _place(furthest, cuts))
    split[ends > split] = PURGED
    counts = [int(np.count_nonzero(split == number)) for number in range(3)]
    if min(counts) == 0:
        empty = SPLIT_NAMES[counts.index(0)]
        raise DataError(
            f"no {empty} windows: train {counts[0]}, validation {counts[1]}, test {counts[2]}, purged"
            f" {int(np.count_nonzero(split == PURGED))}; give more bars, a larger share of split for"
            f" {empty}, or a smaller horizon or purge"
        )
    return split


def evenly_spread(n: int, share: float) -> NDArray[np.int64]:
    """Indices of ``share`` of n items (at least one, if there are any), ascending, at even distances."""
    kept = min(n, max(1, round(n * share)))
    return (
        ((np.arange(kept, dtype=np.int64) * 2 + 1) * n // (2 * kept)).astype(np.int64) if n else np.empty(0, np.int64)
    )


def _place(dates: Dates, cuts: tuple[Any, Any]) -> NDArray[np.int8]:
    return np.searchsorted(np.array(cuts), dates, side="right").astype(np.int8)
