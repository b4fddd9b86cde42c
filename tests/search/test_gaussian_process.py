"""Gaussian process: gradients by finite differences, predictions against scikit-learn, invariance to scales."""

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from cnn_lstm_hyperopt.search.samplers.gp import regression
from cnn_lstm_hyperopt.search.samplers.gp.regression import JITTER, Hyperparameters, Posterior, fit, length_prior

AXIS_OF_COLUMN = np.array([0, 1, 2, 2, 2])
"""Two numbers and a choice of three."""
HYPERPARAMETERS = Hyperparameters(np.array([-0.7, 0.4, 0.9]), -4.0)
LENGTHS = np.exp(HYPERPARAMETERS.log_lengths)[AXIS_OF_COLUMN]
NEW = np.random.default_rng(4).random((20, 5))


def random_rows():
    """Thirty rows; the first axis matters most, the second not at all."""
    generator = np.random.default_rng(3)
    numbers, choice = generator.random((30, 2)), generator.integers(3, size=30)
    features = np.column_stack([numbers, (choice[:, None] == np.arange(3)) * math.sqrt(0.5)])
    targets = np.sin(5 * numbers[:, 0]) + 0.3 * choice + 0.05 * generator.normal(size=30)
    return features, targets, generator.uniform(0, 0.1, 30)


FEATURES, TARGETS, VARIANCES = random_rows()
Y = (TARGETS - TARGETS.mean()) / TARGETS.std()


def value_and_gradient(theta):
    squares = np.zeros((3, 30, 30))
    for column, axis in enumerate(AXIS_OF_COLUMN):
        squares[axis] += (FEATURES[:, column, None] - FEATURES[:, column]) ** 2
    return regression._negative_log_posterior(theta, squares.reshape(3, -1), Y, VARIANCES)


def posterior(features=FEATURES, targets=TARGETS, variances=VARIANCES, hyperparameters=HYPERPARAMETERS):
    return Posterior(features, targets, variances, AXIS_OF_COLUMN, hyperparameters)


def test_the_kernel_is_scikit_learns_and_the_closed_form():
    np.testing.assert_allclose(
        regression.matern(FEATURES[:10], FEATURES), Matern(nu=2.5)(FEATURES[:10], FEATURES), atol=1e-12
    )
    expected = (1 + math.sqrt(5) * 0.7 + 5 / 3 * 0.49) * math.exp(-math.sqrt(5) * 0.7)
    assert regression.matern(np.array([[0.2]]), np.array([[0.9]]))[0, 0] == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_is_that_of_finite_differences(seed):
    theta = np.random.default_rng(seed).uniform([-1.5, -1.5, -1.5, -6], [1.5, 1.5, 1.5, -1])
    numeric = approx_fprime(theta, lambda at: value_and_gradient(at)[0], 1e-6)
    np.testing.assert_allclose(value_and_gradient(theta)[1], numeric, rtol=1e-3, atol=1e-3)


def test_the_value_is_the_likelihood_with_the_best_signal_variance_and_the_priors():
    """Concentrated: no other signal variance has a larger likelihood."""
    theta = np.array([0.3, -0.2, 0.5, -3.0])
    scaled = FEATURES * np.exp(-theta[:-1])[AXIS_OF_COLUMN]
    K = Matern(nu=2.5)(scaled) + np.diag(math.exp(theta[-1]) + VARIANCES + JITTER)

    def minus_log_likelihood(signal):
        return 0.5 * Y @ np.linalg.solve(signal * K, Y) + 0.5 * np.linalg.slogdet(signal * K)[1]

    best = Y @ np.linalg.solve(K, Y) / len(Y)
    assert all(minus_log_likelihood(best) < minus_log_likelihood(best * factor) for factor in (0.9, 1.1))
    prior = 0.5 * 0.3 * (((theta[:-1] - length_prior(3)) / 1.5) ** 2).sum() + 0.5 * ((theta[-1] + 5.0) / 3.0) ** 2
    assert length_prior(3) == pytest.approx(math.log(3) / 2)  # the scale grows with the root of the axes
    expected = minus_log_likelihood(best) - 0.5 * len(Y) + prior
    assert value_and_gradient(theta)[0] == pytest.approx(expected)


def test_fitting_finds_the_axes_that_matter_and_stays_within_bounds():
    found = fit(FEATURES, Y, np.zeros(30), AXIS_OF_COLUMN, Hyperparameters.initial(3), steps=60)
    assert found.log_lengths[0] < found.log_lengths[1] - 0.5
    assert (
        regression.LENGTH_BOUNDS[0] <= found.log_lengths.min() <= found.log_lengths.max() <= regression.LENGTH_BOUNDS[1]
    )
    assert regression.NOISE_BOUNDS[0] <= found.log_noise <= regression.NOISE_BOUNDS[1]


@pytest.mark.parametrize("targets", [np.zeros(12), np.full(12, 1e-300), np.repeat([-1.0, 1.0], 6)])
def test_constant_targets_and_duplicate_rows_can_be_fitted(targets):
    features = np.zeros((12, 5))
    found = fit(features, targets, np.zeros(12), AXIS_OF_COLUMN, Hyperparameters.initial(3), steps=15)
    assert np.isfinite([*found.log_lengths, found.log_noise]).all()
    mean, sd = posterior(features, targets, np.zeros(12), found).predict(np.ones((2, 5)))
    assert np.isfinite(mean).all()
    assert (sd > 0).all()


def test_predictions_are_scikit_learns_with_the_same_hyperparameters():
    """There, ``alpha`` is the variance of single rows and not of the function."""
    mean, sd = posterior().predict(NEW)
    scale = TARGETS.std()
    noise = math.exp(HYPERPARAMETERS.log_noise) + VARIANCES / scale**2 + JITTER
    K = Matern(LENGTHS, nu=2.5)(FEATURES) + np.diag(noise)
    signal = Y @ np.linalg.solve(K, Y) / len(Y)
    peer = GaussianProcessRegressor(signal * Matern(LENGTHS, nu=2.5), alpha=signal * noise, optimizer=None)
    expected_mean, expected_sd = peer.fit(FEATURES, Y).predict(NEW, return_std=True)
    np.testing.assert_allclose(mean, TARGETS.mean() + scale * expected_mean, atol=1e-6)
    np.testing.assert_allclose(sd, scale * expected_sd, rtol=1e-4, atol=1e-6)


def test_pending_points_are_observations_of_the_mean():
    """The full kernel matrix of rows and pending points gives the same deviation; the mean does not change."""
    pending = np.random.default_rng(5).random((7, 5))
    before, after = posterior(), posterior().with_pending(pending)
    rows = np.vstack([FEATURES, pending]) / LENGTHS
    extra = np.concatenate([VARIANCES / TARGETS.std() ** 2, np.zeros(7)])
    K = Matern(nu=2.5)(rows) + np.diag(math.exp(HYPERPARAMETERS.log_noise) + JITTER + extra)
    k = Matern(nu=2.5)(rows, NEW / LENGTHS)
    share = 1 - np.einsum("ij,ij->j", k, np.linalg.solve(K, k))
    k_before = k[: len(FEATURES)]
    share_before = 1 - np.einsum("ij,ij->j", k_before, np.linalg.solve(K[: len(FEATURES), : len(FEATURES)], k_before))
    (mean, sd), (mean_after, sd_after) = before.predict(NEW), after.predict(NEW)
    np.testing.assert_array_equal(mean, mean_after)
    np.testing.assert_allclose(sd_after / sd, np.sqrt(share / share_before), rtol=1e-6)
    assert (after.predict(pending)[1] < 0.6 * before.predict(pending)[1]).all()


def test_common_noise_is_scikit_learns_white_kernel():
    mean, _ = posterior(targets=Y, variances=np.zeros(30)).predict(FEATURES)
    kernel = Matern(LENGTHS, nu=2.5) + WhiteKernel(math.exp(HYPERPARAMETERS.log_noise))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = GaussianProcessRegressor(kernel, alpha=JITTER, optimizer=None).fit(FEATURES, Y)
    np.testing.assert_allclose(mean, peer.predict(FEATURES), atol=1e-6)


@pytest.mark.parametrize(("scale", "offset"), [(1000.0, 0.0), (1e-4, 5.0), (-1.0, 0.0), (3.0, -1e4)])
def test_predictions_have_the_units_of_the_targets(scale, offset):
    mean, sd = posterior().predict(NEW)
    other_mean, other_sd = posterior(targets=scale * TARGETS + offset, variances=scale**2 * VARIANCES).predict(NEW)
    np.testing.assert_allclose(other_mean, scale * mean + offset, rtol=1e-6, atol=1e-6 * abs(scale))
    np.testing.assert_allclose(other_sd, abs(scale) * sd, rtol=1e-5)


@pytest.mark.parametrize(("targets", "sd"), [([1.0, 3.0], 1.0), ([2.0, 2.0, 2.0], 1.0), ([2.0, 2.0 + 1e-12], 1.0)])
def test_the_deviation_of_constant_targets_is_one(targets, sd):
    assert regression.standard(np.array(targets)) == (pytest.approx(2.0), pytest.approx(sd))
