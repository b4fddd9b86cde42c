"""Search for the columns of a user's table: standard names in upper or lower case, an adjusted close, and feature columns."""

import re
from collections.abc import Callable, Sequence

import pandas as pd

from cnn_lstm_hyperopt.data.problems import Findings
from cnn_lstm_hyperopt.utils.text import close_names, shown_names

PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")
DATE_NAMES = ("date", "datetime", "timestamp")
TIMES = "date, time"
"""Name of the times of day beside a column of dates in a :data:`Table`. The table's own columns have other names."""
_TIME = "time"
_OTHER_DATE_NAMES = ("date_time", "gmt_time", "local_time", "open_time")
_OTHER_VOLUME_NAMES = ("vol", "vol.")
EXAMPLE = "date,open,high,low,close,volume"
LARGEST = 1e18
"""Largest allowed number in a user's data. Squares and products of allowed numbers are finite in float32."""
_STANDARD = (*COLUMNS, "adj_close")
_ADJUSTED_NAMES = ("adjclose", "adjustedclose")  # letters only, so that "Adj. Close**" matches, too

Table = dict[str, pd.Series]
"""Type of the columns of bars, each (rows,), by standard name (``date`` first) or by the user's name.

The column :data:`TIMES` may have times of day, see :func:`.dates.with_times`.
"""


def choose_columns(
    header: Sequence[str], columns: Sequence[str], found: Findings, *, dates_in: Callable[[int], bool] = lambda _: True
) -> dict[str, int]:
    """Return the positions of the columns to read in a table, by standard name or by the user's name.

    Args:
        header: names in the table.
        columns: names of additional columns to read.
        found: collector of findings about the table.
        dates_in: function of a position that returns True if the unnamed column there may contain the dates.

    Raises:
        BadBarsError: a column is missing or occurs twice.
    """
    keys = _with_volume([_key(name) for name in header])
    it_has = f"it has: {shown_names([str(name).strip() for name in header])}"
    dates = _date_places(keys, dates_in)
    missing = [name for name in COLUMNS if name not in keys] + ([] if dates else ["date (or datetime, timestamp)"])
    if missing and sum(map(_looks_like_data, keys)) * 2 > len(keys):
        raise found.fail("no_header", f"has no header ({it_has})", f"the first line must name the columns: {EXAMPLE}")
    if missing:
        cure = "add a column volume, of zeros if unknown" if missing == ["volume"] else "rename the columns"
        raise found.fail("missing_column", f"has no column {', '.join(missing)} ({it_has})", cure)
    places = {"date": dates[0]} | {key: keys.index(key) for key in keys if key in _STANDARD}
    twice = sorted(key for key in places if key in _STANDARD and keys.count(key) > 1)
    if len(dates) > 1:
        twice = [keys[place] for place in dates]
    if twice:
        raise found.fail(
            "ambiguous_columns", f"columns {', '.join(twice)} mean the same ({it_has})", "keep one of them"
        )
    own = _own_columns(keys, columns, {keys[place] for place in places.values()}, it_has, found)
    if keys[dates[0]] in DATE_NAMES and keys.count(_TIME) == 1 and keys.index(_TIME) not in own.values():
        places[TIMES] = keys.index(_TIME)
    return places | own


def _with_volume(keys: Sequence[str]) -> list[str]:
    """Return the names of the columns. Without a column ``volume``, the first with a short name for volumes is renamed."""
    short = next((place for place, key in enumerate(keys) if key in _OTHER_VOLUME_NAMES), None)
    return ["volume" if place == short and "volume" not in keys else key for place, key in enumerate(keys)]


def _date_places(keys: Sequence[str], dates_in: Callable[[int], bool]) -> list[int]:
    """Return the positions of columns whose name is one for dates.

    If there are none, return the first column without a name.
    """
    for names in (DATE_NAMES, (_TIME,), _OTHER_DATE_NAMES):
        named = [place for place, key in enumerate(keys) if key in names]
        if named:
            return named
    unnamed = [place for place, key in enumerate(keys) if key == "" or key.startswith("unnamed:")]
    return [place for place in unnamed[:1] if dates_in(place)]


def _own_columns(
    keys: Sequence[str], columns: Sequence[str], taken: set[str], it_has: str, found: Findings
) -> dict[str, int]:
    """Return the positions of the columns that ``data.feature_columns`` names."""
    own = {name: _key(name) for name in columns}
    standard = sorted(name for name, key in own.items() if key in taken | set(_STANDARD))
    if standard:
        raise found.fail(
            "feature_column_standard",
            f"data.feature_columns names {shown_names(standard)}, which the built-in features use already",
            "name only other columns",
        )
    missing = [name for name, key in own.items() if key not in keys]
    if missing:
        close = close_names(missing, [key for key in keys if key not in taken]) or close_names(missing, keys)
        raise found.fail(
            "feature_column_missing",
            f"has no column {shown_names(missing)} of data.feature_columns ({it_has})",
            "name columns that every file has" + (f"; did you mean {close}?" if close else ""),
        )
    twice = sorted({name for name, key in own.items() if keys.count(key) > 1 or list(own.values()).count(key) > 1})
    if twice:
        raise found.fail(
            "feature_column_twice",
            f"columns {shown_names(twice)} of data.feature_columns occur twice",
            "keep one of them",
        )
    return {name: keys.index(key) for name, key in own.items()}


def _key(name: object) -> str:
    key = "_".join(str(name).strip().strip("<>").lower().split())
    return "adj_close" if re.sub("[^a-z]", "", key) in _ADJUSTED_NAMES else key


def _looks_like_data(name: str) -> bool:
    """Return True if the name of a column looks like a number or a date, so the table may have no header."""
    return re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?|\d{4}-\d\d?-\d\d?.*|\d\d?[./]\d\d?[./]\d{2,4}.*", name) is not None


def frame_columns(frame: pd.DataFrame, columns: Sequence[str], found: Findings) -> Table:
    """Return the columns to read from a data frame. Dates may be in the index if it has datetimes or a name for dates.

    Raises:
        BadBarsError: a column is missing or occurs twice.
    """
    index_names = {str(name).strip().lower() for name in frame.index.names if name is not None}
    if isinstance(frame.index, pd.DatetimeIndex) or index_names & set(DATE_NAMES):
        index = frame.index.rename("date") if isinstance(frame.index, pd.DatetimeIndex) else frame.index
        frame = frame.set_axis(index, axis=0).reset_index()
    places = choose_columns(
        [str(name) for name in frame.columns],
        columns,
        found,
        dates_in=lambda place: not pd.api.types.is_numeric_dtype(frame.iloc[:, place]),
    )
    return {name: frame.iloc[:, place].reset_index(drop=True) for name, place in places.items()}
