"""Computation of feature rows, labels and windows from bars, segment by segment."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings
from cnn_lstm_hyperopt.config.schema.retrain import Execution
from cnn_lstm_hyperopt.data.bars import COLUMNS, Bars
from cnn_lstm_hyperopt.data.features import WARM_UP, segments
from cnn_lstm_hyperopt.data.labels import Labeller, Labels, labeller
from cnn_lstm_hyperopt.data.market_history import MarketHistory, joined, market_columns
from cnn_lstm_hyperopt.data.own_features import BUILT_IN, FeatureSet
from cnn_lstm_hyperopt.data.trades import trades
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.errors import DataError

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WindowTable:
    """Feature rows and labelled windows of all symbols, symbol after symbol.

    Attributes:
        features: (rows, features) unscaled.
        market: facts about the bars, with a row for each row of ``features``.
        starts: (windows,) first row of each window.
        dates: (windows,) datetime64[ns] of the decisions.
        reach: (windows,) datetime64[ns] of the last bar of the label, or of the bar ``purge`` bars after the decision if it
            is later.
        embargo: (windows,) datetime64[ns] of the bar that is ``embargo`` bars after the bar of ``reach``.
        furthest: (windows,) datetime64[ns] like ``reach``, but for the longest possible label.
        classes: (windows,) int64, the class of each label.
        values: (windows,) float64, the regression target.
        symbols: (windows,) name of each window's symbol.
        traded: (windows,) float64, simple return of each window's trade (:mod:`.trades`); NaN if there is no trade.
        exits: (windows,) datetime64[ns] of the bar at which each trade ends; NaT if there is no trade.
        n_segments: number of segments of each symbol.
    """

    features: NDArray[np.float64]
    market: MarketHistory
    starts: NDArray[np.int64]
    dates: NDArray[np.datetime64]
    reach: NDArray[np.datetime64]
    embargo: NDArray[np.datetime64]
    furthest: NDArray[np.datetime64]
    classes: NDArray[np.int64]
    values: NDArray[np.float64]
    symbols: NDArray[np.str_]
    traded: NDArray[np.float64]
    exits: NDArray[np.datetime64]
    n_segments: dict[str, int]

    def covered(self, starts: Integers, lookback: int) -> NDArray[np.bool_]:
        """Return a mask (rows,) of the rows that belong to the windows that begin at ``starts``."""
        steps = np.zeros(len(self.features) + 1, dtype=np.int64)
        steps[starts] += 1
        steps[starts + lookback] -= 1
        return np.cumsum(steps[:-1]) > 0

    def windows(self, scaled: NDArray[np.float32], starts: Integers, lookback: int) -> Windows:
        """Return all windows over the rows ``scaled``. Window i begins at row ``starts[i]``."""
        return Windows(
            series=torch.from_numpy(scaled),
            starts=torch.from_numpy(starts),
            lookback=lookback,
            labels=torch.from_numpy(self.classes),
            values=torch.from_numpy(self.values.astype(np.float32)),
            dates=self.dates,
            symbols=self.symbols,
            traded=self.traded,
        )

    def without_trades_into(self, test_cut: np.datetime64) -> "WindowTable":
        """Return the table without trades that are decided before the test period and end in the test period."""
        into = (self.dates < test_cut) & (self.exits >= test_cut)
        return replace(self, traded=np.where(into, np.nan, self.traded))


def window_table(
    every: Sequence[Bars],
    settings: DataSettings,
    labelling: Labeller,
    features: FeatureSet,
    execution: Execution = "next_open",
    *,
    with_prices: bool = False,
) -> WindowTable:
    """Return the labelled windows of the bars of all symbols, with their trades.

    If ``with_prices``, the market history has the prices of all rows.

    Raises:
        DataError: there are too few bars for a single window.
    """
    parts: list[WindowTable] = []
    offset = 0
    market_rows = features.market({bars.symbol: bars.frame for bars in every}, settings.max_gap_days)
    for bars in every:
        rows = feature_rows(
            bars.frame,
            settings.lookback,
            settings.max_gap_days,
            features,
            symbol=bars.symbol,
            market=market_rows.pop(bars.symbol, None),
        )
        part = _symbol_table(bars, settings, labelling, rows, execution, offset, with_prices=with_prices)
        offset += len(part.features)
        parts.append(part)
    if not sum(len(part.starts) for part in parts):
        have = ", ".join(f"{bars.symbol} {len(bars.frame)}" for bars in every)
        own = f" (features of your own may need more: {', '.join(features.own)})" if features.own else ""
        text = (
            f"too few bars for a single window: lookback {settings.lookback}, horizon {settings.horizon} and target"
            f" {settings.target} need {bars_needed(settings)} bars of a symbol without a hole of more than"
            f" {settings.max_gap_days:g} days, but there are: {have}; give more bars or a shorter lookback{own}"
        )
        raise DataError(text, field="data.lookback", code="too-few-bars")
    arrays = {
        name: _joined([getattr(part, name) for part in parts])
        for name in WindowTable.__annotations__
        if name not in ("market", "n_segments")
    }
    market = joined([part.market for part in parts])
    return WindowTable(
        **arrays, market=market, n_segments={name: n for part in parts for name, n in part.n_segments.items()}
    )


def _symbol_table(
    bars: Bars,
    settings: DataSettings,
    labelling: Labeller,
    rows: "FeatureRows",
    execution: Execution,
    offset: int,
    *,
    with_prices: bool,
) -> WindowTable:
    """Return the labelled windows of one symbol. The rows of the symbol begin at row ``offset`` of the series."""
    labels = frame_labels(bars.frame, rows.segment, labelling)
    ends = rows.ends[labels.valid[rows.bars[rows.ends]]]
    decided = rows.bars[ends]
    purged = np.maximum(labels.reach, settings.purge or 0)
    dates = bars.index.as_unit("ns").to_numpy()
    reach = dates[reach_bars(rows.segment, purged)[decided]]
    traded, exits = trades(bars.frame, rows.segment, decided, horizon=settings.horizon, execution=execution)
    columns, level = _market(bars.frame, rows.segment, labelling)
    market = MarketHistory(
        columns[rows.bars],
        level[rows.bars],
        rows.segment[rows.bars].astype(np.int64),
        labelling.in_logs,
        labelling.edges,
        bars.frame[list(COLUMNS)].to_numpy(np.float32)[rows.bars] if with_prices else None,
    )
    equal = bool((purged[decided] == settings.purge_bars).all())  # True unless labels end at barriers; avoids a copy
    return WindowTable(
        features=rows.features,
        market=market,
        starts=offset + ends - settings.lookback + 1,
        dates=dates[decided],
        reach=reach,
        embargo=dates[reach_bars(rows.segment, purged + settings.embargo)[decided]] if settings.embargo else reach,
        furthest=reach if equal else dates[reach_bars(rows.segment, settings.purge_bars)[decided]],
        classes=labels.classes[decided],
        values=labels.values[decided],
        symbols=np.broadcast_to(np.array(bars.symbol), len(ends)),  # the name is in memory once
        traded=traded,
        exits=exits,
        n_segments={bars.symbol: int(rows.segment[-1]) + 1},
    )


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Feature rows and windows of one frame of bars.

    Attributes:
        features: (rows, features) features of the bars, in order of time. Bars in the warm-up of a segment have no row.
        bars: (rows,) position of each row's bar in the frame.
        ends: (windows,) last row of each window. A window has ``lookback`` rows of one segment, and all features are finite.
        segment: (bars,) segment number of each bar of the frame.
    """

    features: NDArray[np.float64]
    bars: Integers
    ends: Integers
    segment: Integers


def feature_rows(
    frame: pd.DataFrame,
    lookback: int,
    max_gap_days: float,
    features: FeatureSet = BUILT_IN,
    *,
    symbol: str = "bars",
    market: NDArray[np.float64] | None = None,
) -> FeatureRows:
    """Return the features and the windows of a frame of :class:`~cnn_lstm_hyperopt.data.bars.Bars`.

    Args:
        frame: (bars,) with the columns that ``features`` needs.
        lookback: number of rows in a window.
        max_gap_days: longest hole in a segment, in days; a longer hole starts a new segment.
        features: names of the inputs, and how to compute them from bars.
        symbol: name of the bars, for the text of errors.
        market: (bars, 4) features of the group ``market``; None: ``features`` does not have this group.

    Raises:
        DataError: a user's feature violates a rule, or no possible window has values of the feature.
    """
    segment = segments(pd.DatetimeIndex(frame.index), max_gap_days)
    parts: list[NDArray[np.float64]] = []
    bars: list[Integers] = []
    ends: list[Integers] = []
    rows, possible = 0, 0
    for start, stop in _borders(segment):
        if stop - start <= WARM_UP:
            continue  # no complete row
        of_market = None if market is None else market[start:stop]
        part = features.compute(frame.iloc[start:stop], symbol, of_market)[WARM_UP:]
        parts.append(part)
        bars.append(np.arange(start + WARM_UP, stop, dtype=np.int64))
        ends.append(rows + _full_windows(part, lookback))
        rows += len(part)
        possible += max(len(part) - lookback + 1, 0)
    if possible:
        _require_values(parts, features.names, rows, symbol)
    if not parts:
        nothing = np.empty(0, np.int64)
        return FeatureRows(np.empty((0, len(features.names))), nothing, nothing, segment)
    return FeatureRows(_joined(parts), _joined(bars), _joined(ends), segment)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return concatenated arrays. A single array is returned without a copy."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _require_values(parts: Sequence[NDArray[np.float64]], names: Sequence[str], rows: int, symbol: str) -> None:
    for place, name in enumerate(names):
        if all(np.isnan(part[:, place]).all() for part in parts):
            text = (
                f"{symbol}: the feature {name} has no value in any of {rows} bars; fill it, give more bars, or leave out"
                " the feature or the symbol"
            )
            raise DataError(text, field=name, code="feature-without-values")


def frame_windows(
    frame: pd.DataFrame,
    lookback: int,
    max_gap_days: float,
    features: FeatureSet = BUILT_IN,
    *,
    symbol: str = "bars",
    market: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], Integers, NDArray[np.datetime64]]:
    """Return windows without labels, for predictions on new bars.

    Args:
        frame: (bars,) of :class:`~cnn_lstm_hyperopt.data.bars.Bars`.
        lookback: number of rows in a window.
        max_gap_days: longest hole in a segment, in days; a longer hole starts a new segment.
        features: names of the inputs, and how to compute them from bars.
        symbol: name of the bars, for the text of errors.
        market: (bars, 4) features of the group ``market``; None: ``features`` does not have this group.

    Returns:
        The unscaled features (rows, features), the last row ``end`` of each window (windows,), and the dates of the decisions
        (windows,), datetime64[ns]. A window has the rows ``end − lookback + 1 .. end``.
    """
    rows = feature_rows(frame, lookback, max_gap_days, features, symbol=symbol, market=market)
    dates = pd.DatetimeIndex(frame.index).as_unit("ns").to_numpy()
    return rows.features, rows.ends, dates[rows.bars[rows.ends]]


def frame_labels(frame: pd.DataFrame, segment: Integers, labelling: Labeller) -> Labels:
    """Return the labels of all bars of a frame. Each label uses only bars of its own segment."""
    parts = [labelling.label(frame.iloc[start:stop]) for start, stop in _borders(segment)]
    parts = parts or [labelling.label(frame)]  # a frame without bars
    return Labels(
        classes=np.concatenate([part.classes for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        valid=np.concatenate([part.valid for part in parts]),
        reach=np.concatenate([part.reach for part in parts]),
    )


def _market(
    frame: pd.DataFrame, segment: Integers, labelling: Labeller
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the columns (bars, 8) and the level (bars,) of the market history for all bars of a frame.

    Each row uses only bars of its own segment.
    """
    parts = [market_columns(frame.iloc[start:stop], labelling) for start, stop in _borders(segment)]
    parts = parts or [market_columns(frame, labelling)]  # a frame without bars
    return _joined([columns for columns, _ in parts]), _joined([level for _, level in parts])


def reach_bars(segment: Integers, bars: Integers | int) -> Integers:
    """Return for each bar the position of the bar that is ``bars`` bars later, or of the last bar of the segment, (bars,)."""
    last = np.searchsorted(segment, segment, side="right") - 1
    reached: Integers = np.minimum(np.arange(len(segment)) + bars, last).astype(np.int64)
    return reached


def bars_needed(settings: DataSettings) -> int:
    """Return the number of consecutive bars that the first window of a symbol needs."""
    return max(WARM_UP + settings.lookback, labeller(settings).history) + settings.horizon


def _borders(segment: Integers) -> list[tuple[int, int]]:
    """Return the first bar and the end (exclusive) of each segment, as positions."""
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(segment)], strict=True))


def _full_windows(features: NDArray[np.float64], lookback: int) -> Integers:
    """Return the last row of each window of one segment. Windows with missing values are left out."""
    ends = np.arange(lookback - 1, len(features), dtype=np.int64)
    missing = np.isnan(features).any(axis=1)
    if not missing.any():
        return ends
    missing_before = np.concatenate(([0], np.cumsum(missing)))
    complete: Integers = ends[missing_before[ends + 1] == missing_before[ends + 1 - lookback]]
    return complete
