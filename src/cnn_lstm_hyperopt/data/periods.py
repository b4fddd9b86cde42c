"""Periods of the walk-forward test: cut the test dates, and move training and validation forward before each period.

Walk-forward evaluation (Pardo 1992; Hyndman & Athanasopoulos 2021, ch. 5.10, with refits at intervals): a model predicts
a period after it was trained on all windows whose labels are known before this period.
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
"""Minimum number of dates of a period (session days of intraday bars): one month of daily bars."""


@dataclass(frozen=True, eq=False)
class PeriodIndices:
    """Positions of the windows of one period, ascending.

    Attributes:
        train, validation: windows before the period.
        test: windows that are decided in the period.
        purged: windows that are decided before the period and are neither for training nor for validation.
    """

    train: Integers
    validation: Integers
    test: Integers
    purged: Integers


def cut_periods(dates: WindowDates, cuts: tuple[Any, Any], n_periods: int) -> tuple[PeriodIndices, ...]:
    """Cut the test windows into consecutive periods, each with the training and validation windows before it.

    The periods have about equal numbers of windows. A date, or a session day of intraday bars, belongs to one period. The
    first period has the training and validation windows of the split. Before each later period, both move forward: the
    windows before the period are cut where as many windows as in the split's validation are left, counted before purging.
    The windows are purged as in :func:`.assign`. No embargo is needed, because training ends before validation and period.

    Args:
        dates: dates of all windows.
        cuts: first dates of validation and of test.
        n_periods: number of periods, ≥ 1.

    Raises:
        DataError: a period has fewer than :data:`MIN_DATES` dates.
    """
    starts = _starts(dates.decided[dates.decided >= cuts[1]], n_periods)
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


def _starts(tested: Dates, n_periods: int) -> list[Any]:
    """Return the first date of each period; a period begins at the first day with its share of the windows before it."""
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
            f"evaluation.test_periods={n_periods}: a period would have {shortest(n_periods)} of {len(counts)} dates, but each"
            f" needs {MIN_DATES}; take at most {possible}, more bars, or a larger test share in data.split"
        )
        raise DataError(text, field="evaluation.test_periods", code="period-too-short")
    return [tested[days == day].min() for day in first_days(n_periods)]


@dataclass(frozen=True, eq=False)
class PeriodTable:
    """Unscaled windows of all splits, from which the windows of each period are scaled anew.

    Attributes:
        table: unscaled rows and labelled windows.
        lookback: number of bars in a window.
        tested: (test windows,) positions of the test windows in the table, ascending.
        periods: windows of each period.
    """

    table: WindowTable
    lookback: int
    tested: Integers
    periods: Sequence[PeriodIndices]

    def scaler(self, number: int) -> Scaler:
        """Return the scaler of the training rows of a period, counted from 1."""
        train = self.periods[number - 1].train
        return Scaler.fit(self.table.features, self.table.covered(self.table.starts[train], self.lookback))

    def value_scaler(self, number: int) -> Scaler:
        """Return mean and deviation of the training values of a period, as a scaler of one feature."""
        return Scaler.fit(self.table.values[self.periods[number - 1].train, None])

    def windows(self, number: int, scaler: Scaler, *, with_purged: bool = False) -> tuple[Windows, Windows, Windows]:
        """Return training, validation and test windows of a period over one series, scaled by ``scaler``.

        Args:
            number: number of the period, from 1.
            scaler: scaler of the series.
            with_purged: whether the purged windows come before the test windows.
        """
        period, features = self.periods[number - 1], scaler.transform_to_float32(self.table.features)
        windows = self.table.windows(features, self.table.starts, self.lookback)
        test = np.concatenate([period.purged, period.test]) if with_purged else period.test
        return windows.subset(period.train), windows.subset(period.validation), windows.subset(test)

    @property
    def growth(self) -> tuple[float, ...]:
        """Number of training windows of each period, as a multiple of the first period's."""
        return tuple(len(each.train) / len(self.periods[0].train) for each in self.periods)

    def positions(self, number: int) -> Integers:
        """Return the positions of a period's windows among the test windows, (windows of the period,)."""
        return np.searchsorted(self.tested, self.periods[number - 1].test).astype(np.int64)


def period_table(table: WindowTable, cuts: tuple[Any, Any], lookback: int, n_periods: int) -> PeriodTable | None:
    """Return the periods of the test windows of ``table``; None if there is one period.

    Args:
        table: unscaled windows.
        cuts: first dates of validation and of test.
        lookback: number of bars in a window.
        n_periods: number of periods.

    Raises:
        DataError: a period has too few dates.
    """
    if n_periods == 1:
        return None
    dates = WindowDates(table.dates, table.reach, table.embargo, table.furthest)
    return PeriodTable(table, lookback, np.flatnonzero(table.dates >= cuts[1]), cut_periods(dates, cuts, n_periods))
