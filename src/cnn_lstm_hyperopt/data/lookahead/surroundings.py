"""Quantities of the bars before and after a bar t.

The quantities are scaled so that calm and volatile times have equal weight.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.labels import Labels

_MANY_BARS = 250
_BARS_PER_LEAD = 30  # a stretch of n bars needs n times this number of bars, because stretches overlap
_LEADS, _FEW_LEADS = 5, 2
_SPANS = (10, 20, 50)
_DAY = 86_400_000_000_000  # nanoseconds
Array = NDArray[np.float64]
Integers = NDArray[np.int64]


def moved(series: Array, bars: int) -> Array:
    """Return at each bar the value ``bars`` bars later, with NaN where no such bar exists.

    A negative number means earlier bars.
    """
    moved = np.full(len(series), np.nan)
    if bars >= 0:
        moved[: max(len(series) - bars, 0)] = series[bars:]
    else:
        moved[-bars:] = series[:bars]
    return moved


@dataclass(frozen=True, eq=False)
class Usual:
    """Usual sizes of price moves and of volumes at the close of each bar, each (bars,) and above 0.

    Quantities are divided by their usual sizes. Otherwise volatile times and high prices would dominate the regression on the
    past.
    """

    close: Array
    move: Array
    volume: Array

    @classmethod
    def of(cls, frame: pd.DataFrame) -> "Usual":
        close = frame["close"].to_numpy(np.float64)
        spread = np.log(frame["high"].to_numpy(np.float64) / frame["low"].to_numpy(np.float64))
        returns = np.nan_to_num(np.log(close / moved(close, -1)))
        return cls(close, _trailing(spread + np.abs(returns)), _trailing(frame["volume"].to_numpy(np.float64)))

    def units(self) -> tuple[Array, ...]:
        """Return possible units of a feature, each (bars,): 1, the usual move, the usual move in money, and the usual volume."""
        return np.ones(len(self.close)), self.move, self.move * self.close, self.volume


def _trailing(series: Array) -> Array:
    """Return the exponential average over 20 bars. The average stays above 0 even if all values are 0."""
    average = pd.Series(series).ewm(span=20).mean().to_numpy(np.float64)
    mean: Array = np.maximum(average, 1e-3 * float(average.mean()))
    return mean if mean.any() else np.ones(len(series))


@dataclass(frozen=True, eq=False)
class Quantity:
    """A quantity that is known at the close of each bar.

    Attributes:
        name: name of the quantity, with a placeholder for the lead.
        series: values (bars,); NaN where unknown.
        leads: numbers of bars after t at which values are compared with the feature x[t].
        lags: numbers of bars before t whose values form the past; 0 is t itself.
        level, unit: (bars,) numbers that scale the values at t to (value − level) / unit.
    """

    name: str
    series: Array
    leads: tuple[int, ...]
    lags: tuple[int, ...]
    level: Array | float = 0.0
    unit: Array | float = 1.0

    def later(self) -> dict[str, Array]:
        """Return the scaled values after each bar t by name, with an array (bars,) for each lead."""
        return {self.name.format(lead): (moved(self.series, lead) - self.level) / self.unit for lead in self.leads}

    def earlier(self) -> list[Array]:
        """Return the scaled values up to each bar t, with an array (bars,) for each lag."""
        return [(moved(self.series, -lag) - self.level) / self.unit for lag in self.lags]


def quantities_around(frame: pd.DataFrame, usual: Usual, horizon: int, bars: int) -> list[Quantity]:
    """Return the quantities of the first statistic. Longer leads are used only if there are enough bars."""
    leads = tuple(range(1, 1 + (_LEADS if bars >= _MANY_BARS else _FEW_LEADS)))
    lags = (0, *leads)
    spans = tuple(span for span in sorted({*_SPANS, horizon} - {*leads}) if span <= bars // _BARS_PER_LEAD)
    close, volume = np.log(usual.close), frame["volume"].to_numpy(np.float64)
    returns = close - moved(close, -1)
    moves, many = np.abs(returns), np.log1p(volume)
    around = [
        Quantity(f"{name} of bar t+{{}}", np.log(frame[name].to_numpy(np.float64)), leads, lags, close, usual.move)
        for name in ("open", "high", "low")
    ]
    around += [
        Quantity("close of bar t+{}", close, leads + spans, lags + spans, close, usual.move),
        Quantity("return of bar t+{}", returns, leads, lags, 0.0, usual.move),
        Quantity("size of the return of bar t+{}", moves, leads, lags, 0.0, usual.move),
        Quantity("volume of bar t+{}", volume, leads, lags, 0.0, usual.volume),
        Quantity("logarithm of the volume of bar t+{}", many, leads, lags),
    ]
    for span in spans:
        for name, series, level, unit in (
            ("close", close, close, usual.move),
            ("size of returns", moves, 0.0, usual.move),
            ("logarithm of the volume", many, 0.0, 1.0),
        ):
            mean = pd.Series(series).rolling(span).mean().to_numpy()
            around.append(Quantity(f"mean {name} of bars t+1..t+{{}}", mean, (span,), (0,), level, unit))
    step = np.log(np.append(np.diff(pd.DatetimeIndex(frame.index).as_unit("ns").asi8), 1))  # known from a calendar
    for known in (step, close, *(1 / unit for unit in usual.units()[1:])):
        around.append(Quantity("", known, (), (0,)))
    return around


def single_quantities(frame: pd.DataFrame, labels: Labels, horizon: int, bars: int) -> list[Quantity]:
    """Return the quantities of the second statistic, each of which is compared alone."""
    past = tuple(range(_LEADS + 1))
    close, volume = np.log(frame["close"].to_numpy(np.float64)), np.log1p(frame["volume"].to_numpy(np.float64))
    known = {"value": labels.values, "class": labels.classes.astype(np.float64)}
    single = [
        Quantity(
            f"label's {name} (bars t+1..t+{{}})",
            moved(np.where(labels.valid, series, np.nan), -horizon),
            (horizon,),
            past,
        )
        for name, series in known.items()
    ]
    one_bar = {
        "return": close - moved(close, -1),
        "range": np.log(frame["high"].to_numpy(np.float64) / frame["low"].to_numpy(np.float64)),
        "change of volume": volume - moved(volume, -1),
    }
    single += [Quantity(f"{name} of bar t+{{}}", series, past[1:], past) for name, series in one_bar.items()]
    spans = [span for span in sorted({*past[2:], horizon} - {1}) if span <= bars // _BARS_PER_LEAD]
    return single + [
        Quantity("return over bars t+1..t+{}", close - moved(close, -span), (span,), past) for span in spans
    ]


@dataclass(frozen=True, eq=False)
class Calendar:
    """Groups of rows with the same time of day or day of the week.

    Attributes:
        group: (rows,) number of the group, from 0. A group is a time of day, or an hour if there are too many different
            times. For daily and longer bars, a group is a day of the week.
        size: (groups,) number of rows in each group.
    """

    group: Integers
    size: Integers

    @classmethod
    def of(cls, frame: pd.DataFrame, rows: Integers) -> "Calendar":
        index = pd.DatetimeIndex(frame.index)[rows]
        times = np.unique(index.as_unit("ns").asi8 % _DAY, return_inverse=True)[1]
        if times.max() == 0:
            times = np.asarray(index.day_of_week)
        elif times.max() >= len(rows) // 10:
            times = np.asarray(index.hour)
        group = np.unique(times, return_inverse=True)[1].astype(np.int64)
        return cls(group, np.bincount(group))

    def within(self, values: Array) -> Array:
        """Return ``values`` (rows, columns) after the mean of each row's group is subtracted."""
        means = np.stack([np.bincount(self.group, column) / self.size for column in values.T], axis=1)
        inside: Array = values - means[self.group]
        return inside
