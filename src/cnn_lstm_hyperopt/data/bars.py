"""Price bars of one symbol, normalised and checked. Every source returns its bars as this type."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.data.problems import Findings, Problem, date_text
from cnn_lstm_hyperopt.data.tables.columns import COLUMNS, PRICES, TIMES, Table, frame_columns
from cnn_lstm_hyperopt.data.tables.dates import DateColumn, with_times
from cnn_lstm_hyperopt.data.validation import rules
from cnn_lstm_hyperopt.data.validation.plausibility import look_for_splits, look_over
from cnn_lstm_hyperopt.utils.text import counted

__all__ = ["COLUMNS", "PRICES", "Bars", "WholeRange", "bars_of", "date_text", "normalise_bars", "outside"]

UNADJUSTED = "unadjusted"
"""Rule of the warning that a file has no adjusted close, so its prices may be unadjusted."""
_HASHED = 100_000
"""Number of bars that are hashed in one step."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WholeRange:
    """Date range of a whole table of which only a part was read.

    Attributes:
        first, last: first and last date of all rows.
        before: last date in the table before the part that was read; None: the part begins with the first row.
        after: first date in the table after the part that was read; None: the part ends with the last row.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    before: pd.Timestamp | None
    after: pd.Timestamp | None


@dataclass(frozen=True, eq=False)
class Bars:
    """Adjusted bars of one symbol.

    Attributes:
        symbol: name of the symbol, as the source spells it.
        frame: float64 columns open, high, low, close, volume, then the user's columns; index ``date``: naive nanosecond
            stamps, strictly ascending.
        adjustment: sentence that says how the prices were adjusted (for splits and dividends).
        problems: warnings about the bars.
        whole: date range of all bars of the source; None if all bars were read.
        utc: True if the times of day of intraday bars are known to be in UTC.
    """

    symbol: str
    frame: pd.DataFrame
    adjustment: str
    problems: tuple[Problem, ...] = ()
    whole: WholeRange | None = None
    utc: bool = False

    @cached_property
    def sha256(self) -> str:
        """SHA-256 hash of the dates (int64 nanoseconds) and the values (float64, bar by bar), both little-endian."""
        digest = hashlib.sha256(np.ascontiguousarray(self.index.as_unit("ns").asi8, dtype="<i8").data)
        for start in range(0, len(self.frame), _HASHED):
            part = self.frame.iloc[start : start + _HASHED].to_numpy()
            digest.update(np.ascontiguousarray(part, dtype="<f8").data)
        return digest.hexdigest()

    @property
    def index(self) -> pd.DatetimeIndex:
        """Dates of the bars."""
        return pd.DatetimeIndex(self.frame.index)


def normalise_bars(
    symbol: str,
    raw: pd.DataFrame,
    where: str,
    *,
    on_bad_bars: BadBars = "error",
    columns: Sequence[str] = (),
    can_drop: bool = True,
) -> Bars:
    """Convert a frame of bars, such as the result of ``pandas.read_csv``, to :class:`Bars`.

    Names of columns may be in any case and have surrounding spaces. Rows may be in any order. Dates are read from a column
    named date, datetime or timestamp, from an index of dates, or from an unnamed column.

    Args:
        symbol: name of the bars.
        raw: the table with the bars.
        where: name of the file, for the text of errors.
        on_bad_bars: whether invalid rows are an error, dropped or kept; see ``docs/explanation/data.md``.
        columns: names of additional columns to read, as in the settings. A missing value becomes NaN.
        can_drop: True if errors are to mention the option to drop invalid rows.

    Raises:
        BadBarsError: in the same cases as :func:`bars_of`; or a column is missing or occurs twice.
    """
    found = Findings(symbol, where, on_bad_bars, can_drop=can_drop)
    return bars_of(symbol, frame_columns(raw, columns, found), found, columns=columns)


def bars_of(
    symbol: str,
    table: Table,
    found: Findings,
    *,
    columns: Sequence[str] = (),
    adjusted: str | None = None,
    start: date | None = None,
    end: date | None = None,
) -> Bars:
    """Convert the columns of a table to :class:`Bars`.

    If the table has an adjusted close, prices are multiplied by adj_close / close, and volumes are divided by the same
    factor. So price × volume stays the same.

    Args:
        symbol: name of the bars.
        table: the columns to use; the mapping is emptied to save memory.
        found: list of findings, to which this function adds new findings.
        columns: names of additional columns to read, as in the settings.
        adjusted: sentence that says how the source adjusted the prices; None: unknown.
        start, end: first and last date to return; None: no limit. For rows outside this range, only the dates are checked. If
            no row is in this range, the result has no bars.

    Raises:
        BadBarsError: the table has no rows, or it has invalid rows that are neither dropped nor kept. The text has a line for
            each error.
    """
    if not len(table["date"]):
        raise found.fail("no_rows", "has no rows of bars", "give a file with at least one bar")
    if TIMES in table:
        table["date"] = with_times(table["date"], table.pop(TIMES))
    dates = rules.checked_dates(table["date"], found)
    dates, whole = _within(dates, table, start, end, found)
    if whole is not None and not dates.index.notna().any():
        found.raise_errors()
        return Bars(symbol, _no_bars(columns), "", tuple(found.problems), whole)
    rules.check_stamps(dates, table.pop("date"), found)
    numbers = rules.checked_numbers(table, columns, dates.index, found)
    table.clear()  # frees the memory of millions of texts
    rules.check_prices(numbers, dates.index, found)
    rules.check_duplicates(numbers, dates, found)
    found.raise_errors()
    index, values = _in_order(numbers, dates.index, found)
    adjustment = adjusted or _adjust(values)
    frame = pd.DataFrame({name: values[name] for name in (*COLUMNS, *columns)}, index=index, copy=False)
    if dates.daily and adjusted is None and "adj_close" not in numbers:
        found.warn(
            UNADJUSTED,
            "prices are used as in the file; if they are not adjusted for splits and dividends, some returns are wrong",
            "give adjusted prices, or a column adj_close",
        )
    look_for_splits(found, frame)
    look_over(found, frame, daily=dates.daily)
    _check_own_columns(frame, columns, found)
    return Bars(symbol, frame, adjustment, tuple(found.problems), whole, dates.utc)


def outside(
    index: pd.DatetimeIndex, start: date | None, end: date | None
) -> tuple[NDArray[np.bool_], WholeRange | None]:
    """Return a mask (rows,) of the dates outside ``start`` to ``end``, and the date range of all rows.

    The range is None if no date is outside.
    """
    early, late = np.zeros((2, len(index)), dtype=bool)
    if start is not None:
        early = np.asarray(index < pd.Timestamp(start))
    if end is not None:
        late = np.asarray(index >= pd.Timestamp(end) + pd.Timedelta(days=1))
    if not (early | late).any():
        return early, None
    before = index[early].max() if early.any() else None
    after = index[late].min() if late.any() else None
    return early | late, WholeRange(index.min(), index.max(), before, after)


def _within(
    dates: DateColumn, table: Table, start: date | None, end: date | None, found: Findings
) -> tuple[DateColumn, WholeRange | None]:
    """Remove rows whose readable date is outside ``start`` to ``end``.

    Return the date range of all rows, or None if no row was removed.
    """
    excluded, whole = outside(dates.index, start, end)
    if whole is None:
        return dates, None
    rows = np.flatnonzero(~excluded)
    found.select(rows)
    for name, column in table.items():
        table[name] = column.iloc[rows].reset_index(drop=True)
    return replace(dates, index=dates.index[rows], wrong_zone=dates.wrong_zone[rows]), whole


def _no_bars(columns: Sequence[str]) -> pd.DataFrame:
    nothing = pd.DatetimeIndex(np.empty(0, "datetime64[ns]"), name="date")
    return pd.DataFrame({name: np.empty(0) for name in (*COLUMNS, *columns)}, index=nothing)


def _in_order(
    numbers: Mapping[str, Array], dates: pd.DatetimeIndex, found: Findings
) -> tuple[pd.DatetimeIndex, dict[str, Array]]:
    """Return the dates and the numbers of the rows that are not dropped, sorted by date."""
    rows: NDArray[np.int64] | None = None if found.dropped is None else np.flatnonzero(~found.dropped)
    if rows is not None and not len(rows):
        why = "; ".join(problem.finding for problem in found.problems if problem.cure.startswith("dropped"))
        raise found.fail(
            "no_rows", f"on_bad_bars: drop leaves no row ({why})", "give a file with at least one valid bar"
        )
    index = dates if rows is None else dates[rows]
    if not index.is_monotonic_increasing:
        back = int(np.count_nonzero(index.asi8[1:] < index.asi8[:-1]))
        found.warn(
            "unsorted",
            "rows run from the newest to the oldest"
            if index.is_monotonic_decreasing
            else f"rows are not in order of date ({counted(back, 'step')} back)",
            "they were sorted",
            count=back,
        )
        order = np.argsort(index.asi8, kind="stable")
        rows = order if rows is None else rows[order]
        index = dates[rows]
    return index.rename("date"), {name: values if rows is None else values[rows] for name, values in numbers.items()}


def _adjust(values: dict[str, Array]) -> str:
    """Adjust prices and volumes if the table has an adjusted close. Return a sentence about the adjustment.

    The close is multiplied by the same factor as the other prices, instead of being replaced by the adjusted close. So
    rounding can't change the order of the four prices.
    """
    if "adj_close" not in values:
        return "none: prices and volume as in the file, which has no adjusted close"
    factor = values["adj_close"] / values["close"]
    for name in PRICES:
        values[name] = values[name] * factor
    values["volume"] = values["volume"] / factor
    return "splits and dividends: prices × adj_close / close, volume ÷ (adj_close / close)"


def _check_own_columns(frame: pd.DataFrame, columns: Sequence[str], found: Findings) -> None:
    for name in columns:
        empty = np.flatnonzero(np.isnan(frame[name].to_numpy()))
        if len(empty) == len(frame):
            raise found.fail(
                "feature_column_empty", f"the column {name} of data.feature_columns holds no number", "fill it"
            )
        if len(empty):
            first = date_text(frame.index[empty[0]])
            found.warn(
                "own_missing",
                f"{name} is missing in {counted(len(empty), 'bar')}, the first {first}",
                "windows with such a bar are left out",
                count=len(empty),
                first=first,
            )
