"""Temperature scaling against logistic regression, brute force and known temperatures; shrinkage; decisions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from cnn_lstm_hyperopt.evaluation import Dependence, calibration_error
from cnn_lstm_hyperopt.evaluation.temperature import PRIOR_DEVIATION, fit_temperature, tempered

SEEDS = st.integers(0, 10_000)


def drawn(seed, windows, n_classes, temperature=1.0, scale=1.5):
    """Labels and probabilities that are calibrated after division of their logits by ``temperature``."""
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=(windows, n_classes))
    truth = softmax(logits, axis=1)
    labels = (truth.cumsum(axis=1) < rng.random((windows, 1))).sum(axis=1)
    return labels, softmax(temperature * logits, axis=1)


@given(seed=SEEDS, n_classes=st.integers(2, 5), temperature=st.floats(0.2, 5))
@settings(deadline=None, max_examples=30)
def test_tempered_probabilities_are_a_softmax_with_the_same_order(seed, n_classes, temperature):
    logits = 4 * np.random.default_rng(seed).normal(size=(20, n_classes))
    found = tempered(softmax(logits, axis=1), temperature)
    np.testing.assert_allclose(found, softmax(logits / temperature, axis=1), rtol=1e-9)
    np.testing.assert_array_equal(found.argmax(axis=1), logits.argmax(axis=1))
    np.testing.assert_allclose(tempered(found, 1 / temperature), softmax(logits, axis=1), rtol=1e-9)


def test_certain_and_impossible_classes_stay_so():
    extreme = np.array([[1.0, 0.0], [0.5, 0.5], [1e-30, 1.0]], np.float32)
    np.testing.assert_allclose(tempered(extreme, 2.0), [[1, 0], [0.5, 0.5], [1e-15, 1]], rtol=1e-5)


@given(seed=SEEDS, windows=st.integers(30, 300), temperature=st.floats(0.4, 3))
@settings(deadline=None, max_examples=15)
def test_the_temperature_of_two_classes_is_a_penalised_logistic_regression(seed, windows, temperature):
    """With the offset of the prior's mean, by brute force over a grid."""
    labels, probabilities = drawn(seed, windows, 2, temperature)
    found = fit_temperature(labels, probabilities, Dependence.independent(windows))
    grid = np.linspace(0.2, 5, 4801)
    margin = np.log(probabilities[:, 1] / probabilities[:, 0]) * np.where(labels == 1, 1, -1)
    cost = [np.logaddexp(0, -b * margin).sum() + (b - 1) ** 2 / (2 * PRIOR_DEVIATION**2) for b in grid]
    assert 1 / found == pytest.approx(grid[int(np.argmin(cost))], abs=2e-3)


def test_with_many_windows_the_temperature_is_that_of_the_data_and_the_error_becomes_small():
    labels, probabilities = drawn(1, 40_000, 3, 2.0)
    found = fit_temperature(labels, probabilities, Dependence.independent(len(labels)))
    assert found == pytest.approx(2.0, rel=0.02)
    assert calibration_error(labels, probabilities) > 0.1
    assert calibration_error(labels, tempered(probabilities, found)) < 0.01
    binary, two = drawn(2, 40_000, 2, 0.5)
    margin = np.log(two[:, 1:] / two[:, :1])
    slope = LogisticRegression(C=1e6, fit_intercept=False).fit(margin, binary).coef_[0, 0]
    assert 1 / fit_temperature(binary, two, Dependence.independent(len(two))) == pytest.approx(slope, rel=5e-3)


def test_few_or_dependent_windows_leave_the_temperature_near_one():
    labels, probabilities = drawn(3, 400, 2, 2.0)
    alone = fit_temperature(labels, probabilities, Dependence.independent(400))
    copied, said = np.repeat(labels, 10), np.repeat(probabilities, 10, axis=0)
    copies = fit_temperature(copied, said, Dependence.by_group(np.repeat(np.arange(400), 10)))
    assert copies == pytest.approx(alone, rel=0.01)  # ten copies of a window are one window
    assert fit_temperature(copied, said, Dependence.independent(4_000)) > alone > 1.3
    assert 1 < fit_temperature(labels[:20], probabilities[:20], Dependence.independent(20)) < alone
    assert fit_temperature(labels[:4], probabilities[:4], Dependence.independent(4)) == 1.0


def test_windows_without_an_error_do_not_make_probabilities_certain():
    sure = np.tile([0.97, 0.03], (30, 1))
    assert 0.7 < fit_temperature(np.zeros(30, np.int64), sure, Dependence.independent(30)) < 1
    assert fit_temperature(np.zeros(30, np.int64), np.full((30, 2), 0.5), Dependence.independent(30)) == pytest.approx(
        1
    )
