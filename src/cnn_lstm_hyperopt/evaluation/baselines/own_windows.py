"""Windows in the form that a user's baseline gets."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.labels import RANGE_FLOOR
from cnn_lstm_hyperopt.evaluation.baselines.quantiles import Floats, barrier_probabilities, interval_probabilities

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
"""Columns of :meth:`BaselineWindows.bars`, in order."""


@dataclass(frozen=True, eq=False)
class BaselineWindows:
    """Windows for a user's baseline.

    All facts about a window are known at its last bar, except ``labels`` and ``values``.

    Attributes:
        labels: ``(windows,)`` int64 true classes. None: the windows are to be forecast.
        values: ``(windows,)`` float64 true values of the regression target. None: the windows are to be forecast, or there is no
            regression target.
        dates: ``(windows,)`` dates of the windows' last bars, datetime64[ns]. Windows of DataLoaders without dates have window
            numbers.
        symbols: ``(windows,)`` names of the windows' symbols.
        edges: ``(windows, classes − 1)`` values of the regression target that separate the classes, ascending. None: the windows
            come from DataLoaders.
        class_names: names of classes 0, 1, …
        feature_names: names of the columns of ``inputs``.
        value_name: formula of the regression target; None without regression.
        target: ``direction``, ``volatility``, ``triple_barrier``, or the label of DataLoaders.
        lookback: number of bars in a window.
        horizon: number of bars from a window's last bar to the end of its label.
        seed: seed for random choices. The same seed must give the same forecasts.
    """

    labels: NDArray[np.int64] | None
    values: Floats | None
    dates: NDArray[Any]
    symbols: NDArray[np.str_]
    edges: Floats | None
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...]
    value_name: str | None
    target: str
    lookback: int
    horizon: int
    seed: int
    _starts: NDArray[np.int64]
    _series: NDArray[np.float32]
    _segment: NDArray[np.int64] | None = None
    _prices: NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self._starts)

    def __repr__(self) -> str:
        shape = f"{len(self)} windows of {self.lookback} bars × {len(self.feature_names)} features"
        return f"BaselineWindows({shape}, {self.n_classes} classes)"

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def inputs(self) -> NDArray[np.float32]:
        """Scaled features, ``(windows, lookback, features)`` float32, a new array at each access."""
        rows = self._starts[:, None] + np.arange(self.lookback)
        return np.asarray(self._series[rows])

    @property
    def has_bars(self) -> bool:
        """True if :meth:`bars` is available, which needs windows that come from bars."""
        return self._prices is not None

    def bars(self, length: int) -> NDArray[np.float32]:
        """Return the unscaled bars up to and including each window's last bar.

        ``length`` may be larger than the lookback. The first 33 bars of a segment have no features and are not available.

        Args:
            length: number of bars.

        Returns:
            ``(windows, length, 5)`` float32 open, high, low, close and volume, in order of time. The first rows are NaN if the
            segment of the window has fewer bars.

        Raises:
            ValueError: the windows come from DataLoaders, or ``length`` is below 1.
        """
        if self._prices is None or self._segment is None:
            raise ValueError("windows of DataLoaders have no bars; use inputs")
        if length < 1:
            raise ValueError(f"length must be at least 1, but got {length}")
        last = self._starts + self.lookback - 1
        rows = last[:, None] + np.arange(1 - length, 1)
        there = (rows >= 0) & (self._segment[np.maximum(rows, 0)] == self._segment[last][:, None])
        return np.where(there[:, :, None], self._prices[np.maximum(rows, 0)], np.float32(np.nan))

    @property
    def series_step(self) -> int:
        """Number of steps after the end of :meth:`series` at which a forecast is a forecast of the regression target."""
        return 1 if self.target == "volatility" else self.horizon

    def series(self, length: int) -> Floats:
        """Return a series for each window that a forecasting model continues, such as a zero-shot model.

        The continuation of the series at ``series_step`` is the value of the regression target. (For the target triple_barrier,
        the continuation is ln(C[t+horizon] / C[t]).) For the target volatility, the series is ln(ln(high / low)) of consecutive
        blocks of ``horizon`` bars. For the other targets it is ln(C[s] / C[t]), with the close C and the window's last bar t.

        Args:
            length: number of values.

        Returns:
            ``(windows, length)``, in order of time. The first values are NaN if the segment of the window has too few bars.

        Raises:
            ValueError: see :meth:`bars`.
        """
        if self.target != "volatility":
            closes = self.bars(length)[:, :, 3].astype(np.float64)
            return np.asarray(np.log(closes / closes[:, -1:]))
        blocks = self.bars(length * self.horizon).astype(np.float64).reshape(len(self), length, self.horizon, 5)
        ranges = np.log(blocks[..., 1].max(axis=2) / blocks[..., 2].min(axis=2))
        return np.asarray(np.log(np.maximum(ranges, RANGE_FLOOR)))

    def part(self, rows: slice) -> "BaselineWindows":
        """Return a part of the windows."""
        chosen: dict[str, Any] = {
            name: None if (array := getattr(self, name)) is None else array[rows]
            for name in ("labels", "values", "dates", "symbols", "edges", "_starts")
        }
        return replace(self, **chosen)

    def batches(self, size: int) -> Iterator["BaselineWindows"]:
        """Yield the windows in parts of at most ``size`` windows, in order."""
        for first in range(0, len(self), size):
            yield self.part(slice(first, first + size))

    def class_probabilities(self, levels: Floats, quantiles: Floats) -> Floats:
        """Convert quantile forecasts of the regression target to class probabilities.

        The classes of the targets direction and volatility are intervals of the value, separated by ``edges``. For these targets
        a class probability is the forecast probability of an interval. For the target triple_barrier, the forecast must be about
        ln(C[t+horizon] / C[t]), and the probability of passing a barrier follows from the reflection principle.

        Args:
            levels: ``(levels,)`` ascending levels of the quantiles, at least 2, such as 0.1, 0.2, …, 0.9.
            quantiles: ``(windows, levels)`` forecast quantiles, in the units of the regression target (``value_name``), which are
                those of :meth:`series`.

        Returns:
            ``(windows, classes)``.

        Raises:
            ValueError: the windows come from DataLoaders, or an argument violates a rule above.
        """
        if self.edges is None:
            raise ValueError("windows of DataLoaders have no edges between classes")
        convert = barrier_probabilities if self.target == "triple_barrier" else interval_probabilities
        return convert(levels, quantiles, self.edges)
