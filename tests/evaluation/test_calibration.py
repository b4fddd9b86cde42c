"""Calibration: against scikit-learn's reliability curve, by loops, and on probabilities that are true."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from cnn_lstm_hyperopt.evaluation import calibration_error, calibration_table


def predictions(count: int, n_classes: int, seed: int = 0):
    """Labels drawn from the very probabilities that are said."""
    rng = np.random.default_rng(seed)
    said = rng.dirichlet(np.ones(n_classes), size=count)
    labels = (said.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return labels.astype(np.int64), said


@pytest.mark.parametrize("bins", [1, 5, 10])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_table_is_the_reliability_curve_of_scikit_learn(bins, n_classes):
    """Of being right against the confidence in what was said."""
    labels, said = predictions(500, n_classes)
    right, confidence = calibration_curve(said.argmax(axis=1) == labels, said.max(axis=1), n_bins=bins)
    table = calibration_table(labels, said, bins=bins)
    np.testing.assert_allclose([row.right for row in table], right)
    np.testing.assert_allclose([row.confidence for row in table], confidence)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_error_is_the_sum_of_loops_over_bins_that_are_closed_above(n_classes):
    """Guo et al. 2017, eq. 3, word by word; the confidences 0.5 and 1.0 lie on edges."""
    labels, said = predictions(400, n_classes)
    said[:20] = np.eye(n_classes)[0] / 2 + np.eye(n_classes)[1] / 2
    said[20:30] = np.eye(n_classes)[0]
    expected = 0.0
    for m in range(10):
        here = [i for i in range(400) if m / 10 < said[i].max() <= (m + 1) / 10]
        if here:
            right = np.mean([said[i].argmax() == labels[i] for i in here])
            expected += len(here) / 400 * abs(right - np.mean([said[i].max() for i in here]))
    assert calibration_error(labels, said) == pytest.approx(expected, abs=1e-12)


def test_an_example_by_hand():
    """Four windows at 0.75, of which one is right; one at 0.95, right."""
    said = np.array([[0.25, 0.75]] * 4 + [[0.95, 0.05]])
    labels = np.array([1, 0, 0, 0, 0])
    (low, high), top = calibration_table(labels, said)[0][:2], calibration_table(labels, said)[1]
    assert (low, high) == pytest.approx((0.7, 0.8))
    assert top == pytest.approx((0.9, 1.0, 1, 0.95, 1.0))
    assert calibration_error(labels, said) == pytest.approx(4 / 5 * 0.5 + 1 / 5 * 0.05)


def test_rows_count_every_window_once_and_leave_out_empty_bins():
    labels, said = predictions(300, 2)
    table = calibration_table(labels, said)
    assert sum(row.n for row in table) == 300
    assert min(row.low for row in table) == 0.5  # of two classes the predicted one has at least that
    assert all(row.n > 0 and row.low < row.confidence <= row.high for row in table)


def test_true_probabilities_have_nearly_no_error_and_boasted_ones_have_much():
    labels, said = predictions(20_000, 2)
    boasted = np.where(said > 0.5, 0.99, 0.01)
    assert calibration_error(labels, said) < 0.015
    assert calibration_error(labels, boasted) == pytest.approx(
        0.99 - (boasted.argmax(axis=1) == labels).mean(), abs=1e-9
    )
