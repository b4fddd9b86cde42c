"""Interface of the baselines, which compute class probabilities for windows."""

import abc
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.market_history import MarketHistory

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

UNKNOWN = -1
"""Value in ``last_labels`` for a window whose symbol has no earlier known label."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Sample of windows for the baselines.

    Attributes:
        inputs: ``(windows, lookback, features)`` scaled features.
        labels: ``(windows,)`` true classes.
        last_labels: ``(windows,)`` last class of the same symbol that is known when the window ends, or :data:`UNKNOWN`;
            see :func:`.known_labels.earlier_windows`.
        recent: ``(windows, spans, classes)`` counts of each class among the last labels that are known when the window ends,
            see :func:`.known_labels.recent_counts`; None: the order of the windows is unknown.
        values: ``(windows,)`` true values of the regression target; None without regression.
        last_values: ``(windows,)`` last value of the same symbol that is known when the window ends, NaN if no value is known;
            None: no regression, or the order of the windows is unknown.
        market: facts about the bars, with a row for each bar; None: the windows do not come from bars.
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
        """Return a part of the windows as a sample, without a copy."""
        chosen: dict[str, Any] = {
            each.name: None if (values := getattr(self, each.name)) is None else values[rows]
            for each in fields(self)
            if each.name != "market"
        }
        return replace(self, **chosen)

    @property
    def bars(self) -> tuple[MarketHistory, NDArray[np.int64]] | None:
        """Facts about the bars, and the last row of each window in them; None if the windows do not come from bars."""
        return None if self.market is None or self.rows is None else (self.market, self.rows)


class Baseline(abc.ABC):
    """Base class of a classifier that is fitted on training windows.

    The classifier may select its options on validation windows.
    """

    name: str
    value_name: str
    """Name of the baseline's forecast of values. The name is needed if :meth:`values` returns forecasts."""

    package: ClassVar[str | None] = None
    """Name of an optional package that the baseline needs; None if it needs none."""
    extra: ClassVar[str] = ""
    """Extra of this project that installs the package."""

    @classmethod
    def is_installed(cls) -> bool:
        """Return True if the optional package is installed, or if the baseline needs no package."""
        return cls.package is None or find_spec(cls.package) is not None

    @classmethod
    def lacks(cls, sample: Sample) -> str | None:
        """Return a noun for data that the baseline needs and the windows do not have, such as ``bars``.

        Return None if no data are missing.
        """
        return None

    @abc.abstractmethod
    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """Fit the baseline on windows.

        Args:
            train: training windows. A class may have no window.
            validation: validation windows, on which the baseline selects its options.
            n_classes: number of classes.
            seed: seed of the baseline's random choices.
        """

    @abc.abstractmethod
    def probabilities(self, sample: Sample) -> Floats:
        """Return the class probabilities ``(windows, n_classes)`` for a sample.

        The labels and values to be predicted are not used.
        """

    def values(self, sample: Sample) -> Floats | None:
        """Return forecasts of the regression target ``(windows,)`` in the target's units; None if the baseline has none."""
        return None


def base_rates(labels: Labels, n_classes: int) -> Floats:
    """Return the share of each class among the labels, ``(n_classes,)``.

    One is added to each count (Laplace), so no share is 0.
    """
    counts = np.bincount(labels, minlength=n_classes) + 1.0
    return np.asarray(counts / counts.sum())


def spread(probabilities: NDArray[np.floating], classes: NDArray[np.int64], rates: Floats) -> Floats:
    """Extend the probabilities of the classes in training to all classes.

    A class without training windows gets its base rate.
    """
    missing = np.setdiff1d(np.arange(len(rates)), classes)
    found = np.empty((len(probabilities), len(rates)))
    found[:, classes] = probabilities * (1 - rates[missing].sum())
    found[:, missing] = rates[missing]
    return found


def is_own(name: str) -> bool:
    """Return True if a baseline is a user's own baseline. Its name is module:function, and no other name has a colon."""
    return ":" in name
