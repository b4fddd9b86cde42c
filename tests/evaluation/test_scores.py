"""Scores by hand and by their formulas."""

import numpy as np
import pytest

from cnn_lstm_hyperopt.evaluation import score


def test_scores_of_a_hand_example():
    """Confusion matrix: 3 right and 1 wrong of class 0, 2 right and 2 wrong of class 1."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    classes = np.array([0, 0, 0, 1, 1, 1, 0, 0])
    scores = score(labels, classes)
    assert scores.accuracy == 5 / 8
    assert scores.balanced_accuracy == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert scores.mcc == pytest.approx((2 * 3 - 1 * 2) / np.sqrt(3 * 4 * 4 * 5))
    assert scores.mse is None


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_scores_equal_their_formulas_on_random_predictions(n_classes):
    rng = np.random.default_rng(n_classes)
    labels, classes = rng.integers(n_classes, size=(2, 200))
    confusion = np.zeros((n_classes, n_classes))
    for label, guess in zip(labels, classes, strict=True):
        confusion[label, guess] += 1
    n, right = confusion.sum(), np.trace(confusion)
    truths, guesses = confusion.sum(axis=1), confusion.sum(axis=0)
    scores = score(labels, classes)
    assert scores.accuracy == pytest.approx(right / n)
    assert scores.balanced_accuracy == pytest.approx((np.diag(confusion) / truths).mean())
    # Gorodkin 2004, the multiclass form
    covariance = right * n - truths @ guesses
    assert scores.mcc == pytest.approx(
        covariance / np.sqrt((n**2 - guesses @ guesses) * (n**2 - truths @ truths)), abs=1e-12
    )


@pytest.mark.parametrize("constant", [0, 1])
def test_a_constant_prediction_has_no_correlation_and_half_the_balanced_accuracy(constant):
    labels = np.array([0, 1, 1, 0, 1])
    scores = score(labels, np.full(5, constant))
    assert scores.mcc == 0
    assert scores.balanced_accuracy == 0.5
    assert scores.accuracy == (2 / 5, 3 / 5)[constant]


def test_perfect_and_inverted_predictions():
    labels = np.array([0, 1, 1, 0, 1])
    assert score(labels, labels).mcc == pytest.approx(1)
    assert score(labels, 1 - labels).mcc == pytest.approx(-1)
    assert score(labels, 1 - labels).accuracy == 0


def test_a_class_that_is_not_among_the_labels_counts_in_no_recall():
    scores = score(np.array([0, 0, 1, 1]), np.array([0, 2, 1, 1]))
    assert scores.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)
    assert score(np.array([1, 1, 1]), np.array([1, 1, 0])).balanced_accuracy == pytest.approx(2 / 3)


def test_one_window_has_scores():
    scores = score(np.array([1]), np.array([1]), targets=np.array([2.0]), values=np.array([5.0]))
    assert (scores.accuracy, scores.balanced_accuracy, scores.mcc, scores.mse) == (1, 1, 0, 9)


def test_the_squared_error_needs_targets_and_values():
    labels, numbers = np.array([0, 1, 1]), np.array([1.0, 2.0, 4.0], dtype=np.float32)
    assert score(labels, labels, targets=numbers, values=numbers + np.arange(3)).mse == pytest.approx(5 / 3)
    assert score(labels, labels, targets=numbers).mse is None
    assert score(labels, labels, values=numbers).mse is None
