"""Protection of text in CSV files, so that spreadsheet programs do not run the text as a formula."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Pattern of the first characters of a text that spreadsheets run as a formula, including full-width ``=``, ``+``, ``-`` and
``@``."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_cell(value: Any) -> Any:
    """Return a value for a CSV file, with an apostrophe before text that a spreadsheet would run as a formula.

    Such text begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break, also after apostrophes. Numbers stay unchanged, also
    numbers as text, such as the class name ``-1``. The inverse is :func:`csv_text`.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def csv_text(cell: str) -> str:
    """Return the original text of a cell that :func:`csv_cell` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_frame(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table with :func:`csv_cell` applied to texts and column names; numbers and dates stay unchanged."""
    safe = frame.rename(columns=csv_cell)
    for place, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufcmM":
            safe.isetitem(place, list(map(csv_cell, frame.iloc[:, place])))
    return safe
