"""Access to private parts of the cmaes package (distribution and draws). No other module uses private parts of this package."""

from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.errors import HyperoptError

Array = NDArray[np.float64]

_SUPPORTED = "0.13."


class Distribution(NamedTuple):
    """Normal distribution of the real numbers and integers.

    Attributes:
        mean: mean of the distribution, shape ``(numbers,)``.
        scales: step size of each number, shape ``(numbers,)``.
        covariance: covariance of the numbers after division by their step sizes, shape ``(numbers, numbers)``.
        has_seen_spread: True if the losses differed within at least one generation; otherwise, the package computes NaN.
    """

    mean: Array
    scales: Array
    covariance: Array
    has_seen_spread: bool


def require_supported() -> None:
    """Raise HyperoptError if the installed version of cmaes is not supported, since its private parts may differ."""
    if not version("cmaes").startswith(_SUPPORTED):
        text = f"cmaes {version('cmaes')} is not supported; install cmaes>=0.13.1,<0.14"
        raise HyperoptError(text, field="cmaes", code="unsupported-version")


def distribution_of(optimiser: Any) -> Distribution:
    """Return the current normal distribution of a CatCMAwM optimiser of the cmaes package."""
    return Distribution(optimiser._mean, optimiser._sigma * optimiser._A, optimiser._C, bool(optimiser._iqhist_values))


def axes_of(optimiser: Any) -> tuple[Array, Array]:
    """Return the eigenvectors of the distribution's covariance, and the standard deviation along each eigenvector."""
    axes, lengths = optimiser._eigen_decomposition()
    return axes, lengths


def numbers_of(solution: Any) -> list[float]:
    """Return the real numbers and integers of a draw before rounding; the distribution is updated with these and the choices."""
    return [float(number) for number in solution._v_raw]


def solution_of(numbers: Array | None, choices: Array | None) -> Any:
    """Return the package's solution object with these numbers (before rounding) and one-hot choices."""
    from cmaes import CatCMAwM

    return CatCMAwM.Solution(c=choices, _v_raw=numbers)
