"""From a frame of bars to feature rows, windows and labels, segment by segment; the one place where windows
are cut."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.settings import Target
from cnn_lstm_hyperopt.data.features import FEATURE_NAMES, WARM_UP, compute_features, segments
from cnn_lstm_hyperopt.data.labels import HISTORY, Labels, make_labels

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Feature rows of one frame.

    Attributes:
        features: (rows, 11) rows after the warm-up of each segment, in order of time.
        bars: (rows,) position in the frame of each row's bar.
        ends: (windows,) last row of each window: ``lookback`` rows of one segment, all of them finite.
        segment: (bars,) number of the segment of each bar of the frame.
    """

    features: NDArray[np.float64]
    bars: Integers
    ends: Integers
    segment: Integers


def feature_rows(frame: pd.DataFrame, lookback: int, max_gap_days: float) -> FeatureRows:
    """Features and windows of a frame of :class:`~cnn_lstm_hyperopt.data.bars.Bars`."""
    segment = segments(pd.DatetimeIndex(frame.index), max_gap_days)
    features: list[NDArray[np.float64]] = [np.empty((0, len(FEATURE_NAMES)))]
    bars: list[Integers] = [np.empty(0, np.int64)]
    ends: list[Integers] = [np.empty(0, np.int64)]
    rows = 0
    for start, stop in _borders(segment):
        part = compute_features(frame.iloc[start:stop])[WARM_UP:]
        features.append(part)
        bars.append(np.arange(start + WARM_UP, start + WARM_UP + len(part), dtype=np.int64))
        ends.append(rows + _full_windows(part, lookback))
        rows += len(part)
    return FeatureRows(np.concatenate(features), np.concatenate(bars), np.concatenate(ends), segment)


def frame_windows(
    frame: pd.DataFrame, lookback: int, max_gap_days: float
) -> tuple[NDArray[np.float64], Integers, NDArray[np.datetime64]]:
    """Windows without labels, for predictions on new bars.

    Args:
        frame: (bars,) of :class:`~cnn_lstm_hyperopt.data.bars.Bars`.
        lookback: rows in a window.
        max_gap_days: days; a longer hole starts a new segment.

    Returns:
        features (rows, 11), unscaled; ends (windows,), the last row of each window (a window is the rows
        ``end − lookback + 1 .. end``); dates (windows,) of the decisions, datetime64[ns].
    """
    rows = feature_rows(frame, lookback, max_gap_days)
    dates = pd.DatetimeIndex(frame.index).as_unit("ns").to_numpy()
    return rows.features, rows.ends, dates[rows.bars[rows.ends]]


def frame_labels(frame: pd.DataFrame, segment: Integers, target: Target, horizon: int) -> Labels:
    """Labels of all bars of a frame, each from its own segment alone."""
    parts = [make_labels(frame.iloc[start:stop], target, horizon) for start, stop in _borders(segment)]
    empty = make_labels(frame.iloc[:0], target, horizon)
    return Labels(
        classes=np.concatenate([empty.classes, *(part.classes for part in parts)]),
        values=np.concatenate([empty.values, *(part.values for part in parts)]),
        valid=np.concatenate([empty.valid, *(part.valid for part in parts)]),
    )


def reach_bars(segment: Integers, purge: int) -> Integers:
    """(bars,) the bar ``purge`` bars later, or the last of the segment, as no label looks further."""
    last = np.searchsorted(segment, segment, side="right") - 1
    return np.minimum(np.arange(len(segment)) + purge, last).astype(np.int64)


def bars_needed(lookback: int, target: Target, horizon: int) -> int:
    """Bars without a hole that a symbol must have for its first window."""
    history = HISTORY + horizon - 1 if target == "volatility" else 0
    return max(WARM_UP + lookback, history) + horizon


def _borders(segment: Integers) -> list[tuple[int, int]]:
    """Half-open ranges of bars of the segments."""
    starts = np.flatnonzero(np.diff(segment, prepend=-1))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(segment)], strict=True))


def _full_windows(features: NDArray[np.float64], lookback: int) -> Integers:
    """Last rows of the windows of one segment whose ``lookback`` rows are all finite."""
    missing = np.isnan(features).any(axis=1)
    missing_before = np.concatenate(([0], np.cumsum(missing)))
    ends = np.arange(lookback - 1, len(features), dtype=np.int64)
    complete: Integers = ends[missing_before[ends + 1] == missing_before[ends + 1 - lookback]]
    return complete
