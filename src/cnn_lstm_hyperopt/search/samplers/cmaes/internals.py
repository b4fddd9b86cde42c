"""Access to private parts of the cmaes package, in one place: its distribution and its draws."""

from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.errors import HyperoptError

Array = NDArray[np.float64]

_SUPPORTED = "0.13."


class Distribution(NamedTuple):
    """Normal distribution of the numbers.

    Attributes:
        mean: shape ``(numbers,)``.
        scales: step size of each number, shape ``(numbers,)``.
        covariance: shape ``(numbers, numbers)``.
        has_seen_spread: whether a generation had different losses; without one the package computes NaN.
    """

    mean: Array
    scales: Array
    covariance: Array
    has_seen_spread: bool


def require_supported() -> None:
    """Raise HyperoptError if another version of cmaes is installed, since its private parts may differ."""
    if not version("cmaes").startswith(_SUPPORTED):
        text = f"cmaes {version('cmaes')} is not supported; install cmaes>=0.13.1,<0.14"
        raise HyperoptError(text, field="cmaes", code="unsupported-version")


def distribution_of(optimiser: Any) -> Distribution:
    """Return the current distribution of a CatCMAwM."""
    return Distribution(optimiser._mean, optimiser._sigma * optimiser._A, optimiser._C, bool(optimiser._iqhist_values))


def axes_of(optimiser: Any) -> tuple[Array, Array]:
    """Return eigenvectors and standard deviations of the covariance."""
    axes, lengths = optimiser._eigen_decomposition()
    return axes, lengths


def numbers_of(solution: Any) -> list[float]:
    """Return the raw numbers of a draw, before rounding; an update uses nothing else of it."""
    return [float(number) for number in solution._v_raw]


def solution_of(numbers: Array | None, choices: Array | None) -> Any:
    """Return the solution with these raw numbers and choices; the inverse of :func:`numbers_of`."""
    from cmaes import CatCMAwM

    return CatCMAwM.Solution(c=choices, _v_raw=numbers)
