"""Which columns of people's tables are meant: names of any case, an adjusted close, columns of one's own."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import pandas as pd

from cnn_lstm_hyperopt.data.problems import Findings
from cnn_lstm_hyperopt.data.wording import meant, shown_names

PRICES = ("open", "high", "low", "close")
COLUMNS = (*PRICES, "volume")
DATE_NAMES = ("date", "datetime", "timestamp")
EXAMPLE = "date,open,high,low,close,volume"
LARGEST = 1e18
"""Of a number in people's data: squares and products of such numbers are finite, in float32 too."""
_ADJUSTED_NAMES = ("adjclose", "adjustedclose")  # letters only: "Adj. Close**" is meant, too


def choose_columns(
    header: Sequence[str], columns: Sequence[str], found: Findings, *, dates_in: Callable[[int], bool] = lambda _: True
) -> dict[str, int]:
    """Where the columns that are used stand: standard name (or the user's) → position.

    Args:
        header: names in the table.
        columns: further columns that are wanted.
        found: for its errors.
        dates_in: whether an unnamed column may hold the dates.

    Raises:
        BadBarsError: one is missing or twice there.
    """
    keys = [_key(name) for name in header]
    keys = ["adj_close" if re.sub("[^a-z]", "", key) in _ADJUSTED_NAMES else key for key in keys]
    date_keys = [key for key in keys if key in DATE_NAMES] or ["time"] * keys.count("time")
    unnamed = [key for key in keys if key == "" or key.startswith("unnamed:")]
    if not date_keys and unnamed and dates_in(keys.index(unnamed[0])):
        date_keys = [unnamed[0]]
    it_has = f"it has: {shown_names([str(name).strip() for name in header])}"
    missing = [name for name in COLUMNS if name not in keys] + ([] if date_keys else ["date (or datetime, timestamp)"])
    if missing and sum(_looks_like_data(key) for key in keys) * 2 > len(keys):
        raise found.fail(
            "no_header",
            f"has no header ({it_has})",
            f"the first line must name the columns: {EXAMPLE}",
        )
    if missing:
        raise found.fail("columns", f"misses the column {', '.join(missing)} ({it_has})", "name the columns so")
    wanted = [*date_keys, *(key for key in keys if key in (*COLUMNS, "adj_close"))]
    if len(date_keys) > 1 or len(set(wanted)) < len(wanted):
        twice = date_keys if len(date_keys) > 1 else sorted(key for key, count in Counter(wanted).items() if count > 1)
        raise found.fail(
            "columns", f"columns {', '.join(twice)} stand for the same thing ({it_has})", "keep one of them"
        )
    places = {("date" if key in date_keys else key): keys.index(key) for key in wanted}
    return places | _own_columns(keys, columns, set(wanted), it_has, found)


def _own_columns(
    keys: Sequence[str], columns: Sequence[str], taken: set[str], it_has: str, found: Findings
) -> dict[str, int]:
    """Positions of ``data.feature_columns``."""
    own = {name: _key(name) for name in columns}
    standard = sorted(name for name, key in own.items() if key in taken | {*COLUMNS, "adj_close"})
    if standard:
        raise found.fail(
            "feature_columns",
            f"data.feature_columns names {shown_names(standard)}, of which features are made anyway",
            "name other columns only",
        )
    missing = [name for name, key in own.items() if key not in keys]
    if missing:
        close = close_names(missing, [key for key in keys if key not in taken]) or close_names(missing, keys)
        raise found.fail(
            "feature_columns",
            f"misses the column {shown_names(missing)} of data.feature_columns ({it_has})",
            "name columns that are there, in every file" + (f"; did you mean {close}?" if close else ""),
        )
    twice = sorted({name for name, key in own.items() if keys.count(key) > 1 or list(own.values()).count(key) > 1})
    if twice:
        raise found.fail(
            "feature_columns",
            f"columns {shown_names(twice)} of data.feature_columns are twice there",
            "keep one of them",
        )
    return {name: keys.index(key) for name, key in own.items()}


def _key(name: object) -> str:
    return "_".join(str(name).strip().lower().split())


def _looks_like_data(name: str) -> bool:
    """Whether what should be the name of a column is a number or a date."""
    return re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?|\d{4}-\d\d?-\d\d?.*|\d\d?[./]\d\d?[./]\d{2,4}.*", name) is not None


def named_columns(raw: pd.DataFrame, columns: Sequence[str], found: Findings) -> dict[str, pd.Series]:
    """The columns that are used, by their standard names, ``date`` among them."""
    table = raw
    index_names = {str(name).strip().lower() for name in raw.index.names if name is not None}
    if isinstance(raw.index, pd.DatetimeIndex) or index_names & set(DATE_NAMES):
        index = raw.index.rename("date") if isinstance(raw.index, pd.DatetimeIndex) else raw.index
        table = raw.set_axis(index, axis=0).reset_index()
    places = choose_columns(
        [str(name) for name in table.columns],
        columns,
        found,
        dates_in=lambda place: not pd.api.types.is_numeric_dtype(table.iloc[:, place]),
    )
    return {name: table.iloc[:, place].reset_index(drop=True) for name, place in places.items()}
