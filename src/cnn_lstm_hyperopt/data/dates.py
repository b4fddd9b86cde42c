"""Reading the date column of people's files: ISO or US style, zoned or not, epochs, closing times."""

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt.exceptions import DataError

_OFFSET = r"(?<=[\d\s])(Z|UTC|[+-]\d{2}(?::?\d{2})?)$"
_MONTH = r"(?i)(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_US_FORMATS = (
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
)
_CURE = "write dates as 2015-04-01 or 2015-04-01 09:30:00 (4/1/2015 is read as month/day/year)"


def parse_dates(column: pd.Series, where: str) -> pd.DatetimeIndex:
    """Dates of bars as naive nanosecond stamps, in the order of the rows.

    Daily bars (no date occurs twice, or every local time is midnight) get midnight of their local date, so
    that symbols of several files line up: the time of day is a closing time, which early closes and daylight
    saving move about. Other stamps become UTC if they carry a time zone, and stay as they are if they carry
    none.

    Args:
        column: (bars,) strings, datetimes (naive or zoned), or integers (20150401, or epoch seconds or
            milliseconds).
        where: symbol and file, for the error.

    Raises:
        DataError: a date is missing or can't be read, or only some of the stamps carry a time zone.
    """
    wall, utc = _read(column, where)
    # Nanoseconds reach from 1677 to 2262; a year beyond that is a slip, or stands for "no date".
    _refuse_missing(column, pd.Series((wall.year < 1700) | (wall.year > 2200)), where)
    days = wall.normalize()
    if days.is_unique or bool(np.all(wall == days)):
        return days.as_unit("ns")
    return utc.as_unit("ns")


def counted(rows: int) -> str:
    """How many rows have a fault, for its error."""
    return f"{rows} such {'row' if rows == 1 else 'rows'}"


def _read(column: pd.Series, where: str) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """Local times and UTC, both naive; the same where there is no time zone."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        _refuse_missing(column, column.isna(), where)
        zoned = pd.DatetimeIndex(column)
        return zoned.tz_localize(None), zoned.tz_convert("UTC").tz_localize(None)
    if pd.api.types.is_datetime64_any_dtype(column):
        _refuse_missing(column, column.isna(), where)
        return pd.DatetimeIndex(column), pd.DatetimeIndex(column)
    if pd.api.types.is_numeric_dtype(column):
        stamps = _from_integers(column, where)
        return stamps, stamps
    return _from_text(column.astype("string").str.strip(), where)


def _from_text(text: pd.Series, where: str) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    offsets = text.where(text.str.contains("[:T]", na=False)).str.extract(_OFFSET, expand=False)
    zoned = offsets.notna()
    if zoned.any() and not zoned.all():
        row = int(np.flatnonzero(~zoned.to_numpy())[0])
        raise DataError(
            f"{where}: date must have a time zone in every row or in none, but row {row + 1}"
            f" ({text.iloc[row]}) has none ({counted(int((~zoned).sum()))}); write all dates in the same way"
        )
    if not zoned.any():
        stamps = _parse(text, where)
        return stamps, stamps
    wall = _parse(text.str.replace(_OFFSET, "", regex=True).str.strip(), where)
    minutes = offsets.map({offset: _minutes(offset) for offset in offsets.unique()}).to_numpy(np.int64)
    return wall, wall - pd.to_timedelta(minutes, unit="m")


def _minutes(offset: str) -> int:
    """Minutes east of UTC: 330 for +05:30 or +0530, -300 for -05, 0 for Z and UTC."""
    if offset in ("Z", "UTC"):
        return 0
    digits = offset[1:].replace(":", "")
    return (1 if offset[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:] or 0))


def _parse(text: pd.Series, where: str) -> pd.DatetimeIndex:
    """Text without offsets to naive stamps: ISO 8601, then US style, then names of months."""
    stamps = pd.to_datetime(text, format="ISO8601", errors="coerce")
    for pattern in _US_FORMATS:
        missing = stamps.isna()
        if not missing.any():
            break
        stamps = stamps.where(~missing, pd.to_datetime(text, format=pattern, errors="coerce"))
    named = stamps.isna() & text.str.contains(_MONTH, regex=True, na=False)
    if named.any():
        stamps = stamps.where(~named, pd.to_datetime(text.where(named), format="mixed", errors="coerce"))
    _refuse_missing(text, stamps.isna(), where)
    return pd.DatetimeIndex(stamps)


def _from_integers(column: pd.Series, where: str) -> pd.DatetimeIndex:
    numbers = column.to_numpy(np.float64)
    known = np.isfinite(numbers) & (numbers == np.floor(np.nan_to_num(numbers)))
    _refuse_missing(column, pd.Series(~known), where)
    for low, high, unit in ((1e8, 1e11, "s"), (1e11, 1e14, "ms")):
        if bool(np.all((numbers >= low) & (numbers < high))):
            return pd.DatetimeIndex(numbers.astype(np.int64).astype(f"datetime64[{unit}]"))  # epochs are UTC
    text = pd.Series(numbers.astype(np.int64)).astype("string")
    stamps = pd.to_datetime(text, format="%Y%m%d", errors="coerce")
    _refuse_missing(column, stamps.isna(), where)
    return pd.DatetimeIndex(stamps)


def _refuse_missing(column: pd.Series, missing: pd.Series, where: str) -> None:
    if missing.any():
        rows = np.flatnonzero(missing.to_numpy())
        raise DataError(
            f"{where}: date must be a date in every row, but row {rows[0] + 1} has"
            f" {str(column.iloc[int(rows[0])])!r} ({counted(len(rows))}); {_CURE}"
        )
