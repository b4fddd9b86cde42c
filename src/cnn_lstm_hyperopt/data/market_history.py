"""Facts about the bars for baselines: ranges and returns over several spans of bars, relative to the usual size of a move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.labels import Labeller, log_ranges

SPANS = (1, 5, 22, 60)
"""Numbers of bars over which ranges and returns are averaged: day, week and month as in Corsi 2009, and the label's history."""
N_RANGES = len(SPANS)
"""Number of columns about ranges, which come before the columns about returns."""
_LARGEST_FALL = -1 + 1e-9
"""Lowest change of a price. A boundary between classes may be a fall of more than 100 %, which no price reaches."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MarketHistory:
    """Facts about the bars of all symbols, with a row for each row of the windows' series.

    Row t depends on bars up to t only.

    All columns are relative to the usual size of a move, so they are comparable between symbols.

    Attributes:
        columns: (rows, 8) float32. First for each span: the mean of ln range, minus the logarithm of the usual size. Then for
            each span of s bars: the log return, divided by √s × usual size.
        level: (rows,) float32, logarithm of the usual size of a move (``Labeller.level``).
        segment: (rows,) int64, number of the row's segment. Different symbols have different segments.
        in_logs: True if values are the logarithm of a size (``Labeller.in_logs``).
        edges: boundaries between the classes, relative to the usual size of a move (``Labeller.edges``).
        prices: (rows, 5) float32 open, high, low, close and volume of the row's bar; None: not needed.
    """

    columns: NDArray[np.float32]
    level: NDArray[np.float32]
    segment: NDArray[np.int64]
    in_logs: bool
    edges: tuple[float, ...] = ()
    prices: NDArray[np.float32] | None = None

    def relative(self, values: Floats, rows: NDArray[np.int64]) -> Floats:
        """Return values (windows,) relative to the usual size of a move at the windows' last rows (windows,).

        The result is a difference of logarithms if the values are logarithms, and otherwise a ratio.
        """
        level = self.level[rows].astype(np.float64)
        return values - level if self.in_logs else values / np.exp(level)

    def absolute(self, relative: Floats, rows: NDArray[np.int64]) -> Floats:
        """Return the values (windows,) for which :meth:`relative` returns ``relative`` (windows,)."""
        level = self.level[rows].astype(np.float64)
        return relative + level if self.in_logs else relative * np.exp(level)

    def class_edges(self, rows: NDArray[np.int64]) -> Floats:
        """Return the values that separate the classes at the windows' last rows, (windows, classes − 1).

        The values are ascending, and a window's values are known at its end.
        """
        level = self.level[rows, None].astype(np.float64)
        edges = np.asarray(self.edges)
        if self.in_logs:
            return np.asarray(level + edges)
        return np.asarray(np.log1p(np.maximum(edges * np.exp(level), _LARGEST_FALL)))

    def returns(self) -> Floats:
        """Return the log return of each row's bar, (rows,)."""
        return self.columns[:, N_RANGES].astype(np.float64) * np.exp(self.level.astype(np.float64))


def joined(parts: Sequence[MarketHistory]) -> MarketHistory:
    """Return the rows of several symbols as one history, symbol after symbol."""
    segments, n_segments = [], 0
    for part in parts:
        segments.append(part.segment + n_segments)
        n_segments += 1 + int(part.segment.max(initial=-1))
    prices = [part.prices for part in parts if part.prices is not None]
    return MarketHistory(
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.level for part in parts]),
        np.concatenate(segments),
        parts[0].in_logs,
        parts[0].edges,
        np.concatenate(prices) if len(prices) == len(parts) else None,
    )


def market_columns(frame: pd.DataFrame, labelling: Labeller) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the columns (bars, 8) and the level (bars,) of the bars of one segment; see :class:`MarketHistory`.

    At the first bars of the segment, a span has only the bars that exist.

    Args:
        frame: (bars,) float64 columns open, high, low, close, volume.
        labelling: the target, whose usual size of a move is the level.
    """
    level = labelling.level(frame)
    ranges = pd.Series(log_ranges(frame))
    returns = pd.Series(np.log(frame["close"].to_numpy(np.float64))).diff().fillna(0.0)
    columns = np.empty((len(frame), 2 * len(SPANS)), dtype=np.float32)
    with np.errstate(invalid="ignore"):  # the level is NaN where the label has no history
        for place, span in enumerate(SPANS):
            columns[:, place] = ranges.rolling(span, min_periods=1).mean() - level
            columns[:, N_RANGES + place] = returns.rolling(span, min_periods=1).sum() / (np.sqrt(span) * np.exp(level))
    return columns, level.astype(np.float32)
