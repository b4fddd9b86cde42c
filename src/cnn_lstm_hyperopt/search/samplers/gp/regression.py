"""Gaussian process regression in numpy, with features in the unit cube (Rasmussen & Williams 2006, chapters 2 and 5)."""

import copy
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Array = NDArray[np.float64]

LENGTH_BOUNDS, NOISE_BOUNDS = (-3.0, 3.5), (-9.0, 0.0)
"""Lower and upper bound of the ln length scale, and lower and upper bound of the ln noise variance."""
LENGTH_PRIOR_SD, LENGTH_PRIOR_WEIGHT = 1.5, 0.3
NOISE_PRIOR = (-5.0, 3.0)
"""Mean and standard deviation of the normal prior on ln noise variance."""
JITTER = 1e-8
MIN_SIGNAL = 1e-12
"""Signal variance that is assumed for constant targets."""


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of a Matérn 5/2 kernel.

    Attributes:
        log_lengths: ln length scale of each axis, shape ``(axes,)``.
        log_noise: ln of the ratio of noise variance to signal variance.
    """

    log_lengths: Array
    log_noise: float

    @classmethod
    def initial(cls, n_axes: int) -> "Hyperparameters":
        """Return the hyperparameters at which the first fit starts."""
        return cls(np.full(n_axes, length_prior(n_axes)), NOISE_PRIOR[0])


def length_prior(n_axes: int) -> float:
    """Return the mean of the normal prior on ln length scale: half the logarithm of the number of axes.

    Distances grow with the square root of the number of axes. If the prior ignored the number of axes, the points of a large
    space would be uncorrelated (Hvarfner, Hellsten & Nardi 2024, arXiv 2402.02229).
    """
    return 0.5 * math.log(max(1, n_axes))


def fit(
    features: Array,
    targets: Array,
    variances: Array,
    axis_of_column: NDArray[np.int64],
    start: Hyperparameters,
    *,
    steps: int,
) -> Hyperparameters:
    """Return the maximum a posteriori estimate of the hyperparameters, computed by L-BFGS.

    The signal variance has the closed form y' K⁻¹ y / n, with the n targets y and their kernel matrix K.

    Args:
        features: shape ``(rows, columns)``.
        targets: shape ``(rows,)``, standardised.
        variances: variance of each target in addition to the common noise, shape ``(rows,)``.
        axis_of_column: index of the axis of each feature column, shape ``(columns,)``.
        start: initial hyperparameters.
        steps: maximum number of iterations.
    """
    n_axes = len(start.log_lengths)
    squares = np.zeros((n_axes, len(features), len(features)))
    for column, axis in enumerate(axis_of_column):
        difference = features[:, column, None] - features[:, column]
        squares[axis] += difference * difference
    flat = squares.reshape(n_axes, -1)

    def objective(theta: Array) -> tuple[float, Array]:
        return _negative_log_posterior(theta, flat, targets, variances)

    bounds = [LENGTH_BOUNDS] * n_axes + [NOISE_BOUNDS]
    found = minimize(
        objective,
        np.append(start.log_lengths, start.log_noise),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": steps},
    )
    return Hyperparameters(found.x[:-1], float(found.x[-1]))


def _negative_log_posterior(theta: Array, squares: Array, y: Array, variances: Array) -> tuple[float, Array]:
    """Return the negative log posterior, without constants, and its gradient.

    With n targets y, kernel matrix K and signal variance s² = y' K⁻¹ y / n, −log likelihood = n/2 ln s² + ½ ln |K| + constant.
    """
    n = len(y)
    inverse_squares = np.exp(-2 * theta[:-1])
    r2 = (inverse_squares @ squares).reshape(n, n)
    r = np.sqrt(5 * r2)
    decay = np.exp(-r)
    noise = math.exp(theta[-1])
    K = (1 + r + r * r / 3) * decay
    K[np.diag_indices(n)] += noise + variances + JITTER
    L = cholesky(K, lower=True, check_finite=False)
    alpha = cho_solve((L, True), y, check_finite=False)
    signal = max(float(y @ alpha) / n, MIN_SIGNAL)
    value = 0.5 * n * math.log(signal) + float(np.log(np.diag(L)).sum())
    inverse = cho_solve((L, True), np.eye(n), check_finite=False)
    weights = 0.5 * (inverse - np.outer(alpha, alpha) / signal)  # d value / d K
    # d k / d ln l_a = 5/3 (1 + r) e^{-r} d_a² / l_a²
    chain = (weights * (5 / 3) * (1 + r) * decay).ravel()
    gradient = np.append((squares @ chain) * inverse_squares, float(np.trace(weights)) * noise)
    for prior, mean, sd, weight in (
        (slice(None, -1), length_prior(len(theta) - 1), LENGTH_PRIOR_SD, LENGTH_PRIOR_WEIGHT),
        (slice(-1, None), *NOISE_PRIOR, 1.0),
    ):
        z = (theta[prior] - mean) / sd
        value += 0.5 * weight * float(z @ z)
        gradient[prior] += weight * z / sd
    return value, gradient


class Posterior:
    """Posterior distribution of a Gaussian process after observing targets at features.

    Args:
        features: shape ``(rows, columns)``.
        targets: shape ``(rows,)``, on any scale.
        variances: variance of each target in addition to the common noise, shape ``(rows,)``.
        axis_of_column: index of the axis of each feature column, shape ``(columns,)``.
        hyperparameters: hyperparameters of the kernel.
    """

    def __init__(
        self,
        features: Array,
        targets: Array,
        variances: Array,
        axis_of_column: NDArray[np.int64],
        hyperparameters: Hyperparameters,
    ) -> None:
        self._mean, self._sd = standard(targets)
        self._scale = np.exp(-hyperparameters.log_lengths)[axis_of_column]
        self._rows = features * self._scale
        y = (targets - self._mean) / self._sd
        K = matern(self._rows, self._rows)
        noise = math.exp(hyperparameters.log_noise)
        K[np.diag_indices(len(y))] += noise + variances / self._sd**2 + JITTER
        self._L = cholesky(K, lower=True, check_finite=False)
        self._alpha = cho_solve((self._L, True), y, check_finite=False)
        self._signal = max(float(y @ self._alpha) / len(y), MIN_SIGNAL)
        self._noise = noise
        self._pending: tuple[Array, Array, Array] | None = None

    @property
    def noise_sd(self) -> float:
        """Standard deviation of the common noise of the targets."""
        return float(self._sd * math.sqrt(self._signal * self._noise))

    def with_pending(self, features: Array) -> "Posterior":
        """Return the posterior that has also observed its own mean at these points, whose true values are not known yet.

        The mean stays the same, and the standard deviation near the points shrinks (Kriging believer of Ginsbourger, Le Riche &
        Carraro 2010). So the Cholesky factor of the extended kernel matrix is sufficient, which is computed blockwise.

        Args:
            features: shape ``(points, columns)``.
        """
        rows = features * self._scale
        below = solve_triangular(self._L, matern(self._rows, rows), lower=True, check_finite=False).T
        block = matern(rows, rows) - below @ below.T
        block[np.diag_indices(len(rows))] += self._noise + JITTER
        extended = copy.copy(self)
        extended._pending = rows, below, cholesky(block, lower=True, check_finite=False)
        return extended

    def predict_mean(self, features: Array) -> Array:
        """Return the mean of the noise-free function at new points, shape ``(points,)``."""
        return np.asarray(self._mean + self._sd * (matern(self._rows, features * self._scale).T @ self._alpha))

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Return the mean and standard deviation of the noise-free function at new points, each of shape ``(points,)``."""
        k = matern(self._rows, features * self._scale)
        mean = k.T @ self._alpha
        v = solve_triangular(self._L, k, lower=True, check_finite=False)
        explained = np.einsum("ij,ij->j", v, v)
        if self._pending is not None:
            rows, below, factor = self._pending
            rest = matern(rows, features * self._scale) - below @ v
            v = solve_triangular(factor, rest, lower=True, check_finite=False)
            explained += np.einsum("ij,ij->j", v, v)
        variance = self._signal * np.maximum(1 - explained, 1e-10)
        return self._mean + self._sd * mean, self._sd * np.sqrt(variance)


def standard(targets: Array) -> tuple[float, float]:
    """Return the mean and the standard deviation of targets; for constant targets, return 1 as the standard deviation."""
    sd = float(targets.std())
    return float(targets.mean()), sd if sd > 1e-9 else 1.0


def matern(a: Array, b: Array) -> Array:
    """Return the Matérn 5/2 kernel with length scale 1, shape ``(rows of a, rows of b)``.

    The kernel is (1 + √5 d + 5/3 d²) e^{−√5 d}, with the distance d between two rows.
    """
    r = a @ b.T
    r *= -2
    r += (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)
    np.sqrt(5 * np.maximum(r, 0.0, out=r), out=r)
    decay = np.exp(-r)
    decay *= 1 + r + r * r / 3
    return np.asarray(decay)
