"""Readers of windows in the forms that people have: arrays, nested tables, long tables and lists of tables."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import check_array

from cnn_lstm_hyperopt.data.tables.columns import LARGEST
from cnn_lstm_hyperopt.errors import ArrayError
from cnn_lstm_hyperopt.utils.text import one_line, shown, shown_name

Layout = Literal["time_features", "channels_time"]
LAYOUTS = ("time_features", "channels_time")
_LONG = ["case_id", "dim_id", "reading_id", "value"]
"""Columns of a long table in the form of sktime: a row for each number."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Windows of several features.

    Attributes:
        values: ``(windows, time, features)`` numbers, finite.
        names: names of the features; None: the form has no names.
        ids: ids of the windows in their order, for a long table; None: each window is one entry of the form.
    """

    values: NDArray[np.float32]
    names: tuple[str, ...] | None = None
    ids: pd.Index | None = None


def read_panel(data: Any, layout: Layout) -> Panel | None:
    """Return the windows in ``data``; None if ``data`` is a flat table ``(windows, time)``, or not a table of numbers at all.

    These forms are read:

    - an array ``(windows, time, features)``, or ``(windows, channels, time)`` with the layout ``channels_time``, as in aeon
    - a nested DataFrame: a row for each window, a column for each feature, a Series or array in each cell
    - a long DataFrame: an index of (window, time), and a column for each feature
    - a long DataFrame with the columns case_id, dim_id, reading_id and value, as in sktime
    - a list of DataFrames or 2-d arrays, each with rows of time and columns of features

    The windows of a long DataFrame have the order in which their ids first occur.

    Raises:
        ArrayError: the windows are not of one length, or numbers are missing.
    """
    if isinstance(data, pd.DataFrame):
        if set(_LONG) <= set(data.columns):
            data = _unstacked(data)
        if isinstance(data.index, pd.MultiIndex):
            return _long(data)
        return _nested(data) if _has_nested_cells(data) else None
    if isinstance(data, (list, tuple)) and len(data) and getattr(data[0], "ndim", 0) == 2:
        names = _names(data[0].columns) if isinstance(data[0], pd.DataFrame) else None
        return _stacked([np.asarray(each) for each in data], names)
    if not hasattr(data, "ndim") and isinstance(data, (list, tuple)):
        try:
            data = np.asarray(data)
        except (ValueError, TypeError):
            return None
    if getattr(data, "ndim", 0) != 3:
        return None
    values = _numbers(data)
    return Panel(np.ascontiguousarray(values.transpose(0, 2, 1)) if layout == "channels_time" else values)


def require_same_order(name: str, given: Any, panel: Panel) -> None:
    """Check that a Series or DataFrame with a row for each window of a long table has the order of the windows.

    Args:
        name: name of the argument, for the text of the error.
        given: the argument. Only a Series or DataFrame that is indexed by the ids of the windows is checked.
        panel: the windows.

    Raises:
        ArrayError: the argument has the windows in another order.
    """
    if panel.ids is None or not isinstance(given, (pd.Series, pd.DataFrame)):
        return
    found, expected = list(given.index), list(panel.ids)
    if found == expected or len(found) != len(expected) or set(found) != set(expected):
        return  # with other labels, the entries are in the order of the windows
    place = next(n for n, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other)
    text = (
        f"{name} must have the windows in the order in which X has them, but entry {place} is of {shown(found[place])}, not"
        f" of {shown(expected[place])}; use {name}.loc[ids], where ids = X.index.unique(level=0), or X['case_id'].unique()"
    )
    raise ArrayError(text, field=name, code="other-order")


def as_float32(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return finite numbers as float32.

    Raises:
        ArrayError: a number is too large for training.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest > LARGEST:
        text = f"X must not be beyond {LARGEST:g}, but reaches {largest:g}; scale it"
        raise ArrayError(text, field="X", code="number-too-large")
    return np.ascontiguousarray(values, dtype=np.float32)


def _numbers(data: Any) -> NDArray[np.float32]:
    """Return a 3-d array of finite numbers. scikit-learn's checks raise a ValueError."""
    if hasattr(data, "detach"):
        data = data.detach().cpu().numpy()
    checked = check_array(data, allow_nd=True, dtype=np.float64, input_name="X", ensure_min_samples=0)
    return as_float32(checked)


def _has_nested_cells(data: pd.DataFrame) -> bool:
    if not data.size:
        return False
    return isinstance(data.iloc[0, 0], (pd.Series, np.ndarray, list, tuple))


def _nested(data: pd.DataFrame) -> Panel:
    """Read a table with a Series in each cell."""
    parts = []
    for place, (_, row) in enumerate(data.iterrows()):
        cells = [np.asarray(cell).reshape(-1) for cell in row]
        lengths = {len(cell) for cell in cells}
        if len(lengths) > 1:
            text = (
                f"X must have one length in all cells of a row, but row {place} has the lengths {sorted(lengths)}; cut or fill"
                " the series"
            )
            raise ArrayError(text, field="X", code="lengths-differ")
        parts.append(np.stack(cells, axis=1))
    return _stacked(parts, _names(data.columns))


def _unstacked(data: pd.DataFrame) -> pd.DataFrame:
    """Return a long table of sktime as a table with an index of (case_id, reading_id) and a column for each dim_id.

    The windows keep the order in which they first occur.
    """
    window, feature, time, value = _LONG
    try:
        table = data.set_index([window, time, feature])[value].unstack(feature)
        order = pd.Index(data[window].unique()).get_indexer(table.index.get_level_values(window))
        return table.iloc[np.argsort(order, kind="stable")]
    except ValueError as error:
        text = f"X must have one row for each case_id, dim_id and reading_id: {one_line(error)}; remove repeated rows"
        raise ArrayError(text, field="X", code="duplicate-row") from error


def _long(data: pd.DataFrame) -> Panel:
    """Read a table with an index of (window, time). Windows keep the order in which they first occur."""
    if data.index.nlevels != 2:
        text = f"X must have an index of two levels, window and time, but has {data.index.nlevels}; use set_index([window, time])"
        raise ArrayError(text, field="X", code="index-levels")
    twice = data.index.duplicated()
    if twice.any():
        window, time = data.index[int(np.flatnonzero(twice)[0])]
        which = f"{shown(window)}, {shown(time)}"
        text = f"X must have one row for each window and time, but has several for {which}; remove all but one"
        raise ArrayError(text, field="X", code="duplicate-row")
    level = data.index.names[0] if data.index.names[0] is not None else 0
    windows = [
        (name, part.droplevel(0).sort_index().to_numpy()) for name, part in data.groupby(level=level, sort=False)
    ]
    panel = _stacked([part for _, part in windows], _names(data.columns))
    return replace(panel, ids=pd.Index([name for name, _ in windows]))


def _stacked(parts: Sequence[NDArray[Any]], names: tuple[str, ...] | None) -> Panel:
    """Return windows ``(time, features)`` as one panel."""
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        text = (
            "X must have windows of one shape (time, features), but has the shapes"
            f" {', '.join(str(shape) for shape in sorted(shapes)[:5])}; cut, fill or resample the windows"
        )
        raise ArrayError(text, field="X", code="lengths-differ")
    try:
        values = np.stack(parts).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ArrayError(f"X must hold numbers: {one_line(error)}", field="X", code="not-numbers") from error
    return Panel(_numbers(values), names)


def _names(columns: Any) -> tuple[str, ...]:
    return tuple(shown_name(name) for name in columns)
