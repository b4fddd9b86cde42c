"""Interface of the baselines, which map windows to class probabilities."""

import abc
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
            see :func:`earlier_windows`.
    """

    inputs: Inputs
    labels: Labels
    last_labels: Labels


class Baseline(abc.ABC):
    """A classifier fitted on training windows; it may select its options on validation windows."""

    name: str

    @classmethod
    def missing(cls) -> str | None:
        """Return the name of a missing package and the command that installs it; None if no package is missing."""
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
        """Return class probabilities ``(windows, n_classes)`` from inputs and last labels, without using the labels."""


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
