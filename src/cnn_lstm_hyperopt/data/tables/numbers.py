"""Reader of columns of numbers, also of numbers that are stored as text or written with decimal commas."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.tables.dates import as_text

CommaStyle = Literal["thousands", "decimal"]
CURE = "write plain numbers such as 1234.5, without currency signs, units and thousands separators"

_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_DECIMAL = re.compile(r"[+-]?\d*,\d+")
_PART = 250_000
"""Number of rows of text that are converted to Python objects in one step."""


@dataclass(frozen=True, eq=False)
class NumberColumn:
    """A column of numbers.

    Attributes:
        values: (rows,) float64; NaN where the field is empty or not a number.
        missing: (rows,) mask of empty fields.
        text: (rows,) mask of fields that are not numbers.
    """

    values: NDArray[np.float64]
    missing: NDArray[np.bool_]
    text: NDArray[np.bool_]


def read_numbers(columns: Mapping[str, pd.Series]) -> tuple[dict[str, NumberColumn], CommaStyle | None]:
    """Return the numbers of a table and the meaning of its commas. The meaning is None if there are no commas or it is unclear.

    All commas of a table have the same meaning. ``1,234.5`` and ``1,234,567`` prove thousands separators. ``12,5`` proves
    decimal commas. ``1,234`` alone proves nothing and stays text.

    Args:
        columns: columns by name, each (rows,).
    """
    numbers = {name: _read(column) for name, column in columns.items()}
    with_text = [name for name, each in numbers.items() if each.text.any()]
    proven = {style for name in with_text if (style := _style(columns[name], numbers[name])) is not None}
    if len(proven) != 1:
        return numbers, None
    (style,) = proven
    return numbers | {name: _reread(columns[name], numbers[name], style) for name in with_text}, style


def _read(column: pd.Series) -> NumberColumn:
    missing = column.isna().to_numpy(bool)
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_complex_dtype(column):
        return NumberColumn(column.to_numpy(np.float64, na_value=np.nan), missing, np.zeros(len(column), dtype=bool))
    text = as_text(column)
    try:
        values = text.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        parts = [
            pd.to_numeric(text.slice(start, _PART).to_pandas(), errors="coerce").to_numpy(np.float64, na_value=np.nan)
            for start in range(0, len(text), _PART)
        ]
        values = np.concatenate(parts)
        missing = missing | (column.astype("string").str.strip() == "").fillna(value=False).to_numpy(bool)
    return NumberColumn(values, missing, np.isnan(values) & ~missing)


def _style(column: pd.Series, numbers: NumberColumn) -> CommaStyle | None:
    """Return the meaning of commas that the numbers of one column prove, or None if they prove no meaning."""
    texts = column[numbers.text].astype("string").str.strip()
    texts = texts[texts.str.contains(",", regex=False)]
    if not len(texts):
        return None
    plain = column[~numbers.text & ~numbers.missing].astype("string")
    thousands = bool(texts.str.fullmatch(_THOUSANDS).all())
    decimal = bool(texts.str.fullmatch(_DECIMAL).all()) and not plain.str.contains(".", regex=False).any()
    if thousands == decimal:
        return None
    return "thousands" if thousands else "decimal"


def _reread(column: pd.Series, numbers: NumberColumn, style: CommaStyle) -> NumberColumn:
    texts = column[numbers.text].astype("string").str.strip()
    right = texts.str.fullmatch(_THOUSANDS if style == "thousands" else _DECIMAL).to_numpy(bool)
    plain = texts.str.replace(",", "" if style == "thousands" else ".", regex=False)
    values = numbers.values.copy()
    read = pd.to_numeric(plain.where(right), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    values[numbers.text] = read
    return NumberColumn(values, numbers.missing, np.isnan(values) & ~numbers.missing)
