"""Labels, which are the class and the value to predict at each bar. Labels are computed from later bars."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import talib
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import DataSettings, Target

HISTORY = 60
"""Number of past price ranges whose median is the boundary between the two classes of the target volatility."""
ATR_BARS = 14
"""Number of bars of Wilder's average true range (ATR), which is the unit of dead zones and barriers."""

RANGE_FLOOR = 1e-5
"""Smallest price range, and smallest usual size of a move, both as logarithms of a ratio of prices."""
_PART = 2**14  # bars labelled in one step, so that they stay in the CPU cache
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels at all bars of one segment. Each bar t is a possible decision.

    Attributes:
        classes: (bars,) int64 class numbers from 0; −1 where the label is not valid.
        values: (bars,) float64, the regression target; NaN where the label is not valid.
        valid: (bars,) bool, True where bars t+1..t+horizon and the earlier bars that the label needs exist.
        reach: (bars,) int64; the label at t depends on bars up to t+reach; 0 where the label is not valid.
    """

    classes: NDArray[np.int64]
    values: Floats
    valid: NDArray[np.bool_]
    reach: NDArray[np.int64]


@dataclass(frozen=True)
class Labeller:
    """A target, with the function that computes the labels of the bars of one segment.

    Attributes:
        class_names: names of classes 0, 1, …
        value_name: the formula of the values.
        history: number of bars up to and including t that the label at t needs.
        label: function that returns the labels of a frame (bars,) with float64 columns open, high, low, close, volume.
        level: function that returns the logarithm of the usual size of a move at each bar of such a frame, (bars,) float64.
            The result at a bar depends on this bar and earlier bars only. The result is NaN where there are too few earlier
            bars.
        in_logs: True if the value is the logarithm of a size, as the level is; False if the value is a move.
        edges: (classes − 1,) ascending boundaries between the classes, relative to the usual size of a move. If ``in_logs``,
            a boundary is a difference from the level. Otherwise it is a change of the price, in units of the usual size.
    """

    class_names: tuple[str, ...]
    value_name: str
    history: int
    label: Callable[[pd.DataFrame], Labels]
    level: Callable[[pd.DataFrame], Floats]
    in_logs: bool
    edges: tuple[float, ...]


@dataclass(frozen=True)
class OwnUnit:
    """A more readable unit of a target's value, which predictions show in addition.

    Attributes:
        column: name of the column of predictions, such as ``range_percent``.
        words: description of the unit.
        convert: function that converts predicted values (windows,) to this unit.
    """

    column: str
    words: str
    convert: Callable[[Floats], Floats]


def _change(values: Floats) -> Floats:
    return np.asarray(100 * np.expm1(values))


def _range(values: Floats) -> Floats:
    return np.asarray(100 * np.expm1(np.exp(values)))


OWN_UNITS: dict[str, OwnUnit] = {
    "direction": OwnUnit("change_percent", "change of the close in per cent", _change),
    "volatility": OwnUnit("range_percent", "high above low in per cent", _range),
    "triple_barrier": OwnUnit("change_percent", "change from the close to the exit in per cent", _change),
}


def labeller(settings: DataSettings) -> Labeller:
    """Return the labeller for the target, horizon, classes, dead zone and barriers in the settings."""
    return LABELLERS[settings.target](settings)


def _direction(settings: DataSettings) -> Labeller:
    """Label bars by the sign of C[t+h] − C[t], with close C and horizon h. The value is ln(C[t+h] / C[t]).

    With two classes, the class is 1 if C[t+h] > C[t], otherwise 0. With three classes, it is 1 (flat) if |C[t+h] − C[t]| ≤
    dead_zone_atr × ATR[t]. Otherwise the class is 0 for a fall and 2 for a rise.
    """
    horizon, dead_zone = settings.horizon, settings.dead_zone_atr
    value_name = f"ln(C[t+{horizon}] / C[t])"

    def two(frame: pd.DataFrame) -> Labels:
        now = frame["close"].to_numpy(np.float64)
        ahead = _ahead(now, horizon)
        return _fixed(ahead > now, np.log(ahead / now), np.isfinite(ahead), horizon)

    def three(frame: pd.DataFrame) -> Labels:
        now, width = frame["close"].to_numpy(np.float64), dead_zone * average_true_range(frame)
        ahead = _ahead(now, horizon)
        move = ahead - now
        classes = 1 + (move > width).astype(np.int64) - (move < -width)
        return _fixed(classes, np.log(ahead / now), np.isfinite(ahead) & np.isfinite(width), horizon)

    if settings.direction_classes == 2:
        return Labeller(("down or flat", "up"), value_name, 1, two, _usual_move, False, (0.0,))
    edges = (-dead_zone, dead_zone)
    return Labeller(("down", "flat", "up"), value_name, ATR_BARS + 1, three, _usual_move, False, edges)


def _volatility(settings: DataSettings) -> Labeller:
    """Label bars by the price range of the next h bars.

    The range at bar s is R(s) = max(ln(highest high / lowest low), 1e-5) over the h bars s−h+1..s. The class is 1 if R(t+h)
    is above the median of R(t−59), …, R(t), otherwise 0. The value is ln R(t+h)."""
    horizon = settings.horizon

    def usual(frame: pd.DataFrame) -> Floats:
        return np.asarray(pd.Series(ranges(frame, horizon)).rolling(HISTORY).median().to_numpy(np.float64))

    def label(frame: pd.DataFrame) -> Labels:
        spread, median = ranges(frame, horizon), usual(frame)
        ahead = _ahead(spread, horizon)
        return _fixed(ahead > median, np.log(ahead), np.isfinite(ahead) & np.isfinite(median), horizon)

    bars = "bar t+1" if horizon == 1 else f"bars t+1..t+{horizon}"
    value_name = f"ln(ln(high / low)) of {bars}"
    return Labeller(
        ("calm", "volatile"), value_name, HISTORY + horizon - 1, label, lambda frame: np.log(usual(frame)), True, (0.0,)
    )


def _triple_barrier(settings: DataSettings) -> Labeller:
    """Label bars by the price barrier that later bars pass first (López de Prado 2018, ch. 3).

    The class is 2 for the upper barrier, C[t] + up × ATR[t], and 0 for the lower barrier, C[t] − down × ATR[t]. The class is
    1 if no barrier is passed within h bars. The value is ln(exit price / C[t]).

    A bar passes the upper barrier if its high is above the barrier, and the lower barrier if its low is below the barrier. A
    bar that only touches a barrier does not pass it (snippet 3.2 of the source), because an order at the touched price may
    not be filled. If one bar passes both barriers, the lower barrier counts, which is worse for a long position. The exit
    price is the price of the passed barrier, even if the price jumps beyond the barrier. If no barrier is passed, the exit
    price is C[t+h]. The label depends on bars up to the exit (``reach``). A label is valid only if bar t+h exists. Without
    this rule, the last labels of a segment would all be early exits.
    """
    horizon, (up, down) = settings.horizon, settings.barriers_atr

    def label(frame: pd.DataFrame) -> Labels:
        high, low, close = (frame[name].to_numpy(np.float64) for name in ("high", "low", "close"))
        width = average_true_range(frame)
        valid = np.isfinite(_ahead(close, horizon)) & np.isfinite(width)
        upper, lower = close + up * width, close - down * width
        classes, reach = np.where(valid, 1, -1), np.where(valid, horizon, 0)
        for first in range(0, len(frame), _PART):
            open_ = first + np.flatnonzero(valid[first : first + _PART])
            for step in range(1, horizon + 1):  # run time: the sum of all reaches; few labels need many bars
                below, above = low[open_ + step] < lower[open_], high[open_ + step] > upper[open_]
                passed = below | above
                if passed.any():
                    classes[open_[above]] = 2
                    classes[open_[below]] = 0  # after the upper barrier: the lower counts if both are passed
                    reach[open_[passed]] = step
                    open_ = open_[~passed]
        # A lower barrier may be negative; no low passes it then, because prices are above 0.
        exits = np.select([classes == 0, classes == 2, valid], [lower, upper, _ahead(close, horizon)], np.nan)
        return Labels(classes.astype(np.int64), np.log(exits / close), valid, reach.astype(np.int64))

    names = ("lower barrier", "neither", "upper barrier")
    return Labeller(names, "ln(exit / C[t])", ATR_BARS + 1, label, _usual_move, False, (-down, up))


LABELLERS: dict[Target, Callable[[DataSettings], Labeller]] = {
    "direction": _direction,
    "volatility": _volatility,
    "triple_barrier": _triple_barrier,
}


def average_true_range(frame: pd.DataFrame) -> Floats:
    """Return Wilder's average true range of 14 bars in units of price, (bars,), with NaN for the first 14 bars."""
    if len(frame) <= ATR_BARS:
        return np.full(len(frame), np.nan)
    high, low, close = (frame[name].to_numpy(np.float64) for name in ("high", "low", "close"))
    atr: Floats = talib.ATR(high, low, close, timeperiod=ATR_BARS)
    return atr


def log_ranges(frame: pd.DataFrame) -> Floats:
    """Return the logarithm of each bar's range, (bars,). The range is max(ln(high / low), 1e-5)."""
    return np.asarray(np.log(ranges(frame)))


def ranges(frame: pd.DataFrame, bars: int = 1) -> Floats:
    """Return at each bar the range of the last ``bars`` bars, at least 1e-5, with NaN for the first bars."""
    highest = frame["high"].rolling(bars).max().to_numpy(np.float64)
    lowest = frame["low"].rolling(bars).min().to_numpy(np.float64)
    return np.asarray(np.maximum(np.log(highest / lowest), RANGE_FLOOR))


def _usual_move(frame: pd.DataFrame) -> Floats:
    """Return the logarithm of ATR / close at each bar, with NaN for the first 14 bars. ATR / close is at least 1e-5."""
    return np.asarray(np.log(np.maximum(average_true_range(frame) / frame["close"].to_numpy(np.float64), RANGE_FLOOR)))


def _ahead(values: Floats, horizon: int) -> Floats:
    """Return at each bar the value ``horizon`` bars later, with NaN where no such bar exists."""
    return np.concatenate([values[horizon:], np.full(min(horizon, len(values)), np.nan)])


def _fixed(
    classes: NDArray[np.bool_] | NDArray[np.int64], values: Floats, valid: NDArray[np.bool_], horizon: int
) -> Labels:
    """Return labels that all depend on bars up to ``horizon`` bars later."""
    return Labels(
        classes=np.where(valid, classes, -1).astype(np.int64),
        values=np.where(valid, values, np.nan),
        valid=valid,
        reach=np.where(valid, horizon, 0).astype(np.int64),
    )
