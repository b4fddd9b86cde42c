"""Periods of a walk-forward test.

The test set is divided into periods, and each period has its own training and validation windows.

In a walk-forward evaluation, models are trained again before each period, on windows whose labels are known before the
period. Then the models predict the windows of the period (Pardo 1992; Hyndman & Athanasopoulos 2021, ch. 5.10).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.sessions import session_days
from cnn_lstm_hyperopt.data.splits import PURGED, TEST, TRAIN, VALIDATION, Dates, Integers, WindowDates, assign
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.errors import DataError

MIN_DATES = 20
"""Minimum number of dates of a period, which is one month of daily bars. For intraday bars, session days are counted."""


@dataclass(frozen=True, eq=False)
class PeriodIndices:
    """Ascending positions of the windows of one period of the test set.

    Attributes:
        train, validation: training and validation windows, which are before the period.
        test: test windows, which are decided in the period.
        purged: windows that are decided before the period and are neither for training nor for validation.
    """

    train: Integers
    validation: Integers
    test: Integers
    purged: Integers


def cut_periods(dates: WindowDates, cuts: tuple[Any, Any], n_periods: int) -> tuple[PeriodIndices, ...]:
    """Divide the test windows into consecutive periods, and choose training and validation windows before each period.

    The periods have about equal numbers of windows. All windows of a date (for intraday bars, of a session day) belong to one
    period. The first period has the training and validation windows of the split. For each later period, the last windows
    before the period are its validation windows, and all earlier windows are training windows. The number of validation
    windows, counted before purging, is that of the split. The windows are purged as in :func:`.assign`. No embargo is needed,
    because training windows come before validation and test windows.

    Args:
        dates: dates of all windows.
        cuts: first decision date of the validation split and of the test split.
        n_periods: number of periods, at least 1.

    Raises:
        DataError: a period has fewer than :data:`MIN_DATES` dates.
    """
    starts = period_starts(dates.decided[dates.decided >= cuts[1]], n_periods)
    ascending = np.sort(dates.decided)
    n_validation = int(np.searchsorted(ascending, cuts[1]) - np.searchsorted(ascending, cuts[0]))
    periods = []
    for first, after in pairwise([*starts, None]):
        before = int(np.searchsorted(ascending, first))
        split = assign(dates.decided, dates.reach, (ascending[before - n_validation], first), furthest=dates.furthest)
        tested = split == TEST if after is None else (split == TEST) & (dates.decided < after)
        parts = (split == TRAIN, split == VALIDATION, tested, split == PURGED)
        periods.append(PeriodIndices(*(np.flatnonzero(part) for part in parts)))
    return tuple(periods)


def period_starts(
    tested: Dates,
    n_periods: int,
    *,
    setting: str = "evaluation.test_periods",
    cure: str = "more bars, or a larger test share in data.split",
) -> list[Any]:
    """Return the first date of each period.

    Period k of n periods begins at the first day before which there are at least the share (k − 1) / n of the test windows.

    Args:
        tested: (windows,) decision dates of the windows of all periods, at least one.
        n_periods: number of periods, at least 1.
        setting: setting that the error names.
        cure: what the error advises beside fewer periods.

    Raises:
        DataError: a period has fewer than :data:`MIN_DATES` dates.
    """
    days = session_days(tested)
    if days is None:
        days = np.unique(tested, return_inverse=True)[1]
    counts = np.bincount(days)

    def first_days(number: int) -> NDArray[np.int64]:
        wanted = np.arange(number) * len(tested) / number
        return np.searchsorted(np.cumsum(counts) - counts, wanted - 1e-9 * len(tested)).astype(np.int64)

    def shortest(number: int) -> int:
        return int(np.diff(first_days(number), append=len(counts)).min())

    if n_periods > 1 and shortest(n_periods) < MIN_DATES:
        possible = next((number for number in range(n_periods - 1, 1, -1) if shortest(number) >= MIN_DATES), 1)
        text = (
            f"{setting}={n_periods}: a period would have {shortest(n_periods)} of {len(counts)} dates, but each"
            f" needs {MIN_DATES}; take at most {possible}, {cure}"
        )
        raise DataError(text, field=setting, code="period-too-short")
    return [tested[days == day].min() for day in first_days(n_periods)]


@dataclass(frozen=True, eq=False)
class PeriodTable:
    """Unscaled windows of all splits. From these, the windows of each period are scaled with the period's own scaler.

    Attributes:
        table: unscaled rows and labelled windows.
        lookback: number of bars in a window.
        tested: (test windows,) ascending positions of the test windows in the table.
        periods: positions of the windows of each period.
    """

    table: WindowTable
    lookback: int
    tested: Integers
    periods: Sequence[PeriodIndices]

    def scaler(self, number: int) -> Scaler:
        """Return the scaler that is fitted on the training rows of a period. Periods are counted from 1."""
        train = self.periods[number - 1].train
        return Scaler.fit(self.table.features, self.table.covered(self.table.starts[train], self.lookback))

    def value_scaler(self, number: int) -> Scaler:
        """Return a scaler with the mean and the standard deviation of the training values of a period."""
        return Scaler.fit(self.table.values[self.periods[number - 1].train, None])

    def windows(self, number: int, scaler: Scaler, *, with_purged: bool = False) -> tuple[Windows, Windows, Windows]:
        """Return the training, validation and test windows of a period.

        The windows are scaled by ``scaler`` and refer to one series.

        Args:
            number: number of the period, from 1.
            scaler: scaler of the series.
            with_purged: True if the purged windows are to be added before the test windows.
        """
        period, features = self.periods[number - 1], scaler.transform_to_float32(self.table.features)
        windows = self.table.windows(features, self.table.starts, self.lookback)
        test = np.concatenate([period.purged, period.test]) if with_purged else period.test
        return windows.subset(period.train), windows.subset(period.validation), windows.subset(test)

    @property
    def growth(self) -> tuple[float, ...]:
        """Number of training windows of each period, divided by the number of training windows of the first period."""
        return tuple(len(each.train) / len(self.periods[0].train) for each in self.periods)

    def positions(self, number: int) -> Integers:
        """Return the positions of a period's windows among the test windows, (windows of the period,)."""
        return np.searchsorted(self.tested, self.periods[number - 1].test).astype(np.int64)


def period_table(table: WindowTable, cuts: tuple[Any, Any], lookback: int, n_periods: int) -> PeriodTable | None:
    """Return the periods of the test windows of ``table``, or None if there is only one period.

    Args:
        table: unscaled windows.
        cuts: first decision date of the validation split and of the test split.
        lookback: number of bars in a window.
        n_periods: number of periods.

    Raises:
        DataError: a period has too few dates.
    """
    if n_periods == 1:
        return None
    dates = WindowDates(table.dates, table.reach, table.embargo, table.furthest)
    return PeriodTable(table, lookback, np.flatnonzero(table.dates >= cuts[1]), cut_periods(dates, cuts, n_periods))
