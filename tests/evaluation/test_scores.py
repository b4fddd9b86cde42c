"""Scores by hand, by scikit-learn and by their formulas; groups of windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    matthews_corrcoef,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
)

from cnn_lstm_hyperopt.evaluation import by_group, calibration_error, score_predictions, shrinkage, years


def said(classes, n_classes: int = 2):
    """Probabilities of a classifier that is nearly sure."""
    return (
        np.full((len(classes), n_classes), 0.1 / (n_classes - 1)) * (1 - np.eye(n_classes)[classes])
        + 0.9 * np.eye(n_classes)[classes]
    )


def test_scores_of_a_hand_example():
    """Confusion matrix: 3 right and 1 wrong of class 0, 2 right and 2 wrong of class 1."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    scores = score_predictions(labels, said([0, 0, 0, 1, 1, 1, 0, 0]))
    assert scores.metrics["accuracy"] == 5 / 8
    assert scores.metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert scores.metrics["mcc"] == pytest.approx((2 * 3 - 1 * 2) / np.sqrt(3 * 4 * 4 * 5))
    assert scores.metrics["log_loss"] == pytest.approx(-(5 * np.log(0.9) + 3 * np.log(0.1)) / 8)
    assert scores.metrics["auc"] == pytest.approx(
        (6 + 0.5 * (2 + 6)) / 16
    )  # 3 × 2 pairs in order, 3 × 2 + 1 × 2 tied, 1 × 2 turned
    assert (scores.mse, scores.mae, scores.r2_against_persistence) == (None, None, None)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(20, 60), st.integers(0, 2**32 - 1))
def test_scores_equal_those_of_scikit_learn(n_classes, count, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=count)])
    probabilities = (
        rng.dirichlet(np.ones(n_classes), size=len(labels)).round(2) + 1e-4
    )  # rounded, so that some are tied
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes = probabilities.argmax(axis=1)
    scores = score_predictions(labels, probabilities)
    assert scores.metrics["accuracy"] == pytest.approx(accuracy_score(labels, classes))
    assert scores.metrics["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, classes))
    assert scores.metrics["mcc"] == pytest.approx(matthews_corrcoef(labels, classes), abs=1e-9)
    assert scores.metrics["log_loss"] == pytest.approx(log_loss(labels, probabilities))
    area = roc_auc_score(labels, probabilities[:, 1] if n_classes == 2 else probabilities, multi_class="ovr")
    assert scores.metrics["auc"] == pytest.approx(area)
    assert scores.calibration_error == calibration_error(labels, probabilities)


@pytest.mark.parametrize("constant", [0, 1])
def test_a_constant_prediction_has_no_correlation_and_half_the_balanced_accuracy(constant):
    scores = score_predictions(np.array([0, 1, 1, 0, 1]), said(np.full(5, constant)))
    assert (scores.metrics["mcc"], scores.metrics["balanced_accuracy"], scores.metrics["auc"]) == (0, 0.5, 0.5)
    assert scores.metrics["accuracy"] == (2 / 5, 3 / 5)[constant]


def test_perfect_and_inverted_predictions():
    labels = np.array([0, 1, 1, 0, 1])
    perfect, inverted = score_predictions(labels, said(labels)), score_predictions(labels, said(1 - labels))
    assert (perfect.metrics["mcc"], perfect.metrics["auc"]) == pytest.approx((1, 1))
    assert (inverted.metrics["mcc"], inverted.metrics["auc"], inverted.metrics["accuracy"]) == pytest.approx((-1, 0, 0))


def test_labels_of_a_single_class_have_no_auc_and_the_recall_of_that_class():
    scores = score_predictions(np.array([1, 1, 1]), said([1, 1, 0]))
    assert scores.metrics["auc"] is None
    assert scores.metrics["balanced_accuracy"] == pytest.approx(2 / 3)


def test_errors_of_the_regression_need_targets_and_values():
    labels, targets = np.array([0, 1, 1]), np.array([1.0, 2.0, 4.0], dtype=np.float32)
    both = score_predictions(labels, said(labels), targets=targets, values=targets + np.arange(3))
    assert both.mse == pytest.approx(5 / 3)
    assert both.mae == pytest.approx(mean_absolute_error(targets, targets + np.arange(3)))
    assert both.r2_against_persistence is None
    assert score_predictions(labels, said(labels), targets=targets).mse is None
    assert score_predictions(labels, said(labels), values=targets).mae is None


def test_r2_against_the_mean_is_that_of_scikit_learn_and_persistence_itself_has_0():
    rng = np.random.default_rng(0)
    targets, values = rng.normal(size=(2, 50))
    labels = np.zeros(50, np.int64)

    def r2(values, reference):
        return score_predictions(
            labels, said(labels), targets=targets, values=values, reference=reference
        ).r2_against_persistence

    assert r2(values, np.full(50, targets.mean())) == pytest.approx(r2_score(targets, values))
    assert r2(values, values) == 0
    assert r2(targets, values) == 1
    assert r2(values, targets) is None  # a reference without error leaves nothing to explain


def test_groups_have_the_scores_of_their_windows_alone():
    labels = np.array([0, 1, 1, 0, 1, 1])
    symbols = np.array(["B", "A", "A", "B", "A", "B"])
    b, a = by_group(labels, said([0, 1, 0, 1, 1, 1]), symbols)[::-1]
    assert a == ("A", 3, pytest.approx(2 / 3), pytest.approx(2 / 3), 1.0)
    assert b == ("B", 3, pytest.approx(2 / 3), pytest.approx((1 / 2 + 1) / 2), pytest.approx(2 / 3))


def test_years_of_dates():
    dates = np.array(["2009-12-31T23:59", "2010-01-01", "1969-06-01"], dtype="datetime64[ns]")
    assert years(dates).tolist() == [2009, 2010, 1969]
    assert [row.group for row in by_group(np.array([0, 1, 1]), said([0, 1, 1]), years(dates))] == [
        "1969",
        "2009",
        "2010",
    ]
    assert years(np.arange(3)) is None


def test_shrinkage_is_positive_where_the_test_period_was_worse():
    assert shrinkage(0.6, 0.55) == pytest.approx(0.05)
