"""What the search needs of cmaes beyond its public interface, in one place: its distribution and its draws."""

from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.errors import HyperoptError

Array = NDArray[np.float64]

_SUPPORTED = "0.13."


class Distribution(NamedTuple):
    """The normal distribution of the numbers.

    Attributes:
        mean: shape ``(numbers,)``.
        scales: step size of each number, shape ``(numbers,)``.
        covariance: shape ``(numbers, numbers)``.
        has_seen_spread: whether a generation had losses that differ; the package computes with NaN where none had.
    """

    mean: Array
    scales: Array
    covariance: Array
    has_seen_spread: bool


def require_supported() -> None:
    """Raises HyperoptError: another version of cmaes is installed, whose parts may have other names."""
    if not version("cmaes").startswith(_SUPPORTED):
        text = f"cmaes {version('cmaes')} is not supported; install cmaes>=0.13.1,<0.14"
        raise HyperoptError(text, field="cmaes", code="unsupported-version")


def distribution_of(optimiser: Any) -> Distribution:
    """The present distribution of a CatCMAwM."""
    return Distribution(optimiser._mean, optimiser._sigma * optimiser._A, optimiser._C, bool(optimiser._iqhist_values))


def axes_of(optimiser: Any) -> tuple[Array, Array]:
    """Eigenvectors and standard deviations of the covariance."""
    axes, lengths = optimiser._eigen_decomposition()
    return axes, lengths


def numbers_of(solution: Any) -> list[float]:
    """Numbers of a draw as they were drawn, before they are rounded: all that the package looks at when it is told."""
    return [float(number) for number in solution._v_raw]


def solution_of(numbers: Array | None, choices: Array | None) -> Any:
    """The inverse of :func:`numbers_of`."""
    from cmaes import CatCMAwM

    return CatCMAwM.Solution(c=choices, _v_raw=numbers)
