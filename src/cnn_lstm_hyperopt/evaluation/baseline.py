"""What a baseline is: windows in, class probabilities out."""

import abc
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

UNKNOWN = -1
"""Last label of a window before which none is known."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Windows as the baselines read them.

    Attributes:
        inputs: ``(windows, lookback, features)`` scaled.
        labels: ``(windows,)`` classes.
        last_labels: ``(windows,)`` the class that was last known for the same symbol when the window ended, or :data:`UNKNOWN`;
            see :func:`earlier_windows`.
    """

    inputs: Inputs
    labels: Labels
    last_labels: Labels


class Baseline(abc.ABC):
    """Learns from training windows, may choose on validation, gives class probabilities."""

    name: str

    @classmethod
    def missing(cls) -> str | None:
        """What the baseline needs that is not installed, with the command that installs it; None: nothing."""
        return None

    @abc.abstractmethod
    def fit(self, train: Sample, validation: Sample, *, n_classes: int, seed: int) -> None:
        """Learns.

        Args:
            train: windows to learn from; a class may be missing.
            validation: windows to choose on.
            n_classes: of the probabilities.
            seed: where chance has a part.
        """

    @abc.abstractmethod
    def probabilities(self, sample: Sample) -> Floats:
        """Class probabilities ``(windows, n_classes)``, from inputs and last labels; the sample's labels are not looked at."""


def base_rates(labels: Labels, n_classes: int) -> Floats:
    """Shares ``(n_classes,)`` of the classes, each counted once more than it is there (Laplace), so that none is impossible."""
    counts = np.bincount(labels, minlength=n_classes) + 1.0
    return np.asarray(counts / counts.sum())


def spread(said: NDArray[np.floating], classes: NDArray[np.int64], rates: Floats) -> Floats:
    """Probabilities of the classes of training → of all: those that training lacks get their base rate."""
    missing = np.setdiff1d(np.arange(len(rates)), classes)
    found = np.empty((len(said), len(rates)))
    found[:, classes] = said * (1 - rates[missing].sum())
    found[:, missing] = rates[missing]
    return found
