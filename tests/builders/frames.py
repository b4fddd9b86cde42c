"""Bars for tests: valid frames and files, of which a test breaks what it is about."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

PRICES = ["open", "high", "low", "close"]
HEADER = "date,open,high,low,close,volume"
COLUMNS = HEADER.split(",")
Lines = Sequence[str]


def random_frame(
    bars: int, seed: int = 0, start: str = "2010-01-04", holes: tuple[int, ...] = (), step: str = "B"
) -> pd.DataFrame:
    """A random walk of weekday bars (or with another ``step``); before each bar in ``holes`` 40 days are missing."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.02, bars)))
    open_ = close * np.exp(rng.normal(0, 0.01, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(rng.normal(0, 0.01, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(rng.normal(0, 0.01, bars)))
    days = pd.date_range(start, periods=bars, freq=step).as_unit("ns").to_numpy().copy()
    for hole in holes:
        days[hole:] += np.timedelta64(42, "D")
    volume = np.exp(rng.normal(14, 0.5, bars))
    index = pd.DatetimeIndex(days, name="date")
    return pd.DataFrame({"open": open_, "high": high, "low": low, "close": close, "volume": volume}, index=index)


def table(dates: Any = 60, date_column: str = "date", **columns: Any) -> pd.DataFrame:
    """A table of calm bars with a column of dates, or of so many weekdays, with other or more columns."""
    dates = pd.bdate_range("2015-01-05", periods=dates) if isinstance(dates, int) else dates
    close = 50 + np.sin(np.arange(len(dates)))
    prices = {"open": close, "high": close + 1, "low": close - 1, "close": close}
    return pd.DataFrame({date_column: dates, **prices, "volume": np.arange(len(dates)) + 10.0} | columns)


def csv_lines(bars: int = 400) -> list[str]:
    """The lines of a CSV file of daily bars from 2015-01-05 on, the header first; line n is row n."""
    frame = random_frame(bars, start="2015-01-05").round(4)
    return frame.assign(volume=frame["volume"].astype(int)).to_csv(lineterminator="\n").splitlines()


def with_cell(lines: Lines, row: int, column: str, value: str) -> list[str]:
    """The lines with another value in one field."""
    return [*lines[:row], *with_column([HEADER, lines[row]], column, lambda _: value)[1:], *lines[row + 1 :]]


def with_column(lines: Lines, column: str, change: Callable[[str], str]) -> list[str]:
    """The lines with another value in a field of each row."""
    place, rows = COLUMNS.index(column), [line.split(",") for line in lines[1:]]
    return [lines[0], *(",".join([*row[:place], change(row[place]), *row[place + 1 :]]) for row in rows)]


def csv_bytes(lines: Lines) -> bytes:
    """The file of these lines."""
    return ("\n".join(lines) + "\n").encode()


def arrow_table(bars: int = 150, **columns: Any) -> pa.Table:
    """An Arrow table of bars without metadata of pandas, with other columns."""
    found = pa.Table.from_pandas(random_frame(bars, start="2015-01-05").reset_index(), preserve_index=False)
    for name, values in columns.items():
        found = found.set_column(found.schema.names.index(name), name, values)
    return found.replace_schema_metadata({})


def parquet_bytes(content: pa.Table) -> bytes:
    """The Parquet file of a table."""
    buffer = io.BytesIO()
    pq.write_table(content, buffer)
    return buffer.getvalue()


def write(folder: Path, content: bytes | Lines | pa.Table, name: str = "X.csv") -> Path:
    """Writes a file of bars into a folder, which it returns."""
    content = parquet_bytes(content) if isinstance(content, pa.Table) else content
    (folder / name).write_bytes(content if isinstance(content, bytes) else csv_bytes(content))
    return folder
