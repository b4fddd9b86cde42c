"""Reader of CSV files with any separator, encoding and header that can be recognised without doubt."""

import codecs
import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from cnn_lstm_hyperopt.data.problems import Findings, shown_text
from cnn_lstm_hyperopt.data.tables.columns import COLUMNS, DATE_NAMES, EXAMPLE, TIMES, Table, choose_columns
from cnn_lstm_hyperopt.data.tables.file_kind import other_kind
from cnn_lstm_hyperopt.utils.text import counted, one_line

_HEAD = 64 * 1024
"""Number of bytes at the start of a file in which the header is searched."""
_BEFORE_HEADER = 10
"""Maximum number of lines before the header."""
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LONGEST_LINE = 1_000_000
"""Maximum length of a line in bytes, which is about the size of a block that Arrow reads."""
_LINE_ENDS = re.compile("\r\n|\n|\r")
"""Pattern of the line ends that Arrow recognises. str.splitlines recognises more, so it would count other lines than Arrow."""
_NOTHING = ["", "NA", "N/A", "n/a", "NaN", "nan", "-nan", "NULL", "Null", "null", "None", "none", "#N/A", "<NA>"]
_BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Layout:
    """Layout of a CSV file.

    Attributes:
        encoding: encoding of the text.
        separator: separator of fields.
        header: names of the columns in the header.
        skipped: number of lines up to and including the header.
    """

    encoding: str
    separator: str
    header: tuple[str, ...]
    skipped: int


def read_csv(path: Path, columns: Sequence[str], found: Findings) -> Table:
    """Read the columns of bars in a CSV file.

    Numbers become float64, or text if a number of the column is invalid; dates stay text.

    Args:
        path: the file.
        columns: names of additional columns to read.
        found: collector of findings about the file.

    Raises:
        BadBarsError: the file is not a CSV file of bars.
    """
    layout = _layout(path, found)
    places = choose_columns(layout.header, columns, found)
    other = _OtherLines()
    try:
        texts = [place for name, place in places.items() if name in ("date", TIMES)]
        table, encoding = _read_any(path, layout, sorted(places.values()), texts, other)
    except (UnicodeDecodeError, pa.ArrowException) as error:
        reason = _odd_line(path) or one_line(error)
        raise found.fail("unreadable", f"can't be read as CSV: {reason}", "export it again as CSV UTF-8") from error
    if encoding == "latin-1":
        found.warn(
            "encoding", "is not UTF-8 text and was read as Windows-1252 (Latin-1)", "save it as UTF-8 to be sure"
        )
    if other.count:
        _report_other_lines(other, layout, found)
        if not table.num_rows:
            found.raise_errors()
    used: Table = {}
    for name, place in places.items():
        column = table.column(str(place))
        table = table.drop_columns([str(place)])  # avoids a second copy of millions of rows
        is_number = pa.types.is_floating(column.type)
        used[name] = pd.Series(column.to_numpy()) if is_number else pd.Series(column.to_pandas(), dtype="string")
    return used


@dataclass
class _OtherLines:
    """Counter of lines with more or fewer fields than the header. The counter also stores the first such line."""

    count: int = 0
    first: Any = None

    def __call__(self, line: Any) -> str:
        """Count a line with a wrong number of fields, and make Arrow skip the line."""
        self.first = self.first or line
        self.count += 1
        return "skip"


def _report_other_lines(other: _OtherLines, layout: Layout, found: Findings) -> None:
    fields, text = other.first.actual_columns, other.first.text or ""
    more = fields > len(layout.header)
    found.refuse_lines(
        "fields",
        f"every line must have {len(layout.header)} fields, as the header has, but line {other.first.number}"
        f" has {fields}: {shown_text(text)} ({counted(other.count, 'such line')})",
        f"correct or remove these lines{', or give every column a name' if more else ''}",
        count=other.count,
        value=text[:200],
    )


def _odd_line(path: Path) -> str | None:
    """Return a text about the first line that probably makes a CSV file unreadable, or None if there is no such line."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE + 1):
            number += 1
            if len(line) > _LONGEST_LINE:
                return f"line {number} has more than {_LONGEST_LINE:,} bytes"
            if line.count(b'"') % 2:
                return f"a quote in line {number} is not closed there"
    return None


def _layout(path: Path, found: Findings) -> Layout:
    with path.open("rb") as file:
        head = file.read(_HEAD)
        head += file.readline(_LONGEST_LINE) if len(head) == _HEAD else b""  # a header may have thousands of names
    if not head.strip():
        raise found.fail("empty", "is empty", "give a file with a header and at least one bar")
    other = other_kind(head, "CSV")
    if other is not None:
        raise found.fail("other_kind", *other)
    encoding = _encoding(head)
    text = head.decode(encoding, errors="replace")
    if "\x00" in text:
        raise found.fail("no_text", "is not text", "export it again as CSV UTF-8")
    if encoding.startswith("utf-16"):
        found.warn("encoding", "was read as UTF-16", "save it as UTF-8 to be sure")
    lines = _LINE_ENDS.split(text)
    separator = max(_SEPARATORS, key=lambda each: _named_fields(lines, each))
    rows = [_fields(line, separator) for line in lines[: _BEFORE_HEADER + 3]]
    if not any(map(any, rows)):
        raise found.fail("no_header", "names no column in its first lines", f"the first line must name them: {EXAMPLE}")
    layout = _yfinance_layout(rows, encoding, separator) or _plain_layout(rows, encoding, separator)
    if len(layout.header) == 1:
        raise found.fail(
            "one_column", f"has one column only: {shown_text(layout.header[0])}", "separate the columns with commas"
        )
    if separator != ",":
        found.warn(
            "separator",
            f"was read with {_SEPARATORS[separator]} as separators",
            "use commas to be sure",
        )
    if len(head) < _HEAD and not any(line.strip() for line in lines[layout.skipped :]):
        raise found.fail("no_rows", "has no rows of bars", "give a file with at least one bar")
    blank = sum(not any(row) for row in rows[: layout.skipped])
    before = layout.skipped - 1 - blank
    if before:
        found.warn(
            "before_header",
            f"{counted(before, 'line')} around the header {'was' if before == 1 else 'were'} left out",
            "right if no bar is among them",
            count=before,
        )
    return layout


def _encoding(head: bytes) -> str:
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return encoding
    if len(head) > 3 and head[1] == 0 and head[3] == 0:
        return "utf-16-le"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # may end inside a character
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"


def _fields(line: str, separator: str) -> list[str]:
    try:
        row = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    except csv.Error:  # a field longer than csv.field_size_limit is not a name
        row = line.split(separator)
    return [field.strip() for field in row]


def _known_names(row: Sequence[str]) -> int:
    return len({name.strip("<>").lower() for name in row} & {*COLUMNS, *DATE_NAMES, "time"})


def _named_fields(lines: Sequence[str], separator: str) -> tuple[int, int]:
    """Return how many known column names a separator finds, and the number of fields in the first line."""
    rows = [_fields(line, separator) for line in lines[:_BEFORE_HEADER]]
    return max(map(_known_names, rows), default=0), max(map(len, rows[:1]), default=0)


def _plain_layout(rows: Sequence[Sequence[str]], encoding: str, separator: str) -> Layout:
    """Return the layout of a CSV file. The header is the first line with known names, or else the first non-empty line."""
    for place, row in enumerate(rows[:_BEFORE_HEADER]):
        if _known_names(row) >= 3:
            return Layout(encoding, separator, tuple(row), place + 1)
    place = next(place for place, row in enumerate(rows) if any(row))
    return Layout(encoding, separator, tuple(rows[place]), place + 1)


def _yfinance_layout(rows: Sequence[Sequence[str]], encoding: str, separator: str) -> Layout | None:
    """Return the layout of a file that ``yfinance.download(...).to_csv()`` wrote.

    Such a file starts with a line of column names, a line of tickers and a line with the name of the date.
    """
    if len(rows) < 3 or not rows[0] or not rows[1] or not rows[2]:
        return None
    names, tickers, dates = rows[:3]
    if names[0].lower() != "price" or tickers[0].lower() != "ticker" or dates[0].lower() not in DATE_NAMES:
        return None
    if len(set(tickers[1:])) > 1:
        return None
    return Layout(encoding, separator, ("Date", *names[1:]), 3)


def _read_any(
    path: Path, layout: Layout, wanted: Sequence[int], texts: Sequence[int], other: _OtherLines
) -> tuple[pa.Table, str]:
    """Read columns as numbers, or as text if a number is invalid. Return a table and the encoding of the file.

    The columns ``texts`` are always read as text.
    """
    failure: Exception | None = None
    for encoding in (layout.encoding, "latin-1") if layout.encoding == "utf-8" else (layout.encoding,):
        for kind in (pa.float64(), pa.string()):
            other.count, other.first = 0, None
            types = {str(place): pa.string() if place in texts else kind for place in wanted}
            try:
                return _read(path, layout, encoding, types, other), encoding
            except pa.ArrowInvalid as error:
                failure = error
    raise failure or ValueError("no encoding to read with")


def _read(path: Path, layout: Layout, encoding: str, types: dict[str, Any], other: _OtherLines) -> pa.Table:
    """Read a CSV file in one pass, block by block. Each block is freed as soon as its columns are built."""
    with path.open("rb") as file:  # Arrow requires UTF-8 paths and reads s3:x as an address
        return pyarrow.csv.read_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False,  # needed for line numbers
                encoding=encoding,
                skip_rows=layout.skipped,
                column_names=[str(place) for place in range(len(layout.header))],
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=layout.separator, invalid_row_handler=other),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                strings_can_be_null=True,
                null_values=_NOTHING,
            ),
        )
