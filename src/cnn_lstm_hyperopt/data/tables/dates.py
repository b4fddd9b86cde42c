"""Parser of the dates of bars: ISO or US style, with or without time zone, epochs, and closing times."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CURE = "write dates as 2015-04-01 or 2015-04-01 09:30:00; 4/1/2015 is read as month/day/year"

_ZONED = r"^(?P<wall>.*[T:].*[\d\s])(?P<offset>Z|UTC|[+-](?:0\d|1[0-4])(?::?[0-5]\d)?)$"
_DIGITS = r"^(\d{5,18}|[1-8]\d{18})(\.0*)?$"
_DIGIT = r"\d"
_MONTH = r"(?i)(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
_TIME_OF_DAY = r"^\d{1,2}:\d\d(:\d\d(\.\d+)?|(:\d\d)? ?[AaPp][Mm])?$"
_YYYYMMDD, _DOTTED = r"^(\d{4})(\d{2})(\d{2})(\.0*)?$", r"^(\d{4})\.(\d\d?)\.(\d\d?)"
_DAY_FIRST_FORMATS = ("%d.%m.%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M:%S.%f")
_US_FORMATS = (
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
)
_EPOCHS = ((10**8, 10**11, "s"), (10**11, 10**14, "ms"), (10**14, 10**17, "us"), (10**17, 10**19, "ns"))
_PART = 250_000
"""Number of rows of text that are converted to Python objects in one step."""
_DAY = 86_400 * 10**9
_EARLIEST, _LATEST = np.datetime64("1700-01-01"), np.datetime64("2200-01-01")

Stamps = NDArray[np.datetime64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class DateColumn:
    """The dates of a table.

    Attributes:
        index: (rows,) dates in nanoseconds without time zone, in the order of the rows; NaT where a date is unreadable.
        daily: True if each bar spans a day or more. The dates of such bars are at midnight.
        wrong_zone: (rows,) mask of rows that have a time zone while most rows have none, or the reverse.
        zoned: True if most rows have a time zone.
        offsets: smallest and largest offset from UTC in minutes (east is positive), if there are offsets.
        order_unclear: True if the order month/day/year was assumed without proof by a day above 12.
        epochs: True if the dates were epochs, which are in UTC.
    """

    index: pd.DatetimeIndex
    daily: bool
    wrong_zone: Mask
    zoned: bool = False
    offsets: tuple[int, int] | None = None
    order_unclear: bool = False
    epochs: bool = False

    @property
    def utc(self) -> bool:
        """Whether the times of day are known to be in UTC. Daily bars have no time of day."""
        return not self.daily and (self.zoned or self.epochs)


def read_dates(column: pd.Series) -> DateColumn:
    """Return the dates of bars in nanoseconds without time zone, in the order of the rows.

    Bars are daily if no date has two different times, or if every local time is midnight. Daily bars get midnight of their
    local date, so that bars of different symbols have equal dates. The time of a daily bar is a closing time, which varies
    with early closes and daylight saving time. Other dates are converted to UTC if they have a time zone, and otherwise stay
    unchanged.

    Args:
        column: (rows,) texts, datetimes with or without time zone, or integers. Integers are dates like 20150401, or epochs
            in seconds, milliseconds, microseconds or nanoseconds.
    """
    none = np.zeros(len(column), dtype=bool)
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        zoned = pd.DatetimeIndex(column)
        wall, utc = (_naive(each.tz_localize(None)) for each in (zoned, zoned.tz_convert("UTC")))
        return _column(wall, utc, none, zoned=True)
    if pd.api.types.is_datetime64_any_dtype(column):
        stamps = _naive(pd.DatetimeIndex(column))
        return _column(stamps, stamps, none)
    if pd.api.types.is_numeric_dtype(column):
        column = column.where((column % 1 == 0) & (column.abs() < 2**63)).astype("Int64")
    return _from_text(as_text(column))


def with_times(dates: pd.Series, times: pd.Series) -> pd.Series:
    """Return dates with times of day, as text; the dates alone if these have times already, or if ``times`` are no times of day.

    Args:
        dates: (rows,) dates as text, datetimes or integers.
        times: (rows,) times of day such as 09:30, 9:30:00 PM, 0930 or 93000.
    """
    days = pd.api.types.is_datetime64_any_dtype(dates)
    text = as_text(dates.dt.strftime("%Y-%m-%d") if days else dates)
    has_times = bool((dates != dates.dt.normalize()).any()) if days else pc.any(pc.match_substring(text, ":")).as_py()
    clock = None if has_times else _clock(as_text(times))
    if clock is None:
        return dates
    parts = (each.cast(pa.large_string()) for each in (pc.replace_substring_regex(text, _YYYYMMDD, r"\1-\2-\3"), clock))
    joined = pc.binary_join_element_wise(*parts, pa.scalar(" ", pa.large_string()), null_handling="emit_null")
    return pd.Series(joined.to_pandas(), dtype="string")


def _clock(text: Any) -> Any:
    """Return times of day of 24 hours (09:30, 09:30:00); None if a text is no time of day, or if there is none at all.

    Of digits, 930 and 0930 are half past nine, and so are 93000 and 093000.
    """
    known = text.drop_null()
    if len(known) and _all_match(known, r"^\d{1,6}(\.0*)?$"):
        digits = pc.replace_substring_regex(text, r"\..*$", "")
        width = 4 if pc.max(pc.utf8_length(digits)).as_py() <= 4 else 6
        padded = pc.utf8_lpad(digits, width, "0")
        if not _all_match(padded.drop_null(), r"^([01]\d|2[0-3])([0-5]\d){1,2}$"):
            return None
        return pc.utf8_rtrim(pc.replace_substring_regex(padded, r"^(\d\d)(\d\d)(\d\d)?$", r"\1:\2:\3"), ":")
    if not len(known) or not _all_match(known, _TIME_OF_DAY):
        return None
    if not pc.any(pc.match_substring_regex(known, "[AaPp][Mm]$")).as_py():
        return text
    coded = text.combine_chunks().dictionary_encode()
    read = pd.to_datetime(pd.Series(coded.dictionary.to_pylist()), format="mixed", errors="coerce")
    return pa.array(read.dt.strftime("%H:%M:%S"), from_pandas=True).take(coded.indices)


def _all_match(text: Any, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())


def as_text(column: pd.Series) -> Any:
    """Return a column (rows,) as Arrow strings without surrounding spaces. Missing values become null."""
    text = pa.array(column if column.dtype == "string" else column.astype("string"))
    chunks = text if isinstance(text, pa.ChunkedArray) else pa.chunked_array([text])
    return pc.utf8_trim_whitespace(chunks)


def _column(wall: Stamps, utc: Stamps, wrong_zone: Mask, **more: Any) -> DateColumn:
    daily = _is_daily(wall)
    stamps = wall.astype("datetime64[D]").astype("datetime64[ns]") if daily else utc
    return DateColumn(pd.DatetimeIndex(stamps, name="date"), daily, wrong_zone, **more)


def _is_daily(wall: Stamps) -> bool:
    """Return True if bars are daily: every time is midnight, or no date has two different times."""
    known = wall[~np.isnat(wall)].view(np.int64)
    if not len(known) or not np.any(known % _DAY):
        return True
    if np.any(known[1:] < known[:-1]):
        known = np.sort(known)
    later = known[1:] != known[:-1]
    return not bool(np.any(later & (known[1:] // _DAY == known[:-1] // _DAY)))


def _naive(index: pd.DatetimeIndex) -> Stamps:
    """Convert dates to nanoseconds. Years outside 1700 to 2199 are typing errors or placeholders, so they become NaT."""
    stamps = index.to_numpy()
    beyond = (stamps < _EARLIEST) | (stamps >= _LATEST)
    if np.any(beyond):
        stamps = np.where(beyond, np.datetime64("NaT"), stamps)
    return stamps.astype("datetime64[ns]")


def _from_text(text: Any) -> DateColumn:
    none = np.zeros(len(text), dtype=bool)
    stamps = _cast(text)
    if stamps is not None:
        return _column(stamps, stamps, none)
    digits = _mask(pc.match_substring_regex(text, _DIGITS))
    if 2 * np.count_nonzero(digits) > len(text):
        numbers = pc.if_else(pa.array(digits), pc.replace_substring_regex(text, r"\..*$", ""), "0")
        stamps = _from_integers(pc.fill_null(numbers, "0").cast(pa.int64()).to_numpy(), ~digits)
        return _column(stamps, stamps, none, epochs=True)  # dates like 20150401 are daily
    zones = _zones(text)
    if zones is None:
        stamps, unclear = _parse(text)
        return _column(stamps, stamps, none, order_unclear=unclear)
    wall_text, zoned, minutes = zones
    wall, unclear = _parse(wall_text)
    utc = wall - minutes.astype("timedelta64[m]")
    mostly = 2 * np.count_nonzero(zoned) > np.count_nonzero(~np.isnat(wall))
    known = minutes[zoned]
    return _column(
        wall,
        utc,
        (zoned != mostly) & ~np.isnat(wall),
        zoned=mostly,
        offsets=(int(known.min()), int(known.max())),
        order_unclear=unclear,
    )


def _zones(text: Any) -> tuple[Any, Mask, NDArray[np.int64]] | None:
    """Return the texts of dates without UTC offsets, the mask of rows with an offset, and the offsets in minutes east of UTC."""
    if not pc.any(pc.match_substring_regex(text, _ZONED)).as_py():
        return None
    parts = pc.extract_regex(text, _ZONED)
    offsets = pc.struct_field(parts, "offset")
    wall = pc.utf8_trim_whitespace(pc.coalesce(pc.struct_field(parts, "wall"), text))
    zoned = ~_mask(pc.is_null(offsets))
    coded = pc.fill_null(offsets, "Z").combine_chunks().dictionary_encode()
    minutes = np.array([_minutes(offset) for offset in coded.dictionary.to_pylist()], dtype=np.int64)
    return wall, zoned, minutes[coded.indices.to_numpy()]


def _minutes(offset: str) -> int:
    """Return a UTC offset in minutes, where east is positive: 330 for +05:30 or +0530, -300 for -05, 0 for Z and UTC."""
    if offset in ("Z", "UTC"):
        return 0
    digits = offset[1:].replace(":", "")
    return (1 if offset[0] == "+" else -1) * (int(digits[:2]) * 60 + int(digits[2:] or 0))


def _parse(text: Any) -> tuple[Stamps, bool]:
    """Parse dates without offsets: ISO 8601, 2015.04.01, US style, 1.4.2015 or names of months.

    Also return True if US style is a guess.
    """
    text = pc.replace_substring_regex(text, _DOTTED, r"\1-\2-\3")
    cast = _cast(text)
    if cast is not None:
        return cast, False
    stamps = np.full(len(text), np.datetime64("NaT"), dtype="datetime64[ns]")
    us, proven = False, False
    for start in range(0, len(text), _PART):
        part = pd.Series(text.slice(start, _PART).to_pandas(), dtype="string")
        found = stamps[start : start + _PART]
        for style in ("ISO8601", *_US_FORMATS, *_DAY_FIRST_FORMATS, "mixed"):
            missing = np.isnat(found)
            if not missing.any():
                break
            missing &= part.str.contains(_MONTH if style == "mixed" else _DIGIT, regex=True, na=False).to_numpy(bool)
            read = pd.to_datetime(
                part[missing], format=style, errors="coerce"
            )  # rows without a digit are no dates, but pandas reads "now" as a date
            found[missing] = _naive(pd.DatetimeIndex(read))
            if style in _US_FORMATS and read.notna().any():
                us, proven = True, proven or bool((read.dt.day > 12).any())
    return stamps, us and not proven


def _cast(text: Any) -> Stamps | None:
    """Parse texts without creating Python objects. Return None unless every row has ISO 8601 form."""
    try:
        return _naive(pd.DatetimeIndex(text.cast(pa.timestamp("ns")).to_numpy()))
    except pa.ArrowInvalid:
        return None


def _from_integers(numbers: NDArray[np.int64], missing: Mask) -> Stamps:
    """Parse integers as epochs (UTC) if all have the same magnitude, else as dates like 20150401.

    Use NaT if neither is possible.
    """
    known = numbers[~missing]
    for low, high, unit in _EPOCHS:
        if len(known) and bool(np.all((known >= low) & (known < high))):
            stamps = numbers.astype(f"datetime64[{unit}]")
            stamps[missing] = np.datetime64("NaT")
            return _naive(pd.DatetimeIndex(stamps))
    text = pd.Series(np.where(missing, 0, numbers)).astype("string")
    return _naive(pd.DatetimeIndex(pd.to_datetime(text, format="%Y%m%d", errors="coerce")))


def _mask(booleans: Any) -> Mask:
    """Return Arrow booleans as a mask (rows,). Null becomes False."""
    mask: Mask = np.asarray(pc.fill_null(booleans, fill_value=False).to_numpy(zero_copy_only=False), dtype=bool)
    return mask
