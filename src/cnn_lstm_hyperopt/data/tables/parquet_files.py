"""Reader of Parquet files. Only the columns of bars are read, with Arrow.

The reader of pandas reads all columns and creates types whose names are in the metadata of a file. This module uses
metadata only for the name of the index. The module creates no type from the text of a file and unpickles nothing.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cnn_lstm_hyperopt.data.problems import Findings
from cnn_lstm_hyperopt.data.tables.columns import TIMES, Table, choose_columns
from cnn_lstm_hyperopt.data.tables.file_kind import other_kind
from cnn_lstm_hyperopt.utils.text import one_line, shown_name

_FREE_ROWS = 10_000_000
_ROWS_A_BYTE = 2
"""A file is refused if it has more than ``_FREE_ROWS`` rows and more than ``_ROWS_A_BYTE`` rows for each byte.

A real bar takes several bytes.
"""
_LONGEST_TEXT = 64
"""Maximum number of characters of a date or a number."""


def read_parquet(path: Path, columns: Sequence[str], found: Findings) -> Table:
    """Read the columns of bars in a Parquet file. Numbers become float64; dates are datetimes, numbers or text.

    Args:
        path: the file.
        columns: names of additional columns to read.
        found: collector of findings about the file.

    Raises:
        BadBarsError: the file is not a Parquet file of bars.
    """
    with path.open("rb") as stream:
        head = stream.read(64)
        stream.seek(0)
        if not head:
            raise found.fail("empty", "is empty", "give a file with at least one bar")
        other = other_kind(head, "Parquet")
        if other is not None:
            raise found.fail("other_kind", *other)
        try:
            return _read(stream, path.stat().st_size, columns, found)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = re.sub(r"^Could not open Parquet input source '.*?': ", "", one_line(error))
            raise found.fail("unreadable", f"can't be read as Parquet: {reason}", "export it again") from error


def _read(stream: Any, size: int, columns: Sequence[str], found: Findings) -> Table:
    file = _open(stream, found)
    _require_size(file.metadata.num_rows, size, found)
    schema = file.schema_arrow
    header = _header(schema)
    places = choose_columns(header, columns, found, dates_in=lambda place: _is_dates(schema.field(place).type))
    if TIMES in places and not _may_be_times(schema.field(places[TIMES]).type):
        del places[TIMES]
    names = {name: schema.field(place).name for name, place in places.items()}
    for name, place in places.items():
        if name != TIMES:
            _require_type(header[place], schema.field(place).type, found, dates=name == "date")
    twice = next((name for name in names.values() if schema.names.count(name) > 1), None)
    if twice is not None:
        raise found.fail("ambiguous_columns", f"has several columns {shown_name(twice)}", "keep one of them")
    texts = [name for name in names.values() if _is_text(schema.field(name).type)]
    table = pq.ParquetFile(stream, memory_map=False, read_dictionary=texts).read(columns=list(names.values()))
    return {name: _series(table.column(there)) for name, there in names.items()}


def _open(stream: Any, found: Findings) -> pq.ParquetFile:
    """Open a Parquet file.

    Errors of several types are translated, because pandas' extension types parse the metadata of the file.
    """
    try:
        return pq.ParquetFile(stream, memory_map=False)
    except (TypeError, KeyError, ValueError) as error:
        if isinstance(error, pa.ArrowException):
            raise
        fault = f"has a column of a type that can't be read: {one_line(error)}"
        raise found.fail("column_type", fault, "write plain numbers and timestamps") from error


def _require_size(rows: int, size: int, found: Findings) -> None:
    if rows > _FREE_ROWS and rows > _ROWS_A_BYTE * size:
        raise found.fail(
            "too_many_rows",
            f"must take at least a byte for {_ROWS_A_BYTE} rows, but holds {rows:,} rows in {size:,} bytes",
            "give bars, or remove those without trades",
        )


def _header(schema: pa.Schema) -> list[str]:
    """Return the names of the columns in a file: "" for an unnamed index, and ``date`` for an index of datetimes."""
    index = _index_columns(schema)
    names: list[str] = []
    for column in schema:
        if column.name in index and pa.types.is_timestamp(column.type):
            names.append("date")
        else:
            names.append("" if re.fullmatch(r"__index_level_\d+__", column.name) else column.name)
    return names


def _index_columns(schema: pa.Schema) -> set[str]:
    """Return the names of the index columns that pandas has stored in the file's metadata, if any."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    except (ValueError, RecursionError):
        return set()
    index = metadata.get("index_columns") if isinstance(metadata, dict) else None
    return {name for name in index if isinstance(name, str)} if isinstance(index, list) else set()


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_dates(kind: Any) -> bool:
    """Return True if an unnamed column of the given type may contain the dates."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind) or _is_text(kind))


def _require_type(name: str, kind: Any, found: Findings, *, dates: bool) -> None:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    right = _is_number(value) or _is_text(value) or pa.types.is_null(value) or (dates and _is_dates(value))
    if not right:
        what = "dates" if dates else "numbers"
        raise found.fail(
            "column_type",
            f"{shown_name(name) or 'the index'} must be a column of {what}, but has the type {shown_name(kind)}",
            f"write it as {'timestamps' if dates else 'float64'}",
        )
    if dates and pa.types.is_timestamp(value) and value.tz is not None:
        try:
            pd.Timestamp(0, tz=value.tz)
        except (KeyError, ValueError, OSError) as error:
            raise found.fail(
                "unknown_time_zone",
                f"{name} must have a known time zone, but has '{shown_name(value.tz)}'",
                "write dates in UTC",
            ) from error


def _may_be_times(kind: Any) -> bool:
    """Return True if a column of this type may have times of day."""
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return _is_text(value) or pa.types.is_time(value) or pa.types.is_integer(value)


def _series(column: Any) -> pd.Series:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = pa.chunked_array([_short(chunk) for chunk in column.chunks], kind.value_type)
        kind = column.type
    if pa.types.is_null(kind):
        return pd.Series(column.cast(pa.float64()).to_numpy())
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        return pd.Series(column.cast(pa.float64(), safe=False).to_numpy())
    if pa.types.is_date(kind):
        return pd.Series(column.cast(pa.timestamp("s" if pa.types.is_date32(kind) else "ms")).to_numpy())
    return pd.Series(column.to_pandas(), dtype="string") if _is_text(kind) else pd.Series(column.to_pandas())


def _short(chunk: Any) -> Any:
    """Return a chunk decoded from Arrow's dictionary encoding. Long texts are cut, because they are not numbers."""
    values = chunk.dictionary
    if _is_text(values.type):
        values = pc.utf8_slice_codeunits(values, 0, _LONGEST_TEXT)
    return values.take(chunk.indices)
