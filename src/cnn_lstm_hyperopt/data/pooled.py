"""Training and validation windows as one training set, for the final refit."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.scaling import Scaler
from cnn_lstm_hyperopt.data.splits import TRAIN, VALIDATION
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.data.windows import Windows


@dataclass(frozen=True, eq=False)
class Pooled:
    """Training and validation windows as one training set.

    Windows that were purged before the validation or the test split are not included.

    Attributes:
        windows: the windows, scaled by ``scaler``.
        scaler: scaler that is fitted on the rows of all these windows; None: inputs from DataLoaders, which are not scaled.
        value_mean: mean of the windows' values in the target's units; 0 without regression.
        value_std: population deviation of the values, > 0; 1 without regression.
    """

    windows: Windows
    scaler: Scaler | None
    value_mean: float
    value_std: float


def pooled_bars(table: WindowTable, split: NDArray[np.int8], lookback: int) -> Pooled:
    """Return the pooled windows of bars.

    Args:
        table: unscaled windows.
        split: (windows,) split of each window, as from :func:`.splits.assign`.
        lookback: number of bars in a window.
    """
    return training_windows(table, np.flatnonzero((split == TRAIN) | (split == VALIDATION)), lookback)


def training_windows(table: WindowTable, chosen: NDArray[np.int64], lookback: int) -> Pooled:
    """Return windows as one training set, scaled by their own rows.

    Args:
        table: unscaled windows.
        chosen: positions of the windows in the table.
        lookback: number of bars in a window.
    """
    read = table.covered(table.starts[chosen], lookback)
    scaler, values = Scaler.fit(table.features, read), Scaler.fit(table.values[chosen, None])
    return Pooled(scaled_windows(table, chosen, scaler, lookback), scaler, values.mean[0], values.std[0])


def scaled_windows(table: WindowTable, chosen: NDArray[np.int64], scaler: Scaler, lookback: int) -> Windows:
    """Return the windows at the positions ``chosen``, over a series that has only their rows, scaled by ``scaler``."""
    read = table.covered(table.starts[chosen], lookback)
    place = np.cumsum(read) - 1
    windows = table.windows(scaler.transform_to_float32(table.features, read), place[table.starts], lookback)
    return windows.subset(chosen)


def pooled_loaders(train: Windows, validation: Windows) -> Pooled:
    """Return the pooled windows of two DataLoaders."""
    windows = join_windows(train, validation)
    return Pooled(windows, None, *value_scale(windows.values))


def join_windows(train: Windows, validation: Windows) -> Windows:
    """Join the training and the validation windows into one set over one series.

    Windows without dates get consecutive numbers.
    """
    both = (train, validation)
    dated = train.dated and validation.dated
    groups = [part.groups for part in both if part.groups is not None]
    values = [part.values for part in both if part.values is not None]
    return Windows(
        series=torch.cat([part.series for part in both]),
        starts=torch.cat([train.starts, validation.starts + len(train.series)]),
        lookback=train.lookback,
        labels=torch.cat([part.labels for part in both]),
        values=torch.cat(values) if values else None,
        dates=np.concatenate([part.dates for part in both]) if dated else np.arange(len(train) + len(validation)),
        symbols=np.concatenate([part.symbols for part in both]),
        dated=dated,
        groups=np.concatenate(groups) if len(groups) == 2 else None,
    )


def value_scale(values: torch.Tensor | None) -> tuple[float, float]:
    """Return the mean and the population standard deviation of the regression targets ``(windows,)``.

    The deviation is 1 if all targets are equal. Without targets, the mean is 0 and the deviation is 1.
    """
    if values is None:
        return 0.0, 1.0
    return float(values.double().mean()), float(values.double().std(correction=0)) or 1.0
