"""Which test windows depend on each other, and how far a mean over them varies because of that.

Three kinds of units:

- **windows**: without dates and groups every window is independent. Their order means nothing.
- **groups**: windows of one group depend on each other in any way, different groups do not. The variance is that of sums over
  groups (cluster-robust), Student's t has one degree of freedom less than there are groups of equal size (Carter, Schnepel &
  Steigerwald 2017).
- **dates**: windows of one date share its day, and neighbouring dates resemble each other. The variance is the mean square of
  the first few cosine transforms of the sums by date, so many degrees of freedom has Student's t (equally weighted cosines:
  Müller 2007; Lazarus, Lewis, Stock & Watson 2018; for forecasts: Coroneo & Iacone 2020). Few cosines see slow dependence and
  cost width; :func:`n_cosines` says how many.

tests/evaluation/test_intervals.py and benchmarks/intervals.py have the measured coverage.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.metrics.proportions import Variance, standard_errors

Floats = NDArray[np.float64]
Kind = Literal["windows", "groups", "dates"]

MIN_UNITS: dict[Kind, int] = {"windows": 5, "groups": 5, "dates": 10}
"""Below that there is no interval."""
MIN_STRETCHES = 5
"""The horizon is at most this part of the dates; with a longer one there is no interval."""
_COSINES, _MIN_COSINES = 0.4, 4
"""Lazarus et al. 2018: 0.4 n^(2/3) cosines."""
_NO_VARIANCE, _ROUNDING = 1e-24, 1e-9
"""A variance below the first is none; one below the second times that of independent windows is a sum's rounding error."""
_PER_LENGTH = 0.6
"""Dates in automatic block lengths, times this, are the most cosines: strong dependence needs fewer."""


class Units(NamedTuple):
    """What a set of windows consists of.

    Attributes:
        kind: what is independent, or in order of time.
        n_windows, number: windows, and units of that kind.
        too_few: why there is no interval, as the beginning of a sentence; None where there is one.
    """

    kind: Kind
    n_windows: int
    number: int
    too_few: str | None


@dataclass(frozen=True, eq=False)
class Dependence:
    """Which windows depend on each other.

    Attributes:
        kind: what the units are.
        unit: (windows,) int64 number of each window's unit; dates in order of time.
        n_units: number of units.
        horizon: bars that a label looks ahead: so many neighbouring labels share bars.
    """

    kind: Kind
    unit: NDArray[np.int64]
    n_units: int
    horizon: int = 1

    @classmethod
    def independent(cls, n_windows: int, *, horizon: int = 1) -> "Dependence":
        """Of windows without dates and groups; with a horizon above 1 so many of them count as one."""
        return cls("windows", np.arange(n_windows), n_windows, horizon)

    @classmethod
    def by_group(cls, groups: NDArray[Any], *, horizon: int = 1) -> "Dependence":
        """Of windows ``(windows,)`` in groups."""
        return cls("groups", *_numbered(groups), horizon)

    @classmethod
    def by_date(cls, dates: NDArray[Any], *, horizon: int = 1) -> "Dependence":
        """Of windows ``(windows,)`` with dates; several windows may share one."""
        return cls("dates", *_numbered(dates), horizon)

    @classmethod
    def of(cls, windows: Windows, *, horizon: int) -> "Dependence":
        """Of a split: by its groups, else by its dates, else each window for itself."""
        if windows.groups is not None:
            return cls.by_group(windows.groups, horizon=horizon)
        if windows.dated:
            return cls.by_date(windows.dates, horizon=horizon)
        return cls.independent(len(windows), horizon=horizon)

    @property
    def units(self) -> Units:
        """What there is of them."""
        return Units(self.kind, self.n_windows, self.n_units, self.too_few)

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return len(self.unit)

    @property
    def too_few(self) -> str | None:
        """Why there is no interval, as the beginning of a sentence; None where there is one."""
        if self.n_units < MIN_UNITS[self.kind]:
            return f"fewer than {MIN_UNITS[self.kind]} {self.kind} give no interval"
        if self.kind != "groups" and self.horizon > 1 and self.horizon > self.n_units // MIN_STRETCHES:
            return (
                f"a horizon of {self.horizon} bars leaves too few independent stretches in {self.n_units:,} {self.kind} for an"
                " interval"
            )
        return None

    def variance(self, influence: Floats) -> Variance:
        """Variance of an estimate.

        Where all sums by unit are alike while windows differ, as in a balanced design, the sums show no variance at all. That of
        independent windows takes its place.

        Args:
            influence: (windows,) of each window on the estimate, which varies as their mean does.
        """
        n = self.n_windows
        centred = influence - influence.mean()
        alone = float(centred @ centred) / n**2
        if self.kind == "windows":
            spread = float(centred @ centred) / (n - 1)
            return Variance(spread / n * self.horizon, n / self.horizon - 1)
        sums = np.bincount(self.unit, weights=centred, minlength=self.n_units).astype(np.float64)
        if self.kind == "groups":
            spread = self.n_units / (self.n_units - 1) * float(sums @ sums)
            sizes = np.bincount(self.unit, minlength=self.n_units).astype(np.float64)
            value, freedom = spread / n**2, float(sizes.sum() ** 2 / (sizes @ sizes)) - 1
        else:
            freedom = n_cosines(sums, self.horizon)
            value = self.n_units * _low_frequencies(sums, freedom) / n**2
        return Variance(alone if value <= _ROUNDING * alone else value, freedom)

    def effective_share(self, influence: Floats) -> tuple[float, float]:
        """So much of each window counts, as if all were independent, and Student's t for it.

        Args:
            influence: (windows,) of each window on the estimate.

        Returns:
            The variance of independent windows / the variance; where nothing varies, only units count, and of dates one in
            a horizon. And how many standard errors an interval reaches: Student's t where the dependence was estimated,
            and that of a normal distribution for independent windows.
        """
        if self.kind == "windows":
            return 1 / self.horizon, standard_errors(math.inf)
        centred = influence - influence.mean()
        alone = float(centred @ centred) / self.n_windows**2
        variance = self.variance(influence)
        alike = self.n_units / self.n_windows / (self.horizon if self.kind == "dates" else 1)
        share = alone / variance.value if alone > _NO_VARIANCE else alike
        return share, variance.reach


def design_effect(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> float:
    """By how much the variance of a guess's score grows at most because labels come in groups; 1 where they do not.

    All windows of a single group count as one: nothing shows how alike the labels of a group are.

    Hits of a guess that is independent of the labels are at most as alike within a group as the labels are. 1 + (m − 1) ρ, with m
    the windows in a window's group on average (Kish 1965) and ρ the labels' intraclass correlation.

    Args:
        labels: (windows,) classes.
        groups: (windows,) numbers.
    """
    unit, n_groups = _numbered(groups)
    n, sizes = len(labels), np.bincount(unit).astype(np.float64)
    if n_groups in (1, n):
        return float(n / n_groups)
    classes = np.eye(int(labels.max()) + 1)[labels]
    shares = np.stack([np.bincount(unit, weights=each) for each in classes.T], axis=1) / sizes[:, None]
    between = float((sizes[:, None] * (shares - classes.mean(axis=0)) ** 2).sum()) / (n_groups - 1)
    within = float((sizes[:, None] * shares * (1 - shares)).sum()) / (n - n_groups)
    usual = (n - float(sizes @ sizes) / n) / (n_groups - 1)
    if between + (usual - 1) * within <= 0:
        return 1.0
    alike = min(1.0, max(0.0, (between - within) / (between + (usual - 1) * within)))
    return 1 + (float(sizes @ sizes) / n - 1) * alike


def n_cosines(sums: Floats, horizon: int) -> int:
    """Number of cosines that estimate the variance of a mean over dates.

    0.4 n^(2/3), at least 4. Fewer where the dates depend on each other for long (0.6 n / automatic block length) and where
    labels overlap: the cosines' periods are then at least four horizons long.

    Args:
        sums: (dates,) the series whose mean is studied, in order of time.
        horizon: bars that a label looks ahead.
    """
    n = len(sums)
    usual = max(_MIN_COSINES, int(_COSINES * n ** (2 / 3)))
    dependent = max(_MIN_COSINES, int(_PER_LENGTH * n / automatic_length(sums)))
    overlap = max(2, n // (2 * horizon)) if horizon > 1 else n
    return min(usual, dependent, overlap, n - 1)


def automatic_length(series: Floats) -> float:
    """Length of circular blocks that estimate the variance of the mean with the least squared error, at least 1.

    Politis & White 2004, with the correction of Patton, Politis & White 2009; constants as in Patton's program. 1 for a constant.

    Args:
        series: (n,) in order of time.
    """
    n = len(series)
    centred = series - series.mean()
    variance = float(centred @ centred) / n
    if n < 3 or variance <= 1e-24:
        return 1.0
    run = max(5, int(math.log10(n)))  # K_n: autocorrelations in a row that must be small
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


def _low_frequencies(sums: Floats, cosines: int) -> float:
    """Long-run variance of a series: the mean square of its first cosine transforms (type II, orthonormal, without the mean)."""
    from scipy.fft import dct  # a tenth of a second

    return float(np.square(dct(sums, norm="ortho")[1 : cosines + 1]).mean())


def _numbered(marks: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    unique, inverse = np.unique(marks, return_inverse=True)
    return np.asarray(inverse, dtype=np.int64), len(unique)
