"""Text in CSV files that a spreadsheet program must not run as a formula."""

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How text begins that is run as a formula: also by the full-width forms of ``=``, ``+``, ``-`` and ``@``."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_cell(value: Any) -> Any:
    """Return a value as a CSV file holds it: text that a spreadsheet would run as a formula stands behind an apostrophe.

    Text that begins with ``=``, ``+``, ``-``, ``@``, a tab or a line break gets an apostrophe in front, also if it has
    apostrophes there already. Numbers stay as they are, also those that are text, such as the class name ``-1``.
    :func:`csv_text` is the inverse.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def csv_text(cell: str) -> str:
    """Return the text that :func:`csv_cell` made a cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def csv_frame(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return a table whose texts, column names included, are those of :func:`csv_cell`; numbers and dates stay as they are."""
    safe = frame.rename(columns=csv_cell)
    for place, kind in enumerate(frame.dtypes):
        if kind.kind not in "biufcmM":
            safe.isetitem(place, list(map(csv_cell, frame.iloc[:, place])))
    return safe
