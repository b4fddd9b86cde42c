"""Search for windows that occur in two splits.

There is an error if all windows of a split are in another split, and a warning if only some windows are in another split.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from cnn_lstm_hyperopt.data.splits import SPLIT_NAMES
from cnn_lstm_hyperopt.errors import DataError

SPREAD_TOLERANCE, VALUE_TOLERANCE = 1e-5, 2e-6
"""Tolerances for numbers in copies of windows: a share of the feature's standard deviation, and a share of the number itself.

The second share is large enough for a copy that is multiplied by 1 + 1e-6. The rounding of float32 is 6e-8.
"""
_PROJECTIONS, _NEAREST, _CHUNK = 4, 4, 4096
_SPLIT = "split the windows, so that each is in one loader only"

Windows = NDArray[np.float32]
Places = NDArray[np.float64]


def check_repeated(splits: Sequence[Tensor]) -> list[str]:
    """Return a warning for each pair of splits that have windows in common.

    The search for copies uses distances, so it also finds copies that differ by rounding or by the sign of a zero.

    Args:
        splits: ``(windows, time, features)`` of training, validation and test, finite, all of one shape (time, features).

    Raises:
        DataError: all windows of a split are also in another split.
    """
    windows = [each.numpy().reshape(len(each), -1) for each in splits]
    mean, spread = _scale(splits[0])
    places = [_places(each, mean, spread) for each in windows]
    found: list[str] = []
    for first, second in combinations(range(len(splits)), 2):
        repeated = _count_copies(windows[second], windows[first], places[second], places[first], spread)
        if not repeated:
            continue
        if repeated == len(windows[second]):
            _refuse(second, first, repeated)
        back = _count_copies(windows[first], windows[second], places[first], places[second], spread)
        if back == len(windows[first]):
            _refuse(first, second, back)
        found.append(
            f"{repeated:,} of the {SPLIT_NAMES[second]} loader's {len(windows[second]):,} windows are in the"
            f" {SPLIT_NAMES[first]} loader too: {_consequence(first)}; {_SPLIT}"
        )
    return found


def count_copies(windows: Tensor, reference: Tensor) -> int:
    """Return how many windows have a copy in ``reference``. Both arguments have the shape ``(windows, time, features)``."""
    mean, spread = _scale(reference)
    one, other = (each.numpy().reshape(len(each), -1) for each in (windows, reference))
    return _count_copies(one, other, _places(one, mean, spread), _places(other, mean, spread), spread)


def _refuse(split: int, other: int, count: int) -> None:
    which = "its only window is" if count == 1 else f"all {count:,} windows are"
    text = (
        f"the {SPLIT_NAMES[split]} loader must have windows of its own, but {which} in the {SPLIT_NAMES[other]} loader too:"
        f" {_consequence(min(split, other))}; {_SPLIT}"
    )
    raise DataError(text, field=f"data_loaders.{SPLIT_NAMES[split]}", code="windows-repeated")


def _consequence(first: int) -> str:
    """Return a text that says why windows of the split with number ``first`` must not be in a later split."""
    return (
        "their scores would measure memory, not skill"
        if first == 0
        else "the test would use windows that selected the model"
    )


def _scale(train: Tensor) -> tuple[Places, Places]:
    """Return the mean and the standard deviation of the feature for each number of a window, both ``(time × features,)``."""
    rows = train.numpy().reshape(-1, train.shape[-1])
    mean, spread = rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    return np.tile(mean, train.shape[1]), np.tile(spread, train.shape[1])


def _axes(spread: Places) -> Places:
    """Return a fixed random matrix that projects standardised windows, ``(time × features, projections)``."""
    drawn = np.random.default_rng(0).normal(size=(len(spread), _PROJECTIONS))
    axes: Places = drawn / np.where(spread > 0, spread, 1.0)[:, None]
    return axes


def _places(windows: Windows, mean: Places, spread: Places) -> Places:
    """Return the projections of standardised windows, ``(windows, projections)``.

    Copies have projections that are close together.
    """
    axes = _axes(spread)
    return np.concatenate([(part - mean) @ axes for part in _chunks(windows)])


def _reach(windows: Windows, spread: Places) -> float:
    """Return the largest possible distance between the projections of a window and of its copy."""
    largest = np.maximum(windows.max(axis=0), -windows.min(axis=0))
    return float((_tolerance(largest, largest, spread) @ np.abs(_axes(spread))).max())


def _chunks(windows: Windows) -> list[Windows]:
    return [windows[start : start + _CHUNK] for start in range(0, len(windows), _CHUNK)]


def _count_copies(
    windows: Windows, reference: Windows, places: Places, reference_places: Places, spread: Places
) -> int:
    """Return how many windows have a copy in ``reference``. Only windows with close projections are compared."""
    from scipy.spatial import cKDTree  # the import takes 0.2 s

    different, first = np.unique(reference_places, axis=0, return_index=True)
    count = min(_NEAREST, len(different))
    tree = cKDTree(different, balanced_tree=False, compact_nodes=False)
    # The tree finds only neighbours below the bound, which would be 0 if all numbers are 0.
    reach = 2 * _reach(windows, spread) + np.finfo(np.float64).tiny
    _, nearest = tree.query(places, k=range(1, count + 1), p=np.inf, distance_upper_bound=reach)
    is_copy = np.zeros(len(windows), dtype=np.bool_)
    for rank in range(count):
        rows = np.flatnonzero(~is_copy & (nearest[:, rank] < len(different)))
        for some in (rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)):
            is_copy[some] = _alike(windows[some], reference[first[nearest[some, rank]]], spread)
    return int(is_copy.sum())


def _alike(one: Windows, other: Windows, spread: Places) -> NDArray[np.bool_]:
    """Return a mask (pairs,) that is true for each pair of windows that are copies of each other."""
    apart = np.abs(one.astype(np.float64) - other)
    alike: NDArray[np.bool_] = np.all(apart <= _tolerance(one, other, spread), axis=1)
    return alike


def _tolerance(one: Windows, other: Windows, spread: Places) -> Places:
    largest = np.maximum(np.abs(one), np.abs(other)).astype(np.float64)
    tolerance: Places = SPREAD_TOLERANCE * spread + VALUE_TOLERANCE * largest
    return tolerance
