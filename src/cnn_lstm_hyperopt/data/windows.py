"""Windows, the inputs of networks. Windows refer to a series of feature rows in memory without copying rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnn_lstm_hyperopt.data.frequency import step_seconds


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of ``lookback`` consecutive rows, each with a label.

    All splits share one ``series``. The first row of a window identifies the window; the last row is the bar of the
    decision.

    Attributes:
        series: (rows, features) float32, scaled; raw if they come from DataLoaders.
        starts: (windows,) int64, first row of each window.
        lookback: number of rows in a window.
        labels: (windows,) int64 class of each window.
        values: (windows,) float32, the regression target in its own units; None without regression.
        dates: (windows,) decision dates: datetime64[ns], or integers that increase with time. If the windows have no dates,
            ``dates`` has window numbers.
        symbols: (windows,) name of each window's symbol.
        dated: True if ``dates`` are dates; False if they are window numbers, which have no order in time.
        groups: (windows,) int64 number of each window's group, the same in all splits; None: no groups. Windows of one group
            are dependent; windows of different groups are independent.
        traded: (windows,) float64, simple return of a long position that is decided at the window's last bar and lasts
            ``horizon`` bars (:mod:`.trades`). The return is NaN where the bar of the exit does not exist. ``traded`` is None
            if the windows do not come from bars.
    """

    series: Tensor
    starts: Tensor
    lookback: int
    labels: Tensor
    values: Tensor | None
    dates: NDArray[Any]
    symbols: NDArray[np.str_]
    dated: bool = True
    groups: NDArray[np.int64] | None = None
    traded: NDArray[np.float64] | None = None

    def __repr__(self) -> str:
        return f"Windows({len(self)} windows of {self.lookback} rows × {self.input_dim} features)"

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def input_dim(self) -> int:
        """Number of features of a window's rows."""
        return int(self.series.shape[1])

    @property
    def device(self) -> torch.device:
        """Device of the windows' tensors."""
        return self.series.device

    @property
    def step_seconds(self) -> float | None:
        """Median time between decision dates in seconds, for the symbol with the most windows; None for DataLoaders."""
        if self.dates.dtype.kind != "M" or not len(self):
            return None
        names, counts = np.unique(self.symbols, return_counts=True)
        dates = self.dates[self.symbols == names[np.argmax(counts)]]
        return step_seconds(np.sort(dates.astype("datetime64[ns]").astype(np.int64)))

    def gather(self, index: Tensor) -> Tensor:
        """Return the inputs of some windows.

        Args:
            index: (batch,) int64 positions of windows, on the windows' device.

        Returns:
            (batch, lookback, features) float32.
        """
        rows = self.starts[index].unsqueeze(1) + torch.arange(self.lookback, device=self.device)
        return self.series[rows]

    def subset(self, index: Tensor | NDArray[np.int64]) -> "Windows":
        """Return the windows at the positions ``index`` (int64) in this order. The series stays the same."""
        here = torch.as_tensor(index, dtype=torch.int64, device=self.device)
        on_host = here.cpu().numpy()
        return replace(
            self,
            starts=self.starts[here],
            labels=self.labels[here],
            values=None if self.values is None else self.values[here],
            dates=self.dates[on_host],
            symbols=_names_at(self.symbols, on_host),
            groups=None if self.groups is None else self.groups[on_host],
            traded=None if self.traded is None else self.traded[on_host],
        )

    def followed_by(self, *others: "Windows") -> "Windows":
        """Return these windows and then the windows of other sets. All sets have the same series."""
        parts = (self, *others)
        values = [each.values for each in parts if each.values is not None]
        groups = [each.groups for each in parts if each.groups is not None]
        traded = [each.traded for each in parts if each.traded is not None]
        return replace(
            self,
            starts=torch.cat([each.starts for each in parts]),
            labels=torch.cat([each.labels for each in parts]),
            values=torch.cat(values) if values else None,
            dates=np.concatenate([each.dates for each in parts]),
            symbols=np.concatenate([each.symbols for each in parts]),
            groups=np.concatenate(groups) if groups else None,
            traded=np.concatenate(traded) if traded else None,
        )

    def to(self, device: torch.device | str, *, series: Tensor | None = None) -> "Windows":
        """Return the windows with tensors on ``device``. ``series`` is a copy of the series on this device."""
        return replace(
            self,
            series=self.series.to(device) if series is None else series,
            starts=self.starts.to(device),
            labels=self.labels.to(device),
            values=None if self.values is None else self.values.to(device),
        )

    def class_counts(self, n_classes: int) -> tuple[int, ...]:
        """Return the number of windows of each class."""
        return tuple(int(count) for count in torch.bincount(self.labels, minlength=n_classes).tolist())


@dataclass(frozen=True, eq=False)
class Fold:
    """Training and validation windows of one fold.

    Attributes:
        train: training windows, scaled by the mean and the standard deviation of their own rows; raw if from DataLoaders.
        validation: validation windows with the same scaling. Validation windows come after the training windows. In
            combinatorial folds, some come before training windows.
        value_mean, value_std: mean and standard deviation of the training windows' values in the target's units; 0 and 1
            without regression.
    """

    train: Windows
    validation: Windows
    value_mean: float
    value_std: float


def on_device(folds: Sequence[Fold], device: torch.device) -> tuple[Fold, ...]:
    """Return the folds with their tensors on ``device``; a series that is part of several folds is copied only once."""
    copies: dict[int, Tensor] = {}

    def moved(windows: Windows) -> Windows:
        placed = windows.to(device, series=copies.get(id(windows.series)))
        copies[id(windows.series)] = placed.series
        return placed

    return tuple(replace(fold, train=moved(fold.train), validation=moved(fold.validation)) for fold in folds)


def without_other_rows(*parts: Windows) -> tuple[Windows, ...]:
    """Return the windows over a shorter series that has only the rows that these windows use. All ``parts`` share one series.

    If the windows use every row of the series, they are returned unchanged without a copy.
    """
    series, kept = parts[0].series, rows_of(*parts)
    if bool(kept.all()):
        return parts
    place = (kept.cumsum(0) - 1).to(series.device)
    smaller = series[kept.to(series.device)]
    return tuple(replace(windows, series=smaller, starts=place[windows.starts]) for windows in parts)


def rows_of(*parts: Windows) -> Tensor:
    """Return which rows of the series are part of a window: bool ``(rows,)``, on the CPU. All ``parts`` share one series."""
    read = torch.zeros(len(parts[0].series) + 1, dtype=torch.int64)
    for windows in parts:  # +1 where a window begins, −1 after it ends
        one = torch.ones(len(windows), dtype=torch.int64)
        read.index_add_(0, windows.starts.cpu(), one)
        read.index_add_(0, windows.starts.cpu() + windows.lookback, -one)
    return read.cumsum(0)[:-1] > 0


def _names_at(names: NDArray[np.str_], index: NDArray[np.int64]) -> NDArray[np.str_]:
    """Return the names at the positions ``index``. A single broadcast name is not copied."""
    return np.broadcast_to(names[:1], len(index)) if names.strides == (0,) else names[index]
