"""The Gaussian process: gradients by finite differences, predictions against scikit-learn's, and scales that change nothing."""

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel

from cnn_lstm_hyperopt.search.samplers.gp.regression import (
    JITTER,
    LENGTH_BOUNDS,
    NOISE_BOUNDS,
    Hyperparameters,
    Posterior,
    _negative_log_posterior,
    fit,
    length_prior,
    matern,
    standard,
)

AXIS_OF_COLUMN = np.array([0, 1, 2, 2, 2])
"""Two numbers and a choice of three."""


@pytest.fixture
def data():
    """Thirty rows; the first axis matters most, the second not at all."""
    generator = np.random.default_rng(3)
    numbers, choice = generator.random((30, 2)), generator.integers(3, size=30)
    features = np.column_stack([numbers, (choice[:, None] == np.arange(3)) * math.sqrt(0.5)])
    targets = np.sin(5 * numbers[:, 0]) + 0.3 * choice + 0.05 * generator.normal(size=30)
    return features, targets, generator.uniform(0, 0.1, 30)


def squares_of(features):
    squares = np.zeros((3, len(features), len(features)))
    for column, axis in enumerate(AXIS_OF_COLUMN):
        squares[axis] += (features[:, column, None] - features[:, column]) ** 2
    return squares.reshape(3, -1)


# ---------------------------------------------------------------------- the kernel


def test_the_kernel_is_scikit_learns(data):
    features = data[0]
    np.testing.assert_allclose(matern(features[:10], features), Matern(nu=2.5)(features[:10], features), atol=1e-12)


def test_the_kernel_in_closed_form():
    d = 0.7
    expected = (1 + math.sqrt(5) * d + 5 / 3 * d * d) * math.exp(-math.sqrt(5) * d)
    assert matern(np.array([[0.2]]), np.array([[0.9]]))[0, 0] == pytest.approx(expected)
    assert matern(np.array([[0.2, 0.4]]), np.array([[0.2, 0.4]]))[0, 0] == pytest.approx(1.0)


# ---------------------------------------------------------------------- fitting


@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_is_that_of_finite_differences(data, seed):
    features, targets, variances = data
    generator = np.random.default_rng(seed)
    theta = generator.uniform([-1.5, -1.5, -1.5, -6], [1.5, 1.5, 1.5, -1])
    y, squares = (targets - targets.mean()) / targets.std(), squares_of(features)

    def value(at):
        return _negative_log_posterior(at, squares, y, variances)[0]

    gradient = _negative_log_posterior(theta, squares, y, variances)[1]
    numeric = approx_fprime(theta, value, 1e-6)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-3, atol=1e-3)


def test_the_value_is_the_likelihood_with_the_best_signal_variance_and_the_priors(data):
    """Concentrated: no other signal variance is likelier."""
    features, targets, variances = data
    y, theta = (targets - targets.mean()) / targets.std(), np.array([0.3, -0.2, 0.5, -3.0])
    scaled = features * np.exp(-theta[:-1])[AXIS_OF_COLUMN]
    K = Matern(nu=2.5)(scaled) + np.diag(math.exp(theta[-1]) + variances + JITTER)

    def minus_log_likelihood(signal):
        covariance = signal * K
        return 0.5 * y @ np.linalg.solve(covariance, y) + 0.5 * np.linalg.slogdet(covariance)[1]

    best = y @ np.linalg.solve(K, y) / len(y)
    assert all(minus_log_likelihood(best) < minus_log_likelihood(best * factor) for factor in (0.9, 1.1))
    prior = 0.5 * 0.3 * (((theta[:-1] - length_prior(3)) / 1.5) ** 2).sum() + 0.5 * ((theta[-1] + 5.0) / 3.0) ** 2
    expected = minus_log_likelihood(best) - 0.5 * len(y) + prior
    assert _negative_log_posterior(theta, squares_of(features), y, variances)[0] == pytest.approx(expected)


def test_fitting_finds_which_axes_matter_and_stays_within_bounds(data):
    features, targets, _ = data
    y = (targets - targets.mean()) / targets.std()
    found = fit(features, y, np.zeros(30), AXIS_OF_COLUMN, Hyperparameters.initial(3), steps=60)
    assert found.log_lengths[0] < found.log_lengths[1] - 0.5
    assert (found.log_lengths >= LENGTH_BOUNDS[0]).all()
    assert (found.log_lengths <= LENGTH_BOUNDS[1]).all()
    assert NOISE_BOUNDS[0] <= found.log_noise <= NOISE_BOUNDS[1]


def test_fitting_does_not_make_things_worse_and_more_steps_make_them_better(data):
    features, targets, variances = data
    y, start = (targets - targets.mean()) / targets.std(), Hyperparameters.initial(3)

    def value(h):
        return _negative_log_posterior(np.append(h.log_lengths, h.log_noise), squares_of(features), y, variances)[0]

    values = [value(fit(features, y, variances, AXIS_OF_COLUMN, start, steps=steps)) for steps in (1, 8, 60)]
    assert value(start) > values[0] > values[1] >= values[2]


def test_fitting_begins_where_it_is_told_to(data):
    features, targets, variances = data
    y = (targets - targets.mean()) / targets.std()
    best = fit(features, y, variances, AXIS_OF_COLUMN, Hyperparameters.initial(3), steps=200)
    again = fit(features, y, variances, AXIS_OF_COLUMN, best, steps=8)
    np.testing.assert_allclose(again.log_lengths, best.log_lengths, atol=0.02)


@pytest.mark.parametrize("targets", [np.zeros(12), np.full(12, 1e-300), np.repeat([-1.0, 1.0], 6)])
def test_targets_that_are_alike_and_rows_that_are_doubled_can_be_fitted(targets):
    features = np.zeros((12, 5))
    found = fit(features, targets, np.zeros(12), AXIS_OF_COLUMN, Hyperparameters.initial(3), steps=15)
    assert np.isfinite([*found.log_lengths, found.log_noise]).all()
    mean, sd = Posterior(features, targets, np.zeros(12), AXIS_OF_COLUMN, found).predict(np.ones((2, 5)))
    assert np.isfinite(mean).all()
    assert (sd > 0).all()


@pytest.mark.parametrize("n_axes", [1, 4, 36])
def test_the_prior_of_a_length_scale_grows_with_the_root_of_the_axes(n_axes):
    assert math.exp(length_prior(n_axes)) == pytest.approx(math.sqrt(n_axes))
    np.testing.assert_allclose(Hyperparameters.initial(n_axes).log_lengths, np.full(n_axes, length_prior(n_axes)))


# ---------------------------------------------------------------------- predicting


HYPERPARAMETERS = Hyperparameters(np.array([-0.7, 0.4, 0.9]), -4.0)


def test_predictions_are_scikit_learns_with_the_same_hyperparameters(data):
    """It knows no variance of a single row but through ``alpha``, and no standard deviation of the function alone."""
    features, targets, variances = data
    new = np.random.default_rng(4).random((20, 5))
    mean, sd = Posterior(features, targets, variances, AXIS_OF_COLUMN, HYPERPARAMETERS).predict(new)

    center, scale = targets.mean(), targets.std()
    y = (targets - center) / scale
    lengths = np.exp(HYPERPARAMETERS.log_lengths)[AXIS_OF_COLUMN]
    noise = math.exp(HYPERPARAMETERS.log_noise) + variances / scale**2 + JITTER
    K = Matern(lengths, nu=2.5)(features) + np.diag(noise)
    signal = y @ np.linalg.solve(K, y) / len(y)
    peer = GaussianProcessRegressor(signal * Matern(lengths, nu=2.5), alpha=signal * noise, optimizer=None)
    expected_mean, expected_sd = peer.fit(features, y).predict(new, return_std=True)
    np.testing.assert_allclose(mean, center + scale * expected_mean, atol=1e-6)
    np.testing.assert_allclose(sd, scale * expected_sd, rtol=1e-4, atol=1e-6)


def test_common_noise_is_scikit_learns_white_kernel(data):
    features, targets, _ = data
    y = (targets - targets.mean()) / targets.std()
    mean, _ = Posterior(features, y, np.zeros(30), AXIS_OF_COLUMN, HYPERPARAMETERS).predict(features)
    lengths = np.exp(HYPERPARAMETERS.log_lengths)[AXIS_OF_COLUMN]
    kernel = Matern(lengths, nu=2.5) + WhiteKernel(math.exp(HYPERPARAMETERS.log_noise))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer = GaussianProcessRegressor(kernel, alpha=JITTER, optimizer=None).fit(features, y)
    np.testing.assert_allclose(mean, peer.predict(features), atol=1e-6)


@pytest.mark.parametrize(("scale", "offset"), [(1000.0, 0.0), (1e-4, 5.0), (-1.0, 0.0), (3.0, -1e4)])
def test_targets_in_other_units_are_predicted_in_them(data, scale, offset):
    features, targets, variances = data
    new = np.random.default_rng(4).random((20, 5))
    mean, sd = Posterior(features, targets, variances, AXIS_OF_COLUMN, HYPERPARAMETERS).predict(new)
    other = Posterior(features, scale * targets + offset, scale**2 * variances, AXIS_OF_COLUMN, HYPERPARAMETERS)
    other_mean, other_sd = other.predict(new)
    np.testing.assert_allclose(other_mean, scale * mean + offset, rtol=1e-6, atol=1e-6 * abs(scale))
    np.testing.assert_allclose(other_sd, abs(scale) * sd, rtol=1e-5)


def test_what_was_seen_without_noise_is_known_and_what_is_far_away_is_not(data):
    features, targets, _ = data
    quiet = Hyperparameters(np.full(3, -0.5), -9.0)
    posterior = Posterior(features, targets, np.zeros(30), AXIS_OF_COLUMN, quiet)
    mean, sd = posterior.predict(features)
    np.testing.assert_allclose(mean, targets, atol=0.05)
    assert sd.max() < 0.05
    far_mean, far_sd = posterior.predict(np.full((1, 5), 1e3))
    assert far_mean[0] == pytest.approx(targets.mean())
    assert far_sd[0] > 10 * sd.max()


def test_an_unsure_target_counts_for_less(data):
    """The same row read twice: the mean lies where the sure reading is."""
    features, targets, _ = data
    doubled, both = np.vstack([features, features[:1]]), np.append(targets, targets[0] + 1.0)
    variances = np.zeros(31)
    believed = []
    for variance in (0.0, 100.0):
        variances[-1] = variance
        mean, _ = Posterior(doubled, both, variances, AXIS_OF_COLUMN, HYPERPARAMETERS).predict(features[:1])
        believed.append(mean[0])
    alone, _ = Posterior(features, targets, np.zeros(30), AXIS_OF_COLUMN, HYPERPARAMETERS).predict(features[:1])
    assert abs(believed[0] - alone[0]) > 0.3
    assert abs(believed[1] - alone[0]) < 0.1


def test_standard_is_mean_and_deviation_and_one_where_there_is_none():
    assert standard(np.array([1.0, 3.0])) == (2.0, 1.0)
    assert standard(np.array([4.0, 4.0, 4.0])) == (4.0, 1.0)
    assert standard(np.array([4.0, 4.0 + 1e-12])) == (pytest.approx(4.0), 1.0)
