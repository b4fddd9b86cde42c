"""Rules for valid bars. The setting ``on_bad_bars`` decides whether invalid rows are errors, dropped or kept."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.problems import FIX, Findings, shown_text
from cnn_lstm_hyperopt.data.tables.columns import DATE_NAMES, LARGEST, PRICES
from cnn_lstm_hyperopt.data.tables.dates import CURE as DATE_CURE
from cnn_lstm_hyperopt.data.tables.dates import DateColumn, read_dates
from cnn_lstm_hyperopt.data.tables.numbers import CURE as NUMBER_CURE
from cnn_lstm_hyperopt.data.tables.numbers import read_numbers

SMALLEST = 1 / LARGEST
"""Smallest valid price. Ratios of valid prices, and products of such ratios, are finite."""
ROUNDING = 1e-5
"""Share of the price by which open and close may exceed the high or fall below the low, because of rounding."""
_NO_VOLUME = "write 0 where no volume is known"
_OWN_TEXT = "leave it out of data.feature_columns, or write numbers instead"
_FUTURE = pd.Timedelta(days=1)
"""Time that a bar may be in the future, because the date may be one day ahead in time zones east of UTC."""

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def checked_dates(column: pd.Series, found: Findings) -> DateColumn:
    """Return the dates of a table, (rows,), and report rows without a readable date."""
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
            droppable=not european,  # day and month of the readable dates are then swapped
            cure=cure,
        )
    if dates.offsets is not None and dates.offsets[1] - dates.offsets[0] > 120:
        low, high = (f"{minutes // 60:+03d}:{minutes % 60:02d}" for minutes in dates.offsets)
        found.warn(
            "time_zones",
            f"dates carry time zones from {low} to {high}",
            "correct if the exchange moved; otherwise these are bars of several markets: give each its own file",
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


def check_stamps(dates: DateColumn, column: pd.Series, found: Findings) -> None:
    """Report rows whose dates are invalid."""

    def shown(row: int) -> str:
        return shown_text(column.iloc[row])

    found.refuse(
        "time_zone",
        dates.wrong_zone,
        f"date must have a time zone in every row or in none, and most have {'one' if dates.zoned else 'none'}",
        shown,
        dates.index,
        cure="write all dates in the same form",
    )
    ahead = np.asarray(dates.index > pd.Timestamp.now("UTC").tz_localize(None) + _FUTURE)
    found.refuse("future", ahead, "date must not be in the future", shown, dates.index, computable=True)


def checked_numbers(
    table: Mapping[str, pd.Series], columns: Sequence[str], dates: pd.DatetimeIndex, found: Findings
) -> dict[str, Array]:
    """Return the columns of numbers in a table, and report invalid numbers in rows with a date."""
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
                "missing",
                column.missing & known,
                f"{name} must be a number in every row",
                lambda _: "nothing",
                dates,
                cure=_NO_VOLUME if name == "volume" else FIX,
            )
        found.refuse(
            "text",
            column.text & known,
            f"{name} must hold numbers, not text",
            lambda row, name=name: shown_text(table[name].iloc[row]),  # type: ignore[misc]
            dates,
            cure=_OWN_TEXT if name in columns and column.text[known].all() else NUMBER_CURE,
        )
        _refuse_extremes(name, column.values, dates, known, found)
    return {name: column.values for name, column in read.items()}


def _refuse_extremes(name: str, values: Array, dates: pd.DatetimeIndex, known: Mask, found: Findings) -> None:
    infinite = np.isinf(values)
    found.refuse("infinite", infinite & known, f"{name} must be finite", _shown(values), dates)
    large = ~infinite & (np.abs(values) > LARGEST)
    found.refuse("large", large & known, f"{name} must be {LARGEST:g} or less in magnitude", _shown(values), dates)


def _shown(values: Array) -> Callable[[int], str]:
    return lambda row: f"{values[row]:g}"


def check_prices(numbers: Mapping[str, Array], dates: pd.DatetimeIndex, found: Findings) -> None:
    """Report rows with invalid prices or volumes."""
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
            f"{name} must be between low and high",
            lambda row, values=values: f"{values[row]:g}, not in {low[row]:g} to {high[row]:g}",  # type: ignore[misc]
            dates,
            computable=True,
        )


def check_duplicates(numbers: Mapping[str, Array], dates: DateColumn, found: Findings) -> None:
    """Report rows whose dates occur more than once.

    If bars with the same date are identical, all of them except the first are invalid. If bars with the same date differ, all
    of them are invalid, because it is unknown which bar is right.
    """
    stamps = dates.index.asi8
    if np.all(stamps[1:] > stamps[:-1]) and not dates.index.hasnans:
        return
    sound = ~np.asarray(dates.index.isna())
    if found.dropped is not None:
        sound &= ~found.dropped
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

    cure = "keep one row for each date"
    if not dates.daily:
        cure += " (if this is the repeated hour at the end of summer time, write dates in UTC)"
    for rule, mask, finding in (
        ("copy", copies, "date must occur once, also with the same bar"),
        ("duplicate", differ, "date must occur once, and these bars differ"),
    ):
        bad = np.zeros(len(stamps), dtype=bool)
        bad[rows[mask]] = True
        found.refuse(rule, bad, finding, shown, dates.index, cure=cure)
