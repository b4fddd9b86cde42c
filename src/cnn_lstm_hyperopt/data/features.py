"""The eleven built-in features of price bars, and the division of bars into segments without long gaps.

The features use no later bars and do not depend on the scale of prices.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd
import talib
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FEATURE_NAMES: tuple[str, ...] = (
    "close_return",  # ln C / C₋₁
    "open_gap",  # ln O / C₋₁
    "body",  # ln C / O
    "range",  # ln H / L
    "close_location",  # (2C − H − L) / (H − L), in [−1, 1]
    "volume_z20",  # z-score of ln(1 + V) over 20 bars
    "rsi14",  # RSI / 50 − 1, in [−1, 1]
    "macd_atr14",  # MACD histogram (12, 26, 9) / ATR
    "atr14",  # ATR / C
    "bollinger20",  # (C − SMA) / 2σ over 20 bars
    "signed_volume20",  # Σ sign(r) V / Σ V over 20 bars, in [−1, 1]
)
WARM_UP = 33
"""Number of bars at the start of a segment without features: 25 for the MACD's slow average and 8 for its signal line."""

_BAND = 20
_PART = 2**15  # windows reduced at a time: 5 MB, so that they stay in the cache
_WILDER = 14
_ZERO = 1e-12  # relative: smaller ATR and σ are rounding, not movement
Array = NDArray[np.float64]


def write_features(frame: pd.DataFrame, out: Array) -> None:
    """Write the built-in features of the bars of one segment into the first columns of ``out``.

    Row t depends on bars 0 to t only. The features stay the same if all prices are multiplied by a constant. The features stay
    almost the same if all volumes V are multiplied by a constant, provided that ln(1 + V) ≈ ln V. Where a formula would divide
    by zero (no range, movement or volume), the feature is 0.

    Args:
        frame: (bars,) float64 columns open, high, low, close, volume.
        out: (bars, 11 or more), in the order of ``FEATURE_NAMES``; the first ``WARM_UP`` rows become NaN.
    """
    bars = len(frame)
    if bars == 0:
        return
    unit = float(frame["close"].iloc[0])  # O(1) prices: TA-Lib compares with absolute thresholds
    open_, high, low, close = (frame[name].to_numpy(np.float64) / unit for name in ("open", "high", "low", "close"))
    volume = frame["volume"].to_numpy(np.float64)
    before = np.concatenate(([np.nan], close[:-1]))
    atr = _indicator(lambda: talib.ATR(high, low, close, timeperiod=_WILDER), bars, at_least=_WILDER + 1)
    out[:, 0] = np.log(close / before)
    out[:, 1] = np.log(open_ / before)
    out[:, 2] = np.log(close / open_)
    out[:, 3] = np.log(high / low)
    out[:, 4] = np.clip(_divide(2 * close - high - low, high - low, close), -1, 1)
    out[:, 5] = _z_score(np.log1p(volume))
    out[:, 6] = _rsi(close, before)
    out[:, 7] = _divide(_macd_histogram(close), atr, close)
    out[:, 8] = atr / close
    out[:, 9] = _z_score(close) / 2
    out[:, 10] = _signed_volume(close - before, volume)


def segments(index: pd.DatetimeIndex, max_gap_days: float) -> NDArray[np.int64]:
    """Return the number of each bar's segment, from 0. Features, labels and windows use bars of one segment only.

    A new segment starts where the time from the previous bar exceeds both ``max_gap_days`` days and 3 times the median time
    between bars. So monthly bars stay in one segment.

    Args:
        index: (bars,) ascending dates.
        max_gap_days: longest allowed time between two bars of a segment, in days.
    """
    if len(index) < 2:
        return np.zeros(len(index), dtype=np.int64)
    steps = np.diff(index.as_unit("ns").asi8) / 86_400e9
    return np.concatenate(([0], np.cumsum(steps > longest_step(steps, max_gap_days)))).astype(np.int64)


def longest_step(steps: NDArray[np.float64], max_gap_days: float) -> float:
    """Return the longest allowed time between neighbouring bars of a segment, in days.

    ``steps`` are the times between all neighbouring bars, in days.
    """
    return max(max_gap_days, 3 * float(np.median(steps)))


def _indicator(compute: Callable[[], Array], bars: int, *, at_least: int) -> Array:
    """Return the result of ``compute()``, or an array of NaN if there are too few bars for the library TA-Lib."""
    return compute() if bars >= at_least else np.full(bars, np.nan)


def _divide(top: Array, bottom: Array, scale: Array) -> Array:
    """Return the quotient top / bottom.

    The result is 0 where ``bottom`` is 0 relative to ``scale``, and NaN where an argument is NaN.
    """
    still = np.abs(bottom) <= _ZERO * np.abs(scale)
    ratio = top / np.where(still, 1.0, bottom)
    return np.where(still & ~np.isnan(top), 0.0, ratio)


def _trailing(values: Array, reduce: Callable[[NDArray[np.float64]], Array]) -> Array:
    """Return the result of ``reduce`` for the last 20 values at each bar, and NaN at the first 19 bars.

    Each window of 20 values is reduced separately, because rounding errors of running sums would grow. The computation works
    in parts of equal size to save memory. A part has at least two windows if there are two, because NumPy sums a single row
    in another order.
    """
    out = np.full(len(values), np.nan)
    windows = len(values) - _BAND + 1
    if windows > 0:
        borders = np.linspace(0, windows, num=-(-windows // _PART) + 1, dtype=np.int64).tolist()
        for start, stop in pairwise(borders):
            part = sliding_window_view(values[start : stop + _BAND - 1], _BAND)
            out[start + _BAND - 1 : stop + _BAND - 1] = reduce(part)
    return out


def _z_score(values: Array) -> Array:
    """Return (x − mean) / σ over the last 20 bars, with the population standard deviation σ. The result is 0 where σ is 0."""
    mean = _trailing(values, lambda window: window.mean(axis=1))
    deviation = _trailing(values, lambda window: window.std(axis=1))
    return _divide(values - mean, deviation, np.maximum(np.abs(mean), np.abs(values)))


def _rsi(close: Array, before: Array) -> Array:
    """Return Wilder's RSI (relative strength index), scaled to [−1, 1].

    After 14 bars without a change the result is 0. TA-Lib would repeat an old value.
    """
    rsi = _indicator(lambda: talib.RSI(close, timeperiod=_WILDER), len(close), at_least=_WILDER + 1)
    last_change = np.maximum.accumulate(np.where(close != before, np.arange(len(close)), 0))
    still = np.arange(len(close)) - last_change >= _WILDER
    return np.where(still & ~np.isnan(rsi), 0.0, rsi / 50 - 1)


def _macd_histogram(close: Array) -> Array:
    return _indicator(lambda: talib.MACD(close, 12, 26, 9)[2], len(close), at_least=WARM_UP + 1)


def _signed_volume(change: Array, volume: Array) -> Array:
    total = _trailing(volume, lambda window: window.sum(axis=1))
    signed = _trailing(np.sign(change) * volume, lambda window: window.sum(axis=1))
    empty = total == 0
    return np.where(empty & ~np.isnan(signed), 0.0, signed / np.where(empty, 1.0, total))
