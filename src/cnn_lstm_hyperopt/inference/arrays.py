"""Check of arrays of windows that a model is to predict."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.tables.columns import LARGEST
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.utils.text import shown_name


def checked_rows(data: Any, about: ModelDescription) -> NDArray[np.float64]:
    """Return the rows of an array of windows, (windows × lookback, features).

    Raises:
        DataError: the array has another shape, or other values than numbers.
    """
    wanted = (about.lookback, len(about.features))
    shape = tuple(data.shape)
    if len(shape) != 3 or shape[1:] != wanted or not shape[0]:
        raise DataError(
            f"windows must be an array of the shape (windows, {wanted[0]}, {wanted[1]}): lookback and features of this model,"
            f" but have the shape {shape}; give at least one window of {', '.join(map(shown_name, about.features[:3]))}, …",
            field="data",
            code="windows-shape",
        )
    if isinstance(data, torch.Tensor):
        dense = data.detach().cpu().to_dense()
        data = (dense.float() if dense.dtype is torch.bfloat16 else dense).numpy()
    array = data
    if array.dtype.kind not in "fiub":
        text = f"windows must hold numbers, but hold {array.dtype}; convert them with .astype('float32')"
        raise DataError(text, field="data", code="windows-not-numbers")
    rows: NDArray[np.float64] = array.reshape(-1, wanted[1]).astype(np.float64)
    invalid = ~(np.abs(rows) <= LARGEST)
    if invalid.any():
        row, place = (int(each) for each in np.argwhere(invalid)[0])
        raise DataError(
            f"windows must hold numbers within {LARGEST:g}, but {shown_name(about.features[place])} of window"
            f" {row // wanted[0]} is {rows[row, place]:g}; leave out windows with missing values",
            field="data",
            code="windows-not-finite",
        )
    return rows
