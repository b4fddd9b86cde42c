"""Interface of the baselines, which map windows to class probabilities."""

import abc
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.market_history import MarketHistory

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

UNKNOWN = -1
"""Marks, in ``last_labels``, a window whose symbol has no earlier known label."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Windows for the baselines.

    Attributes:
        inputs: ``(windows, lookback, features)`` scaled features.
        labels: ``(windows,)`` true classes.
        last_labels: ``(windows,)`` last class of the same symbol that is known when the window ends, or :data:`UNKNOWN`;
            see :func:`.known_labels.earlier_windows`.
        recent: ``(windows, spans, classes)`` counts of the classes that are known when the window ends, see
            :func:`.known_labels.recent_counts`; None: the order of the windows is unknown.
        values: ``(windows,)`` true values of the regression target; None: no regression.
        last_values: ``(windows,)`` last value of the same symbol that is known when the window ends, NaN if no value is known;
            None: no regression, or the order of the windows is unknown.
        market: facts about the bars, row by row; None: the windows do not come from bars.
        rows: ``(windows,)`` last row of each window in ``market``; None without ``market``.
    """

    inputs: Inputs
    labels: Labels
    last_labels: Labels
    recent: NDArray[np.int32] | None = None
    values: Floats | None = None
    last_values: Floats | None = None
    market: MarketHistory | None = None
    rows: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice) -> "Sample":
        """Return some of the windows, without a copy."""
        chosen: dict[str, Any] = {
            each.name: None if (values := getattr(self, each.name)) is None else values[rows]
            for each in fields(self)
            if each.name != "market"
        }
        return replace(self, **chosen)

    @property
    def bars(self) -> tuple[MarketHistory, NDArray[np.int64]] | None:
        """The market and the last row of each window in it; None if the windows do not come from bars."""
        return None if self.market is None or self.rows is None else (self.market, self.rows)


class Baseline(abc.ABC):
    """A classifier fitted on training windows; it may select its options on validation windows."""

    name: str
    value_name: str
    """Name of the forecast of values; needed if :meth:`values` returns forecasts."""

    @classmethod
    def missing(cls) -> str | None:
        """Return the name of a missing package and the command that installs it; None if no package is missing."""
        return None

    @classmethod
    def lacks(cls, sample: Sample) -> str | None:
        """Return a noun for what the baseline needs and the windows lack, such as ``bars``; None if nothing is missing."""
        return None

    @abc.abstractmethod
    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """Fit the baseline.

        Args:
            train: training windows; a class may be missing.
            validation: validation windows, on which the baseline selects its options.
            n_classes: number of classes.
            seed: seed of random choices.
        """

    @abc.abstractmethod
    def probabilities(self, sample: Sample) -> Floats:
        """Return class probabilities ``(windows, n_classes)``, without using the labels and values of the sample."""

    def values(self, sample: Sample) -> Floats | None:
        """Return forecasts of the regression target ``(windows,)`` in its units; None if the baseline has no forecasts."""
        return None


def base_rates(labels: Labels, n_classes: int) -> Floats:
    """Return the share of each class in the labels, ``(n_classes,)``; each count is raised by one (Laplace), so no share is 0."""
    counts = np.bincount(labels, minlength=n_classes) + 1.0
    return np.asarray(counts / counts.sum())


def spread(probabilities: NDArray[np.floating], classes: NDArray[np.int64], rates: Floats) -> Floats:
    """Extend probabilities of the training classes to all classes; a class missing in training gets its base rate."""
    missing = np.setdiff1d(np.arange(len(rates)), classes)
    found = np.empty((len(probabilities), len(rates)))
    found[:, classes] = probabilities * (1 - rates[missing].sum())
    found[:, missing] = rates[missing]
    return found
