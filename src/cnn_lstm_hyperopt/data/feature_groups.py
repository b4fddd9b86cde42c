"""Groups of built-in features that a network may leave out, with the functions that compute them from the bars of a segment."""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.features import FEATURE_NAMES
from cnn_lstm_hyperopt.data.market_features import MARKET, MARKET_FEATURES
from cnn_lstm_hyperopt.data.relative_features import (
    RELATIVE_RANGES,
    VOLUME_RATIOS,
    write_relative_ranges,
    write_volume_ratios,
)
from cnn_lstm_hyperopt.models.inputs import GROUPS, OWN, InputGroup

Array = NDArray[np.float64]

_NAMES: Mapping[InputGroup, tuple[str, ...]] = {
    "relative_ranges": RELATIVE_RANGES,
    "volume_ratios": VOLUME_RATIOS,
    "market": MARKET_FEATURES,
}
FEATURE_GROUPS: Mapping[str, tuple[str, ...]] = {group: _NAMES[group] for group in GROUPS}
"""Names of the features of each group. The flag ``inputs.GROUP`` of the search space decides whether a network gets them."""
GROUP_FEATURES = tuple(name for names in FEATURE_GROUPS.values() for name in names)
_WRITERS: Mapping[str, Callable[[pd.DataFrame, Array], None]] = {  # the group market needs all symbols
    "relative_ranges": write_relative_ranges,
    "volume_ratios": write_volume_ratios,
}


def in_order(groups: Sequence[str]) -> tuple[str, ...]:
    """Return groups in the order of their channels."""
    return tuple(group for group in FEATURE_GROUPS if group in groups)


def columns_of(groups: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the channels of each group in windows that have these groups. The groups follow the eleven other features."""
    columns, first = {}, len(FEATURE_NAMES)
    for group in groups:
        columns[group] = tuple(range(first, first + len(FEATURE_GROUPS[group])))
        first += len(FEATURE_GROUPS[group])
    return columns


def own_groups(names: Sequence[str], function: str | None, first: int, n_inputs: int) -> dict[str, tuple[int, ...]]:
    """Return the channels of each group of the user's inputs: each column is a group, and all features of the function are one.

    Names of parameters have no spaces and punctuation, so other characters than letters, digits, ``_`` and ``-`` become ``_``. If
    two names are then equal, the later one gets a number.

    Args:
        names: names of the columns.
        function: name of the user's function (``module:function``); None: no function.
        first: channel of the first column. The features of the function follow the columns.
        n_inputs: number of all channels.
    """
    found: dict[str, tuple[int, ...]] = {}
    for place, name in enumerate(names, start=first):
        found[_new_name(name, found)] = (place,)
    if function is not None:
        found[_new_name(function, found)] = tuple(range(first + len(names), n_inputs))
    return found


def optional_columns(
    features: Sequence[str], columns: Sequence[str], function: str | None, groups: Sequence[str] | None
) -> dict[str, tuple[int, ...]]:
    """Return the channels of all groups that a configuration of a model may leave out.

    Args:
        features: names of all inputs of the model.
        columns, function: see :func:`own_groups`.
        groups: groups of built-in features; None: the inputs come from DataLoaders or arrays, and each input is a group.
    """
    if groups is None:
        return own_groups(features, None, 0, len(features))
    built_in = columns_of(groups)
    first = len(FEATURE_NAMES) + sum(len(places) for places in built_in.values())
    return {**built_in, **own_groups(columns, function, first, len(features))}


def _new_name(name: str, taken: Mapping[str, object]) -> str:
    plain = OWN + re.sub(r"[^\w-]+", "_", name)
    numbered = (f"{plain}_{number}" for number in range(2, len(taken) + 3))
    return plain if plain not in taken else next(each for each in numbered if each not in taken)


def write_groups(frame: pd.DataFrame, groups: Sequence[str], market: Array | None, out: Array) -> None:
    """Write the features of groups at the bars of one segment.

    Args:
        frame: (bars,) float64 columns open, high, low, close, volume.
        groups: names of the groups, in the order of their channels.
        market: (bars, 4) features of the group ``market``; None: the group is not among ``groups``.
        out: (bars, 11 or more); the channels of :func:`columns_of` are written.
    """
    for group, columns in columns_of(groups).items():
        part = out[:, columns[0] : columns[-1] + 1]
        if group != MARKET:
            _WRITERS[group](frame, part)
        elif market is None:
            raise ValueError("the group market needs the bars of all symbols")
        else:
            part[:] = market
