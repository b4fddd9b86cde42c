"""Price bars of one symbol, normalised and checked: what every source returns."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dates import counted, parse_dates
from cnn_lstm_hyperopt.exceptions import DataError

PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")
DATE_NAMES = ("date", "datetime", "timestamp")
_ADJUSTED_NAMES = ("adjclose", "adjustedclose")  # letters only: "Adj. Close**" is meant, too
_FIX = "correct or remove these rows"


@dataclass(frozen=True, eq=False)
class Bars:
    """Adjusted bars of one symbol.

    Attributes:
        symbol: its name, as the source spells it.
        frame: float64 columns open, high, low, close, volume; index ``date``: naive nanosecond stamps,
            strictly ascending.
        adjustment: a sentence that says what was adjusted and how.
    """

    symbol: str
    frame: pd.DataFrame
    adjustment: str

    @cached_property
    def sha256(self) -> str:
        """Hash of the stamps (int64 nanoseconds) and the values (float64, bar by bar), little-endian."""
        stamps = pd.DatetimeIndex(self.frame.index).as_unit("ns").asi8.astype("<i8")
        values = np.ascontiguousarray(self.frame[list(COLUMNS)].to_numpy(), dtype="<f8")
        return hashlib.sha256(stamps.tobytes() + values.tobytes()).hexdigest()

    @property
    def index(self) -> pd.DatetimeIndex:
        """Dates of the bars."""
        return pd.DatetimeIndex(self.frame.index)


def normalise_bars(symbol: str, raw: pd.DataFrame, where: str) -> Bars:
    """People's table of bars to :class:`Bars`.

    Columns may have any case and surrounding spaces, rows any order; an unnamed index column is left out, or
    read as the dates if no column is named date, datetime or timestamp (or the index holds them). With an
    adjusted close, prices are multiplied by adj_close / close and volume is divided by it, so that price ×
    volume stays what was traded.

    Args:
        symbol: name that the bars get.
        raw: the table, e.g. of ``pandas.read_csv``.
        where: the file, for errors.

    Raises:
        DataError: a column is missing or twice there, a date can't be read or occurs twice, a number is text,
            missing, infinite or negative, a price is 0, a high is below its low, or there are no rows.
    """
    place = f"{symbol} ({where})"
    table = _named_columns(raw, place)
    if table.empty:
        raise DataError(f"{place}: has no rows of bars; give a file with at least one bar")
    dates = parse_dates(table["date"], place)
    names = [*COLUMNS, "adj_close"] if "adj_close" in table else list(COLUMNS)
    numbers = {name: _numbers(table[name], name, dates, place) for name in names}
    for name in names:
        if name == "volume":
            _refuse(numbers[name] < 0, f"{name} must be 0 or more", numbers[name], dates, place)
        else:
            _refuse(numbers[name] <= 0, f"{name} must be above 0", numbers[name], dates, place)
    _refuse(numbers["high"] < numbers["low"], "high must not be below low", numbers["high"], dates, place)
    _refuse(dates.duplicated(), "date must occur once", dates.astype(str).to_numpy(), dates, place)
    adjustment = "none: prices and volume as in the file, which has no adjusted close"
    if "adj_close" in numbers:
        factor = numbers["adj_close"] / numbers["close"]
        # The close is multiplied too, not replaced: one factor keeps the order of the four prices exactly,
        # as rounding is monotone.
        for name in PRICES:
            numbers[name] = numbers[name] * factor
        numbers["volume"] = numbers["volume"] / factor
        adjustment = "splits and dividends: prices × adj_close / close, volume ÷ (adj_close / close)"
    frame = pd.DataFrame({name: numbers[name] for name in COLUMNS}, index=dates.rename("date"))
    return Bars(symbol, frame.sort_index(), adjustment)


def _named_columns(raw: pd.DataFrame, place: str) -> pd.DataFrame:
    """The columns that are used, by their standard names, ``date`` among them."""
    table = raw
    index_names = {str(name).strip().lower() for name in raw.index.names if name is not None}
    if isinstance(raw.index, pd.DatetimeIndex) or index_names & set(DATE_NAMES):
        index = raw.index.rename("date") if isinstance(raw.index, pd.DatetimeIndex) else raw.index
        table = raw.set_axis(index, axis=0).reset_index()
    keys = ["_".join(str(name).strip().lower().split()) for name in table.columns]
    keys = ["adj_close" if re.sub("[^a-z]", "", key) in _ADJUSTED_NAMES else key for key in keys]
    date_keys = [key for key in keys if key in DATE_NAMES]
    unnamed = [key for key in keys if key == "" or key.startswith("unnamed:")]
    if not date_keys and unnamed and not pd.api.types.is_numeric_dtype(table.iloc[:, keys.index(unnamed[0])]):
        date_keys = [unnamed[0]]
    found = f"it has: {', '.join(str(name).strip() for name in table.columns)}"
    missing = [name for name in COLUMNS if name not in keys] + ([] if date_keys else ["date (or datetime, timestamp)"])
    if missing:
        raise DataError(f"{place}: misses the column {', '.join(missing)} ({found}); name the columns so")
    wanted = [*date_keys, *(key for key in keys if key in (*COLUMNS, "adj_close"))]
    if len(date_keys) > 1 or len(set(wanted)) < len(wanted):
        twice = date_keys if len(date_keys) > 1 else sorted({key for key in wanted if wanted.count(key) > 1})
        raise DataError(f"{place}: columns {', '.join(twice)} stand for the same thing; keep one of them ({found})")
    columns = {("date" if key in date_keys else key): table.iloc[:, keys.index(key)] for key in wanted}
    return pd.DataFrame(columns).reset_index(drop=True)


def _numbers(column: pd.Series, name: str, dates: pd.DatetimeIndex, place: str) -> NDArray[np.float64]:
    missing = column.isna().to_numpy()
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    shown = column.to_numpy(object)
    _refuse(missing, f"{name} must be a number in every row", shown, dates, place)
    _refuse(np.isnan(numbers), f"{name} must hold numbers, not text", shown, dates, place)
    _refuse(np.isinf(numbers), f"{name} must be finite", shown, dates, place)
    return numbers


def _refuse(bad: NDArray[np.bool_], rule: str, shown: NDArray[np.generic], dates: pd.DatetimeIndex, place: str) -> None:
    """Raises the one-line error of ``rule`` if any row is bad."""
    rows = np.flatnonzero(bad)
    if len(rows):
        first = int(rows[0])
        value = shown[first]
        text = f"{value:g}" if isinstance(value, float) else repr(str(value))
        raise DataError(
            f"{place}: {rule}, but row {first + 1} ({date_text(dates[first])}) has {text}"
            f" ({counted(len(rows))}); {_FIX}"
        )


def date_text(stamp: pd.Timestamp | np.datetime64) -> str:
    """ISO date of a bar, with its time if it has one."""
    moment = pd.Timestamp(stamp)
    return moment.date().isoformat() if moment == moment.normalize() else moment.isoformat(sep=" ")
