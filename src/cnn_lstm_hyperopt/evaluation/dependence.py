"""Dependence between test windows, and the effect of the dependence on the variance of a mean.

A unit is a set of windows that may depend on each other. There are four kinds of units:

- **windows**: without dates and groups, each window is a unit. All windows count as independent; their order has no meaning.
- **groups**: windows of one group may depend on each other; different groups are independent. The variance comes from the
  sums over groups (cluster-robust). The degrees of freedom of Student's t are the effective number of equally large groups,
  minus one (Carter, Schnepel & Steigerwald 2017).
- **dates**: windows of one date depend on each other, and neighbouring dates depend on each other. The variance is the mean
  square of the first cosine transforms of the sums by date. The number of transforms is the degrees of freedom of Student's t
  (equally weighted cosines: Müller 2007; Lazarus, Lewis, Stock & Watson 2018; for forecasts: Coroneo & Iacone 2020). Fewer
  cosines capture slower dependence but widen the interval; see :func:`n_cosines`. Where labels do not
  overlap, an autoregression gives a second estimate of the variance (prewhitening: Andrews & Monahan 1992); the larger of the
  two variances is used.
- **days**: for intraday bars, a unit is a session day (:mod:`cnn_lstm_hyperopt.data.sessions`); otherwise like dates.

tests/evaluation/test_intervals.py and benchmarks/intervals.py measure the coverage of the intervals.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.locked_period import LockedPeriod
from cnn_lstm_hyperopt.data.sessions import session_days
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.metrics.base import NO_VARIANCE
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE, Variance, standard_errors
from cnn_lstm_hyperopt.utils.text import counted

Floats = NDArray[np.float64]
Kind = Literal["windows", "groups", "dates", "days"]

MIN_UNITS: dict[Kind, int] = {"windows": 5, "groups": 5, "dates": 10, "days": 10}
"""Minimum number of units for a confidence interval."""
MIN_STRETCHES = 5
"""Minimum number of units for a confidence interval, as a multiple of the horizon."""
_COSINES, _MIN_COSINES = 0.2, 4
"""Factor and minimum of the number of cosines: 0.2 n^(2/3) cosines for n dates, at least 4.

Lazarus et al. 2018 use the factor 0.4. With half as many cosines, the variance also includes slow dependence that
autocorrelations of single dates do not show.
"""
_ROUNDING = 1e-9
"""A variance below ``_ROUNDING`` × the variance of independent windows counts as a rounding error."""
_PER_LENGTH = 0.6
"""Maximum of number of cosines × automatic block length / number of dates.

This maximum reduces the number of cosines for strong dependence.
"""
_MAX_AUTOREGRESSION = 0.97
"""Maximum coefficient of the autoregression for prewhitening. Andrews & Monahan 1992 also limit the coefficient."""


class Units(NamedTuple):
    """Kind and number of the units of a set of windows.

    Attributes:
        kind: kind of the units.
        n_windows: number of windows.
        number: number of units.
        too_few: reason why there are too few units for an interval, as the start of a sentence; None if there are enough units.
    """

    kind: Kind
    n_windows: int
    number: int
    too_few: str | None = None

    @property
    def text(self) -> str:
        """Numbers of test windows and of units, such as ``40 test windows`` or ``600 test windows of 200 dates``."""
        windows = f"{self.n_windows:,} test windows"
        return windows if self.kind == "windows" else f"{windows} of {self.number:,} {self.kind}"


@dataclass(frozen=True, eq=False)
class Dependence:
    """Dependence between the windows of a set, described by units.

    Attributes:
        kind: kind of the units.
        unit: (windows,) int64 number of each window's unit. Dates and days are numbered in time order.
        n_units: number of units.
        horizon: number of units that a label looks ahead. Labels whose distance is smaller depend on common bars.
        level: confidence level of the intervals.
    """

    kind: Kind
    unit: NDArray[np.int64]
    n_units: int
    horizon: int = 1
    level: float = CONFIDENCE

    @classmethod
    def independent(cls, n_windows: int, *, horizon: int = 1) -> "Dependence":
        """Return the dependence of windows without dates and groups. ``horizon`` windows count as one window."""
        return cls("windows", np.arange(n_windows), n_windows, horizon)

    @classmethod
    def by_group(cls, groups: NDArray[Any], *, horizon: int = 1) -> "Dependence":
        """Return the dependence of windows with ``groups`` (windows,). Windows of different groups are independent."""
        return cls("groups", *_numbered(groups), horizon)

    @classmethod
    def by_date(cls, dates: NDArray[Any], *, horizon: int = 1) -> "Dependence":
        """Return the dependence of windows with dates. Intraday windows are grouped by session day.

        Args:
            dates: ``(windows,)`` date of each window's last bar; several windows may have the same date.
            horizon: number of bars that a label looks ahead.
        """
        days = session_days(dates)
        if days is None:
            return cls("dates", *_numbered(dates), horizon)
        bars = np.bincount(days[np.unique(dates, return_index=True)[1]])
        return cls("days", *_numbered(days), math.ceil(horizon / float(np.median(bars))))

    @classmethod
    def of(cls, windows: Windows | LockedPeriod, *, horizon: int) -> "Dependence":
        """Return the dependence of a split's windows: by groups if there are groups, else by dates, else as independent."""
        if windows.groups is not None:
            return cls.by_group(windows.groups, horizon=horizon)
        if windows.dated:
            return cls.by_date(windows.dates, horizon=horizon)
        return cls.independent(len(windows), horizon=horizon)

    def for_evaluation(self, number: int) -> "Dependence":
        """Return the dependence with the confidence level for evaluation ``number`` (from 1) of the same test set.

        The level is 1 − 0.05 / ``number`` (Bonferroni). So if ``number`` models without skill are compared, the probability
        that any of them seems to have skill is at most 5 %.
        """
        return replace(self, level=1 - (1 - CONFIDENCE) / number)

    @property
    def units(self) -> Units:
        """Kind and number of the units of the windows."""
        return Units(self.kind, self.n_windows, self.n_units, self.too_few)

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return len(self.unit)

    @property
    def too_few(self) -> str | None:
        """Reason why there are too few units for an interval, as the start of a sentence; None if there are enough units."""
        if self.n_units < MIN_UNITS[self.kind]:
            return f"fewer than {MIN_UNITS[self.kind]} {self.kind} give no interval"
        if self.kind != "groups" and self.horizon > 1 and self.horizon > self.n_units // MIN_STRETCHES:
            ahead = counted(self.horizon, "day" if self.kind == "days" else "bar")
            return f"a horizon of {ahead} leaves too few independent stretches in {self.n_units:,} {self.kind} for an interval"
        return None

    def variance(self, influence: Floats) -> Variance:
        """Return the variance of an estimate under this dependence.

        If the sums of all units are equal although the windows differ (as in a balanced design), the variance of independent
        windows is returned.

        Args:
            influence: (windows,) influence of each window on the estimate; the estimate varies as the mean of the influences.
        """
        n = self.n_windows
        centred = influence - influence.mean()
        alone = float(centred @ centred) / n**2
        if self.kind == "windows":
            spread = float(centred @ centred) / (n - 1)
            return Variance(spread / n * self.horizon, n / self.horizon - 1, self.level)
        sums = np.bincount(self.unit, weights=centred, minlength=self.n_units).astype(np.float64)
        if self.kind == "groups":
            spread = self.n_units / (self.n_units - 1) * float(sums @ sums)
            sizes = np.bincount(self.unit, minlength=self.n_units).astype(np.float64)
            value, freedom = spread / n**2, float(sizes.sum() ** 2 / (sizes @ sizes)) - 1
        else:
            long_run, freedom = _long_run(sums, self.horizon)
            if self.horizon == 1:  # sums of overlapping labels are no autoregression: intervals would be too wide
                long_run, freedom = max((long_run, freedom), _prewhitened(sums))
            value = self.n_units * long_run / n**2
        return Variance(alone if value <= _ROUNDING * alone else value, freedom, self.level)

    def effective_share(self, influence: Floats) -> tuple[float, float]:
        """Return how many independent windows one window is worth, and the half-width of an interval in standard errors.

        Args:
            influence: (windows,) influence of each window on the estimate.

        Returns:
            The first number is the variance if windows were independent, divided by the variance under this dependence. If
            all influences are equal, this number is units / windows, and except for groups this is also divided by the
            horizon. The half-width comes from Student's t distribution, or from the normal distribution for independent windows.
        """
        if self.kind == "windows":
            return 1 / self.horizon, standard_errors(math.inf, self.level)
        centred = influence - influence.mean()
        alone = float(centred @ centred) / self.n_windows**2
        variance = self.variance(influence)
        alike = self.n_units / self.n_windows / (1 if self.kind == "groups" else self.horizon)
        share = alone / variance.value if alone > NO_VARIANCE else alike
        return share, variance.reach


def n_cosines(sums: Floats, horizon: int) -> int:
    """Return the number of cosine transforms for estimating the variance of a mean over n dates.

    The number is 0.2 n^(2/3), but at least 4. If dependence lasts long, the number is at most 0.6 n / automatic block length.
    If labels overlap, the number is so low that the period of each cosine is at least four horizons.

    Args:
        sums: (dates,) sum of the influences on each date, in time order.
        horizon: number of dates that a label looks ahead.
    """
    n = len(sums)
    usual = max(_MIN_COSINES, int(_COSINES * n ** (2 / 3)))
    dependent = max(_MIN_COSINES, int(_PER_LENGTH * n / automatic_length(sums)))
    overlap = max(2, n // (2 * horizon)) if horizon > 1 else n
    return min(usual, dependent, overlap, n - 1)


def automatic_length(series: Floats) -> float:
    """Return the length of circular bootstrap blocks that gives the smallest squared error of the variance of a mean.

    The length is at least 1.

    Politis & White 2004, with the correction of Patton, Politis & White 2009; the constants are those of Patton's program. The
    length is 1 for a constant series.

    Args:
        series: (n,) values in time order.
    """
    n = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred) / n
    if n < 3 or variance <= NO_VARIANCE:
        return 1.0
    run = max(5, int(math.log10(n)))  # K_n: consecutive autocorrelations that must be small
    last = min(math.ceil(math.sqrt(n)) + run, n - 1)
    autocovariance = np.array([float(centred[lag:] @ centred[: n - lag]) for lag in range(last + 1)]) / n
    small = np.abs(autocovariance[1:]) < 2 * math.sqrt(math.log10(n) / n) * variance
    first = next((lag for lag in range(last - run + 1) if small[lag : lag + run].all()), None)
    width = last if first is None else min(2 * (first + 1), last)  # M = 2 m̂, m̂ the first lag of the run
    lags = np.arange(1, width + 1)
    flat_top = np.minimum(1.0, 2 * (1 - lags / width))  # λ(k/M)
    g = float(2 * (flat_top * lags) @ autocovariance[1 : width + 1])
    long_run = variance + float(2 * flat_top @ autocovariance[1 : width + 1])
    if abs(long_run) <= 1e-12 * variance:
        return 1.0
    length = (2 * g**2 / (4 / 3 * long_run**2)) ** (1 / 3) * n ** (1 / 3)
    return float(min(max(length, 1.0), math.ceil(min(3 * math.sqrt(n), n / 3))))


def _long_run(sums: Floats, horizon: int) -> tuple[float, int]:
    """Return the long-run variance of ``sums``, a series with mean 0, and the degrees of freedom of the variance."""
    cosines = n_cosines(sums, horizon)
    return _low_frequencies(sums, cosines), cosines


def _autoregression(sums: Floats) -> float:
    """Return the coefficient of an autoregression of order 1, from 0 to 0.97, of numbers (units,) with the mean 0.

    The Yule-Walker estimate is too small by (1 + 4 φ) / n (Shaman & Stine 1988), which is corrected.
    """
    total = float(sums @ sums)
    if total <= NO_VARIANCE:
        return 0.0
    found = float(sums[1:] @ sums[:-1]) / total
    return min(max(0.0, found + (1 + 4 * found) / len(sums)), _MAX_AUTOREGRESSION)


def variance_factor(sums: Floats) -> float:
    """Return the factor, at least 1, by which dependence increases the variance of the mean of numbers (units,) with the mean 0.

    It is the long-run variance divided by the variance.
    """
    variance = float(sums @ sums) / max(1, len(sums))
    if len(sums) < 3 or variance <= NO_VARIANCE:
        return 1.0
    return max(1.0, _prewhitened(sums)[0] / variance)


def _prewhitened(sums: Floats) -> tuple[float, int]:
    """Return the long-run variance and its degrees of freedom, estimated after prewhitening with an autoregression of order 1."""
    if float(sums @ sums) <= NO_VARIANCE:
        return 0.0, 1
    coefficient = _autoregression(sums)
    rest = sums[1:] - coefficient * sums[:-1]
    variance, freedom = _long_run(rest - rest.mean(), 1)
    return variance / (1 - coefficient) ** 2, freedom


def _low_frequencies(sums: Floats, cosines: int) -> float:
    """Return the long-run variance: the mean square of the first cosine transforms (type II, orthonormal).

    The transform with the constant cosine is not used.
    """
    from scipy.fft import dct  # imports in 0.1 s

    return float(np.square(dct(sums, norm="ortho")[1 : cosines + 1]).mean())


def _numbered(marks: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    unique, inverse = np.unique(marks, return_inverse=True)
    return np.asarray(inverse, dtype=np.int64), len(unique)
