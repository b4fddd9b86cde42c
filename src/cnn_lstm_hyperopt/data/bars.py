"""Price bars of one symbol, normalised and checked: what every source returns."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.data.tables.columns import COLUMNS, DATE_NAMES, LARGEST, PRICES, named_columns
from cnn_lstm_hyperopt.data.tables.dates import CURE as DATE_CURE
from cnn_lstm_hyperopt.data.tables.dates import DateColumn, date_text, read_dates
from cnn_lstm_hyperopt.data.tables.numbers import CURE as NUMBER_CURE
from cnn_lstm_hyperopt.data.tables.numbers import read_numbers
from cnn_lstm_hyperopt.data.problems import ROUNDING, Findings, Problem, counted, shown_text
from cnn_lstm_hyperopt.data.validation.plausibility import look_for_splits, look_over
from cnn_lstm_hyperopt.utils.text import counted

__all__ = ["COLUMNS", "PRICES", "Bars", "WholeRange", "date_text", "normalise_bars"]

SMALLEST = 1 / LARGEST
"""Of a price: ratios of prices and their products are finite."""
_HASHED = 100_000
"""Bars that are hashed at a time."""
_FUTURE = pd.Timedelta(days=1)
"""Ahead of UTC it may be tomorrow already."""

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class WholeRange:
    """Dates of a table of which only a part was looked at.

    Attributes:
        first, last: of all rows.
        before: the last one before that part; None: there is none.
        after: the first one after it; None: there is none.
    """

    first: pd.Timestamp
    last: pd.Timestamp
    before: pd.Timestamp | None
    after: pd.Timestamp | None


@dataclass(frozen=True, eq=False)
class Bars:
    """Adjusted bars of one symbol.

    Attributes:
        symbol: its name, as the source spells it.
        frame: float64 columns open, high, low, close, volume, then the user's own; index ``date``: naive nanosecond
            stamps, strictly ascending.
        adjustment: a sentence that says what was adjusted and how.
        problems: what was found in them and did not stop us.
        whole: what the source has, where only a part of it was looked at; None: these bars are all.
    """

    symbol: str
    frame: pd.DataFrame
    adjustment: str
    problems: tuple[Problem, ...] = ()
    whole: WholeRange | None = None

    @cached_property
    def sha256(self) -> str:
        """Hash of the stamps (int64 nanoseconds) and the values (float64, bar by bar), little-endian."""
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
    adjusted: str | None = None,
    problems: Sequence[Problem] = (),
    start: date | None = None,
    end: date | None = None,
    can_drop: bool = True,
) -> Bars:
    """People's table of bars to :class:`Bars`.

    Columns may have any case and surrounding spaces, rows any order; an unnamed index column is left out, or
    read as the dates if no column is named date, datetime or timestamp (or the index holds them). With an
    adjusted close, prices are multiplied by adj_close / close and volume is divided by it, so that price ×
    volume stays what was traded.

    Args:
        symbol: name that the bars get.
        raw: the table, e.g. of ``pandas.read_csv``.
        where: the file, for errors.
        on_bad_bars: what happens to rows that can't be true; ``docs/data.md`` has the rules.
        columns: further columns that are read, as the settings spell them; NaN where nothing stands.
        adjusted: what the source has adjusted already; None: nothing is known.
        problems: what was found while the file was read.
        start, end: first and last date wanted; None: no limit. Of other rows the date is read and nothing else is checked; a
            table without a row between them gives no bars.
        can_drop: whether errors advise to let bad rows be dropped.

    Raises:
        BadBarsError: all that is wrong with the table, a line each: a column is missing or twice there, rows hold what
            can't be true (unless they are dropped or kept), or there are no rows.
    """
    found = Findings(symbol, where, on_bad_bars, list(problems), can_drop=can_drop)
    table = named_columns(raw, columns, found)
    if not len(raw):
        raise found.fail("no_rows", "has no rows of bars", "give a file with at least one bar")
    dates = _read_dates(table["date"], found)
    dates, table, whole = _within(dates, table, start, end, found)
    if whole is not None and not dates.index.notna().any():
        found.raise_errors()
        return Bars(symbol, _no_bars(columns), "", tuple(found.problems), whole)
    _check_dates(dates, table.pop("date"), found)
    numbers = _read_numbers(table, columns, dates.index, found)
    del table
    _check_prices(numbers, dates.index, found)
    _check_duplicates(numbers, dates, found)
    found.raise_errors()
    index, values = _in_order(numbers, dates.index, found)
    adjustment = adjusted or _adjust(values)
    frame = pd.DataFrame({name: values[name] for name in (*COLUMNS, *columns)}, index=index, copy=False)
    if dates.daily and adjusted is None and "adj_close" not in numbers:
        found.warn(
            "unadjusted",
            "prices are taken as they are in the file; if they are not adjusted for splits and dividends, some returns are wrong",
            "give adjusted prices, or a column adj_close",
        )
    look_for_splits(found, frame)
    look_over(found, frame, daily=dates.daily)
    _look_at_own_columns(frame, columns, found)
    return Bars(symbol, frame, adjustment, tuple(found.problems), whole)


def _read_dates(column: pd.Series, found: Findings) -> DateColumn:
    dates = read_dates(column)
    unreadable = np.asarray(dates.index.isna())

    def shown(row: int) -> str:
        return shown_text(column.iloc[row])

    if unreadable.any():
        text = column[unreadable].astype("string").str.strip().str.lower()
        header = unreadable.copy()
        header[unreadable] = text.isin([*DATE_NAMES, "time"]).to_numpy(bool)
        found.refuse("header_again", header, "the header must occur once", shown, None)
        serial = text.str.fullmatch(r"[2-6]\d{4}(\.\d+)?").fillna(value=False)
        cure = (
            "these look like Excel's day numbers: format the column as a date, export it again"
            if serial.any()
            else DATE_CURE
        )
        european = text.str.fullmatch(r"(1[3-9]|2\d|3[01])/(0?[1-9]|1[0-2])/\d{4}.*").fillna(value=False).any()
        found.refuse(
            "date",
            unreadable & ~header,
            "date must be a date in every row",
            shown,
            None,
            droppable=not european,  # the other dates were read with day and month in the wrong places
            cure=cure,
        )
    if dates.offsets is not None and dates.offsets[1] - dates.offsets[0] > 120:
        low, high = (f"{minutes // 60:+03d}:{minutes % 60:02d}" for minutes in dates.offsets)
        found.warn(
            "time_zones",
            f"dates carry time zones from {low} to {high}",
            "right if the exchange moved; otherwise these are bars of several markets: give each a file",
            value=f"{low} to {high}",
        )
    if dates.order_unclear:
        found.warn(
            "date_order",
            f"dates like {shown(0)} were read as month/day/year, and no day above 12 proves it",
            "if they are day/month/year, write them as 2015-04-01",
            value=shown(0),
        )
    return dates


def _within(
    dates: DateColumn, table: dict[str, pd.Series], start: date | None, end: date | None, found: Findings
) -> tuple[DateColumn, dict[str, pd.Series], WholeRange | None]:
    """The rows from ``start`` to ``end``, and those whose date can't be read; and where there are others, what all cover."""
    index = dates.index
    early = np.zeros(len(index), dtype=bool) if start is None else np.asarray(index < pd.Timestamp(start))
    late = np.zeros(len(index), dtype=bool)
    if end is not None:
        late = np.asarray(index >= pd.Timestamp(end) + pd.Timedelta(days=1))
    outside = early | late
    if not outside.any():
        return dates, table, None
    rows = np.flatnonzero(~outside)
    found.look_only_at(rows)
    whole = WholeRange(
        index.min(),
        index.max(),
        before=index[early].max() if early.any() else None,
        after=index[late].min() if late.any() else None,
    )
    inside = replace(dates, index=index[rows], odd_zone=dates.odd_zone[rows])
    return inside, {name: column.iloc[rows].reset_index(drop=True) for name, column in table.items()}, whole


def _no_bars(columns: Sequence[str]) -> pd.DataFrame:
    nothing = pd.DatetimeIndex(np.empty(0, "datetime64[ns]"), name="date")
    return pd.DataFrame({name: np.empty(0) for name in (*COLUMNS, *columns)}, index=nothing)


def _check_dates(dates: DateColumn, column: pd.Series, found: Findings) -> None:
    """What dates can't be, once they are read."""

    def shown(row: int) -> str:
        return shown_text(column.iloc[row])

    found.refuse(
        "time_zone",
        dates.odd_zone,
        f"date must have a time zone in every row or in none, and most have {'one' if dates.zoned else 'none'}",
        shown,
        dates.index,
        cure="write all dates in the same way",
    )
    ahead = np.asarray(dates.index > pd.Timestamp.now("UTC").tz_localize(None) + _FUTURE)
    found.refuse("future", ahead, "date must not lie in the future", shown, dates.index, computable=True)


def _read_numbers(
    table: Mapping[str, pd.Series], columns: Sequence[str], dates: pd.DatetimeIndex, found: Findings
) -> dict[str, Array]:
    """The number columns; rows whose date is not known are not looked at."""
    known = ~np.asarray(dates.isna())
    read, commas = read_numbers(table)
    if commas is not None:
        found.warn(
            "commas",
            f"commas in numbers were read as {'decimal commas' if commas == 'decimal' else 'thousands separators'}",
            "write 1234.5 to be sure",
        )
    for name, column in read.items():
        if name not in columns:
            found.refuse(
                "missing", column.missing & known, f"{name} must be a number in every row", lambda _: "nothing", dates
            )
        found.refuse(
            "text",
            column.text & known,
            f"{name} must hold numbers, not text",
            lambda row, name=name: shown_text(table[name].iloc[row]),  # type: ignore[misc]
            dates,
            cure=NUMBER_CURE,
        )
        _refuse_extremes(name, column.values, dates, known, found)
    return {name: column.values for name, column in read.items()}


def _refuse_extremes(name: str, values: Array, dates: pd.DatetimeIndex, known: Mask, found: Findings) -> None:
    infinite = np.isinf(values)
    found.refuse("infinite", infinite & known, f"{name} must be finite", _shown(values), dates)
    large = ~infinite & (np.abs(values) > LARGEST)
    found.refuse("large", large & known, f"{name} must not be beyond {LARGEST:g}", _shown(values), dates)


def _shown(values: Array) -> Callable[[int], str]:
    return lambda row: f"{values[row]:g}"


def _check_prices(numbers: Mapping[str, Array], dates: pd.DatetimeIndex, found: Findings) -> None:
    """What prices and volume can't be."""
    for name in (*PRICES, "adj_close"):
        if name in numbers:
            values = numbers[name]
            found.refuse("price", values <= 0, f"{name} must be above 0", _shown(values), dates)
            small = (values > 0) & (values < SMALLEST)
            found.refuse("small", small, f"{name} must be {SMALLEST:g} or more", _shown(values), dates)
    volume = numbers["volume"]
    found.refuse("negative_volume", volume < 0, "volume must be 0 or more", _shown(volume), dates)
    high, low = numbers["high"], numbers["low"]
    sound = np.ones(len(high), dtype=bool) if found.broken is None else ~found.broken
    found.refuse(
        "high_below_low", sound & (high < low), "high must not be below low", _shown(high), dates, computable=True
    )
    sound &= high >= low
    for name in ("open", "close"):
        values = numbers[name]
        outside = sound & ((values > high * (1 + ROUNDING)) | (values < low * (1 - ROUNDING)))
        found.refuse(
            f"{name}_outside",
            outside,
            f"{name} must lie between low and high",
            lambda row, values=values: f"{values[row]:g}, not in {low[row]:g} to {high[row]:g}",  # type: ignore[misc]
            dates,
            computable=True,
        )


def _check_duplicates(numbers: Mapping[str, Array], dates: DateColumn, found: Findings) -> None:
    """Dates that occur twice.

    Of copies of one bar all but the first are left out, of bars that differ all: nobody knows which is true.
    """
    stamps = dates.index.asi8
    if np.all(stamps[1:] > stamps[:-1]) and not dates.index.hasnans:
        return
    sound = ~np.asarray(dates.index.isna())
    if found.gone is not None:
        sound &= ~found.gone
    places = np.flatnonzero(sound)
    rows = places[dates.index[places].duplicated(keep=False)]
    if not len(rows):
        return
    group = pd.DataFrame({"date": stamps[rows], **{name: values[rows] for name, values in numbers.items()}})
    copies = group.duplicated().to_numpy(bool)
    kept = group["date"].where(~copies)
    differ = (kept.duplicated(keep=False) & kept.notna()).to_numpy(bool)

    def shown(row: int) -> str:
        same = rows[stamps[rows] == stamps[row]]
        return f"the same date as row {found.row_number(int(same[same != row][0]))}"

    cure = "keep one row of each"
    if not dates.daily:
        cure += " (if this is the hour that comes twice when summer time ends, write dates in UTC)"
    for rule, mask, finding in (
        ("copy", copies, "date must occur once, also with the same bar"),
        ("duplicate", differ, "date must occur once, and these bars differ"),
    ):
        bad = np.zeros(len(stamps), dtype=bool)
        bad[rows[mask]] = True
        found.refuse(rule, bad, finding, shown, dates.index, cure=cure)


def _in_order(
    numbers: Mapping[str, Array], dates: pd.DatetimeIndex, found: Findings
) -> tuple[pd.DatetimeIndex, dict[str, Array]]:
    """Dates and numbers of the rows that stay, by date."""
    rows: NDArray[np.int64] | None = None if found.gone is None else np.flatnonzero(~found.gone)
    if rows is not None and not len(rows):
        why = "; ".join(problem.finding for problem in found.problems if problem.cure.startswith("left out"))
        raise found.fail(
            "no_rows", f"on_bad_bars: drop leaves no row ({why})", "give a file with at least one sound bar"
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
    """Multiplies prices and divides volume where there is an adjusted close; what was done, in a sentence.

    The close is multiplied too, not replaced: one factor keeps the order of the four prices exactly, as rounding is monotone.
    """
    if "adj_close" not in values:
        return "none: prices and volume as in the file, which has no adjusted close"
    factor = values["adj_close"] / values["close"]
    for name in PRICES:
        values[name] = values[name] * factor
    values["volume"] = values["volume"] / factor
    return "splits and dividends: prices × adj_close / close, volume ÷ (adj_close / close)"


def _look_at_own_columns(frame: pd.DataFrame, columns: Sequence[str], found: Findings) -> None:
    for name in columns:
        empty = np.flatnonzero(np.isnan(frame[name].to_numpy()))
        if len(empty) == len(frame):
            raise found.fail("feature_columns", f"the column {name} of data.feature_columns holds no number", "fill it")
        if len(empty):
            first = date_text(frame.index[empty[0]])
            found.warn(
                "own_missing",
                f"{name} is missing in {counted(len(empty), 'bar')}, the first {first}",
                "windows with such a bar are left out",
                count=len(empty),
                first=first,
            )
