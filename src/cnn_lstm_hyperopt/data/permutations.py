"""Permutations that keep dependence in time: blocks of dates change places, but the order within a block stays.

They are the control of the selection of inputs. A permuted input has the same values and about the same autocorrelation, but no
relation to the labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Windows

Integers = NDArray[np.int64]
MIN_BLOCKS = 10
"""Minimum number of blocks, if there are enough units. Blocks are shorter than a window if necessary."""


class Units(NamedTuple):
    """Units of windows that may depend on each other: dates, groups, or single windows.

    Attributes:
        of_window: ``(windows,)`` number of each window's unit, from 0.
        in_time: True if the units are dates in order of time, so that neighbouring units may depend on each other.
    """

    of_window: Integers
    in_time: bool

    @property
    def number(self) -> int:
        """Number of units."""
        return int(self.of_window.max()) + 1 if len(self.of_window) else 0


def units_of(windows: Windows) -> Units:
    """Return the units of windows: their groups; else their dates; else, each window is a unit."""
    if windows.groups is not None:
        return Units(_numbered(windows.groups), in_time=False)
    return Units(_numbered(windows.dates), in_time=windows.dated)


def _numbered(values: NDArray[np.generic]) -> Integers:
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.int64).reshape(-1)


def block_order(n: int, length: int, random: np.random.Generator) -> Integers:
    """Return a permutation of n items in which blocks of ``length`` consecutive items (the last one shorter) change places."""
    starts = np.arange(0, n, length)
    blocks = [np.arange(start, min(n, start + length)) for start in random.permutation(starts)]
    return np.concatenate(blocks).astype(np.int64) if blocks else np.empty(0, dtype=np.int64)


def _block_length(n: int, longest: int) -> int:
    return max(1, min(longest, n // MIN_BLOCKS))


def exchanged(windows: Windows, random: np.random.Generator) -> Integers:
    """Return, for each window, the position of a window of another unit whose inputs replace the window's inputs.

    Blocks of dates, about as long as a window, change places; the first block starts at a random date. A window gets the inputs
    of the same symbol at the new date. If the symbol has no window there, it gets those of another symbol.

    Args:
        windows: the windows, ``(n,)``.
        random: random number generator.

    Returns:
        ``(n,)`` positions of windows.
    """
    units = units_of(windows)
    n_units = units.number
    length = _block_length(n_units, windows.lookback) if units.in_time else 1
    rolled = np.roll(np.arange(n_units), -int(random.integers(max(1, n_units))))
    target = np.empty(n_units, dtype=np.int64)
    target[rolled] = rolled[block_order(n_units, length, random)]
    symbols = _numbered(windows.symbols)
    place = np.lexsort((symbols, units.of_window))
    codes = units.of_window * (symbols.max() + 1) + symbols
    sorted_codes, counts = codes[place], np.bincount(units.of_window, minlength=n_units)
    first = np.cumsum(counts) - counts
    rank = np.empty(len(windows), dtype=np.int64)
    rank[place] = np.arange(len(windows)) - first[units.of_window[place]]
    new_unit = target[units.of_window]
    wanted = new_unit * (symbols.max() + 1) + symbols
    found = np.minimum(np.searchsorted(sorted_codes, wanted), len(windows) - 1)
    other = first[new_unit] + rank % counts[new_unit]
    return place[np.where(sorted_codes[found] == wanted, found, other)].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Shadowed:
    """Data of trials with shadow inputs.

    Attributes:
        data: the data. The shadows are the last channels of the windows, and no group of ``data.columns`` has them.
        shadows: channels of the shadows of each group, by name of the group.
    """

    data: TrialData
    shadows: Mapping[str, tuple[int, ...]]


def with_shadows(data: TrialData, groups: Mapping[str, tuple[int, ...]], random: np.random.Generator) -> Shadowed:
    """Add a shadow of each group of inputs: a copy of its channels whose rows are permuted in blocks.

    A shadow has no relation to the labels, so a group that is not more important than the best shadow is not relevant (Kursa &
    Rudnicki 2010, "Feature selection with the Boruta package"). Only rows of training and validation windows are permuted, since
    ``data`` has no others. A block is about as long as a window.

    Args:
        data: data of trials.
        groups: channels of each group, by name of the group.
        random: random number generator.
    """
    channels = [place for places in groups.values() for place in places]
    longer: dict[int, Tensor] = {}

    def extended(windows: Windows) -> Windows:
        series = windows.series
        if id(series) not in longer:
            order = block_order(len(series), _block_length(len(series), windows.lookback), random)
            copies = series[torch.as_tensor(order, device=series.device)][:, channels]
            longer[id(series)] = torch.cat([series, copies], dim=1)
        return replace(windows, series=longer[id(series)])

    folds = tuple(
        replace(fold, train=extended(fold.train), validation=extended(fold.validation)) for fold in data.folds
    )
    shadows, first = {}, data.folds[0].train.input_dim
    for group, places in groups.items():
        shadows[group] = tuple(range(first, first + len(places)))
        first += len(places)
    return Shadowed(replace(data, folds=folds), shadows)
