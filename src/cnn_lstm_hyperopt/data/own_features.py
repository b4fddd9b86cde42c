"""Inputs of a window: built-in features, columns of the user's files, and features of the user's function."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.data.bars import COLUMNS, Bars, date_text
from cnn_lstm_hyperopt.data.feature_groups import (
    FEATURE_GROUPS,
    GROUP_FEATURES,
    columns_of,
    in_order,
    own_groups,
    write_groups,
)
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES, WARM_UP, segments, write_features
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.lookahead.causality import check_recomputed
from cnn_lstm_hyperopt.data.lookahead.foresight import check_foresight
from cnn_lstm_hyperopt.data.market_features import MARKET, has_market, market_features
from cnn_lstm_hyperopt.data.own_function import OwnFunction, load_function
from cnn_lstm_hyperopt.data.splits import spread_positions
from cnn_lstm_hyperopt.data.tables.columns import LARGEST
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import shown_names

_SAMPLED_BARS = 20_000  # rows of all symbols together, for the statistics
_SAMPLED_SYMBOLS = 8
_RECOMPUTED_BARS = 2_000  # bars of each symbol whose features are recomputed
_RECOMPUTED_SYMBOLS = 2
_MIN_VALUES = 1_000
_OTHER_SYMBOLS = 2  # whose bars the check of the market's features uses
Array = NDArray[np.float64]


@dataclass(frozen=True)
class FeatureSet:
    """Names of the inputs of windows, with the methods that compute the inputs from bars.

    Attributes:
        columns: names of the columns of the user's files that are inputs.
        function: the user's function that computes additional features; None: no function.
        added: names of the features that the function computes.
        groups: groups of built-in features that windows have beside the eleven features of all windows, in order.
    """

    columns: tuple[str, ...] = ()
    function: OwnFunction | None = None
    added: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the user's own inputs: columns of the files and features of the function."""
        return (*self.columns, *self.added)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all inputs, in order."""
        return (*self.built_in, *self.own)

    @property
    def built_in(self) -> tuple[str, ...]:
        """Names of the built-in features, which come first."""
        return (*FEATURE_NAMES, *(name for group in self.groups for name in FEATURE_GROUPS[group]))

    @property
    def group_columns(self) -> dict[str, tuple[int, ...]]:
        """Channels of each group of built-in features."""
        return columns_of(self.groups)

    @property
    def own_groups(self) -> dict[str, tuple[int, ...]]:
        """Channels of each group of the user's inputs."""
        function = None if self.function is None else self.function.reference
        return own_groups(self.columns, function, len(self.built_in), len(self.names))

    def market(self, frames: Mapping[str, pd.DataFrame], max_gap_days: float) -> dict[str, Array]:
        """Return the features of the group ``market`` by symbol, see :func:`.market_features`.

        The result is empty if the windows do not have this group.
        """
        return market_features(frames, max_gap_days) if MARKET in self.groups else {}

    def describe(self, inputs: Array) -> dict[str, Any]:
        """Return the entry for ``data.json``: names of all inputs, and origin and hash of the user's own inputs.

        The hash of the values reveals if a function or column has changed but kept its name.

        Args:
            inputs: (rows, features) inputs of all symbols.
        """
        names = {"features": list(self.names), "feature_groups": list(self.groups)}
        if not self.own:
            return names
        values = np.ascontiguousarray(inputs[:, len(self.built_in) :], dtype="<f8")
        own = {
            "columns": list(self.columns),
            "function": None if self.function is None else self.function.reference,
            "sha256": hashlib.sha256(values.data).hexdigest(),
        }
        return {**names, "own_features": own}

    def compute(self, frame: pd.DataFrame, symbol: str = "bars", market: Array | None = None) -> Array:
        """Return the inputs at the bars of one segment, with NaN where an input has no value yet.

        Args:
            frame: (bars,) float64 columns open, high, low, close, volume and ``columns``.
            symbol: name of the bars, for the text of errors.
            market: (bars, 4) features of the group ``market``; None: the windows do not have this group.

        Returns:
            (bars, features) in the order of ``names``.

        Raises:
            DataError: a column is missing, a value is infinite, or the user's function violates a rule.
        """
        inputs = np.empty((len(frame), len(self.names)))
        write_features(frame, inputs)
        write_groups(frame, self.groups, market, inputs)
        if self.own:
            inputs[:, len(self.built_in) :] = self.compute_own(frame, symbol)
        return inputs

    def compute_own(self, frame: pd.DataFrame, symbol: str = "bars") -> Array:
        """Return only the user's own inputs, (bars, own features); see :meth:`compute`."""
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            text = (
                f"{symbol}: the bars have no column {', '.join(missing)}, which is an input (data.feature_columns);"
                f" they have: {', '.join(map(str, frame.columns))}"
            )
            raise DataError(text, field="data.feature_columns", code="missing-column")
        own = np.empty((len(frame), len(self.own)))
        own[:, : len(self.columns)] = frame[list(self.columns)].to_numpy(np.float64)
        if self.function is not None:
            made = self.function(frame[[*COLUMNS, *self.columns]], symbol)
            if set(made.columns) != set(self.added):
                text = (
                    f"data.features {self.function.reference} ({symbol}): returns {shown_names(list(made.columns))}, but"
                    f" {shown_names(self.added)} for other bars; return the same columns for all bars"
                )
                raise DataError(text, field="data.features", code="columns-vary")
            own[:, len(self.columns) :] = made[list(self.added)].to_numpy()
        for values, name in zip(own.T, self.own, strict=True):
            _require_finite(values, name, frame.index, symbol)
        return own


BUILT_IN = FeatureSet()
"""Inputs that all windows of bars have: eleven built-in features."""


def _require_finite(values: Array, name: str, dates: pd.Index, symbol: str) -> None:
    for bad, code, rule, fix in (
        (np.abs(values) > LARGEST, "too-large", f"not be beyond {LARGEST:g}", "scale it, or take its logarithm"),
        (
            np.isinf(values),
            "not-finite",
            "be finite",
            "guard the division or logarithm, and use NaN for missing values",
        ),
    ):
        rows = np.flatnonzero(bad & (np.isinf(values) == (code == "not-finite")))
        if len(rows):
            row, date = rows[0], date_text(dates[rows[0]])
            text = (
                f"{symbol}: the feature {name} must {rule}, but is {values[row]:g} on {date} ({len(rows)} bars); {fix}"
            )
            raise DataError(text, field=name, code=code)


def feature_set(settings: DataSettings, bars: Sequence[Bars], groups: Sequence[str] = ()) -> FeatureSet:
    """Return the inputs that the settings name, after a check that no input uses later bars.

    Args:
        settings: settings of the data.
        bars: bars of all symbols.
        groups: groups of built-in features to add. Without several symbols of one frequency, ``market`` is left out.

    Raises:
        DataError: the user's function can't be loaded or violates a rule, or a feature uses later bars.
    """
    _require_new_names(settings.feature_columns)
    features = FeatureSet(settings.feature_columns, groups=groups_of(bars, groups))
    segments_of = longest_segments(bars, settings.max_gap_days)
    if not segments_of:  # too few bars for features, so there are no windows
        return features
    symbol, longest = segments_of[0]
    _check_built_in(features, bars, longest.tail(_RECOMPUTED_BARS), symbol, settings.max_gap_days)
    if settings.features is not None:
        features = with_function(features, load_function(settings.features), longest.tail(_RECOMPUTED_BARS), symbol)
        for symbol, longest in segments_of[:_RECOMPUTED_SYMBOLS]:
            frame, _ = _sample(features, longest, _RECOMPUTED_BARS, symbol)
            check_recomputed(features.compute_own, frame, features.own, symbol)
    if features.own:
        labels = labeller(settings)
        bars_each = max(_SAMPLED_BARS // len(segments_of), min(_SAMPLED_BARS, 50 * settings.horizon))
        for symbol, longest in segments_of:
            frame, own = _sample(features, longest, bars_each, symbol)
            check_foresight(frame, own, features.own, labels.label(frame), settings.horizon, symbol)
    return features


def groups_of(bars: Sequence[Bars], groups: Sequence[str]) -> tuple[str, ...]:
    """Return those of the groups of features that these bars have, in the order of their channels."""
    possible = [group for group in groups if group != MARKET or has_market({each.symbol: each.frame for each in bars})]
    return in_order(possible)


def _check_built_in(
    features: FeatureSet, bars: Sequence[Bars], frame: pd.DataFrame, symbol: str, max_gap_days: float
) -> None:
    """Check that the built-in features of one symbol use no later bars of this symbol or of two other symbols."""
    built_in, first = replace(features, columns=()), frame.index[0]
    others = {each.symbol: each.frame.loc[first:] for each in bars if each.symbol != symbol}
    chosen = dict(list(others.items())[:_OTHER_SYMBOLS])

    def compute(own: pd.DataFrame, symbol: str) -> Array:
        known = {name: each.loc[: own.index[-1]] for name, each in chosen.items()}
        return built_in.compute(own, symbol, built_in.market({symbol: own, **known}, max_gap_days).get(symbol))

    check_recomputed(compute, frame, built_in.names, symbol)


def with_function(features: FeatureSet, function: OwnFunction, frame: pd.DataFrame, symbol: str) -> FeatureSet:
    """Return the inputs with the features of a user's function added.

    The function is called with ``frame`` to find their names.
    """
    made = function(frame[[*COLUMNS, *features.columns]], symbol)
    if taken := sorted(set(made.columns) & set(GROUP_FEATURES)):
        text = f"data.features {function.reference} ({symbol}): returns {shown_names(taken)}, a name that is taken"
        raise DataError(f"{text}; return new columns only", field="data.features", code="name-taken")
    return replace(features, function=function, added=tuple(made.columns))


def _require_new_names(columns: Sequence[str]) -> None:
    standard = (*FEATURE_NAMES, *GROUP_FEATURES, *COLUMNS)
    twice = sorted({name for name in columns if list(columns).count(name) > 1 or name in standard})
    if twice:
        text = (
            f"data.feature_columns names {shown_names(twice)}, which is already an input or appears twice; name each column"
            " once, and none like the bars' own columns or a built-in feature"
        )
        raise DataError(text, field="data.feature_columns", code="name-taken")


def longest_segments(bars: Sequence[Bars], max_gap_days: float) -> list[tuple[str, pd.DataFrame]]:
    """Return the names and the longest segments of a few symbols that have enough bars for features."""
    chosen = []
    for each in bars:
        counts = np.bincount(segments(each.index, max_gap_days))
        longest = int(np.argmax(counts))
        start = int(counts[:longest].sum())
        if counts[longest] > WARM_UP:
            chosen.append((each.symbol, each.frame.iloc[start : start + counts[longest]]))
    return [chosen[place] for place in spread_positions(len(chosen), _SAMPLED_SYMBOLS)]


def _sample(features: FeatureSet, segment: pd.DataFrame, bars: int, symbol: str) -> tuple[pd.DataFrame, Array]:
    """Return the last bars of a segment and the user's own features at these bars.

    There are more than ``bars`` bars if a feature would otherwise have too few values.
    """
    while True:
        frame = segment.tail(bars)
        own = features.compute_own(frame, symbol)
        if len(frame) == len(segment) or np.isfinite(own).sum(axis=0).min() >= min(bars, _MIN_VALUES):
            return frame, own
        bars *= 2
