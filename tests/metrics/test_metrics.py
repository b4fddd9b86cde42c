"""The search's metrics against scikit-learn, for one set of weights and for many at once."""

import math
import tracemalloc
import typing
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.metrics.base import confusion_cells
from cnn_lstm_hyperopt.metrics.log_loss import MIN_PROBABILITY


def theirs(metric, labels, probabilities, weights):
    """scikit-learn's; NaN where it does not define one."""
    classes, said = range(probabilities.shape[1]), probabilities.argmax(axis=1)
    happened = set(labels[weights > 0])
    match metric:
        case "accuracy":
            return accuracy_score(labels, said, sample_weight=weights)
        case "balanced_accuracy":
            labels, said, weights = (each[weights > 0] for each in (labels, said, weights))  # it divides 0 by 0 there
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of classes that are only predicted
                return balanced_accuracy_score(labels, said, sample_weight=weights)
        case "mcc":
            return matthews_corrcoef(labels, said, sample_weight=weights)
        case "auc":
            areas = [
                roc_auc_score(labels == c, probabilities[:, c], sample_weight=weights)
                for c in (classes if len(classes) > 2 else (1,))
                if c in happened and len(happened) > 1
            ]
            return np.mean(areas) if areas else math.nan
        case "log_loss":
            return -log_loss(labels, probabilities, labels=classes, sample_weight=weights)


def drawn(seed, *, windows=50, classes=2, steps=None):
    """Labels and probabilities that know something of them; with ``steps`` they take few values, so that there are ties."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, windows)
    raw = generator.random((windows, classes)) + 0.5 * np.eye(classes)[labels]
    if steps is not None:
        raw = 1 + np.floor(steps * raw)
    return labels, raw / raw.sum(axis=1, keepdims=True)


every_metric = pytest.mark.parametrize("metric", METRICS)


def test_the_settings_know_the_same_metrics():
    assert typing.get_args(MetricName) == tuple(METRICS)
    assert list(METRICS) == ["accuracy", "balanced_accuracy", "mcc", "auc", "log_loss"]


@every_metric
@pytest.mark.parametrize("classes", [2, 3])
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_as_scikit_learn_with_and_without_weights(metric, classes, data):
    windows, steps = data.draw(st.integers(classes + 2, 60)), data.draw(st.sampled_from([None, 3]))
    labels, probabilities = drawn(data.draw(st.integers(0, 999)), windows=windows, classes=classes, steps=steps)
    labels[:classes] = range(classes)
    kinds = {
        "ones": np.ones,
        "whole": lambda n: np.arange(n) % 3 + (np.arange(n) < classes),
        "real": np.random.default_rng(1).random,
    }
    weights = np.asarray(kinds[data.draw(st.sampled_from(sorted(kinds)))](windows), dtype=float)
    expected = theirs(metric, labels, probabilities, weights)
    assert METRICS[metric].scores(labels, probabilities, weights) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    low, high = METRICS[metric].score_range
    assert low <= expected <= high


@every_metric
@pytest.mark.parametrize("classes", [2, 3])
def test_many_weights_at_once_are_as_one_after_the_other(metric, classes):
    labels, probabilities = drawn(0, windows=40, classes=classes, steps=4)
    weights = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=(5, 7)).astype(float)
    scores = METRICS[metric].scores(labels, probabilities, weights)
    assert scores.shape == (5, 7)
    for place in np.ndindex(5, 7):
        assert scores[place] == pytest.approx(theirs(metric, labels, probabilities, weights[place]), rel=1e-9)


@every_metric
def test_a_window_that_weighs_two_counts_as_two_windows(metric):
    labels, probabilities = drawn(3, windows=30, classes=3, steps=5)
    weights = np.random.default_rng(2).integers(0, 4, 30)
    index = np.repeat(np.arange(30), weights)
    expected = score(metric, labels[index], probabilities[index])
    assert METRICS[metric].scores(labels, probabilities, weights.astype(float)) == pytest.approx(expected, rel=1e-9)


@every_metric
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.floats(1e-6, 1e6))
def test_only_shares_of_the_weight_matter(metric, seed, factor):
    labels, probabilities = drawn(seed, classes=3)
    weights = np.random.default_rng(seed).random(50)
    metric = METRICS[metric].scores
    assert metric(labels, probabilities, factor * weights) == pytest.approx(
        metric(labels, probabilities, weights), rel=1e-6
    )


@every_metric
def test_who_knows_all_has_the_best_score_and_who_is_always_wrong_the_worst(metric):
    labels = np.array([0, 1, 0, 1, 1])
    sure = np.eye(2)[labels]
    assert score(metric, labels, sure) == pytest.approx(METRICS[metric].score_range[1], abs=1e-12)
    assert score(metric, labels, 1 - sure) == pytest.approx(METRICS[metric].score_range[0], abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", 0.75),
        ("balanced_accuracy", 0.5),
        ("mcc", 0.0),
        ("auc", 0.5),
        ("log_loss", math.log(0.7) * 0.75 + math.log(0.3) / 4),
    ],
)
@pytest.mark.parametrize("weights", [np.ones(8), np.full(8, 0.1), 1 / np.arange(3, 11)])
def test_a_constant_prediction_scores_what_guessing_does(metric, expected, weights):
    labels, probabilities = np.array([1, 1, 1, 0] * 2), np.tile([0.3, 0.7], (8, 1))
    share = weights[labels == 1].sum() / weights.sum()
    if metric == "accuracy":
        expected = share
    if metric == "log_loss":
        expected = math.log(0.7) * share + math.log(0.3) * (1 - share)
    assert METRICS[metric].scores(labels, probabilities, weights) == pytest.approx(expected, abs=1e-15)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_the_correlation_of_a_constant_is_zero_also_where_weights_do_not_add_up_exactly(seed):
    """A spread of 1e-17 instead of 0 would be divided by."""
    generator = np.random.default_rng(seed)
    labels, weights = generator.integers(0, 3, 30), generator.random(30)
    assert METRICS["mcc"].scores(labels, np.tile([0.2, 0.5, 0.3], (30, 1)), weights) == 0.0
    assert METRICS["mcc"].scores(np.full(30, 2), generator.random((30, 3)), weights) == 0.0


def test_ties_count_half_in_an_auc():
    labels = np.array([0, 1, 0, 1])
    said = np.array([0.5, 0.5, 0.2, 0.9])
    assert score("auc", labels, np.column_stack([1 - said, said])) == (0.5 + 1 + 1 + 1) / 4


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy", 2 / 3),
        ("balanced_accuracy", 2 / 3),
        ("mcc", 0.0),
        ("auc", math.nan),
        ("log_loss", math.log(0.6 * 0.6 * 0.4) / 3),
    ],
)
def test_windows_of_one_class_alone(metric, expected):
    probabilities = np.array([[0.4, 0.6], [0.4, 0.6], [0.6, 0.4]])
    assert score(metric, np.array([1, 1, 1]), probabilities) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("classes", [2, 3])
def test_cells_are_those_of_the_confusion_matrix(classes):
    labels, probabilities = drawn(11, classes=classes)
    weights = np.random.default_rng(4).integers(0, 3, 50).astype(float)
    matrix = np.bincount(confusion_cells(labels, probabilities), weights, classes**2).reshape(classes, classes)
    expected = confusion_matrix(labels, probabilities.argmax(axis=1), sample_weight=weights, labels=range(classes))
    np.testing.assert_array_equal(matrix, expected)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "auc"])
def test_a_class_that_does_not_occur_has_no_say(metric):
    """As in many a resample: the mean is over the classes that are there."""
    labels, probabilities = drawn(5, windows=40, classes=3)
    weights = np.where(labels == 2, 0.0, 1.0)
    rest = labels != 2
    assert METRICS[metric].scores(labels, probabilities, weights) == pytest.approx(
        theirs(metric, labels[rest], probabilities[rest], np.ones(rest.sum()))
    )


@every_metric
def test_one_window(metric):
    expected = {"accuracy": 1.0, "balanced_accuracy": 1.0, "mcc": 0.0, "auc": math.nan, "log_loss": math.log(0.8)}
    found = score(metric, np.array([1]), np.array([[0.2, 0.8]]))
    assert found == pytest.approx(expected[metric], nan_ok=True)


@every_metric
def test_no_window_and_no_weight_are_no_score(metric):
    assert math.isnan(score(metric, np.empty(0, dtype=np.int64), np.empty((0, 2))))
    labels, probabilities = drawn(0)
    assert math.isnan(METRICS[metric].scores(labels, probabilities, np.zeros(50)))


def test_a_probability_of_zero_costs_a_finite_loss():
    probabilities = np.array([[1.0, 0.0], [0.5, 0.5]], dtype=np.float32)
    expected = (math.log(MIN_PROBABILITY) + math.log(0.5)) / 2
    assert score("log_loss", np.array([1, 0]), probabilities) == pytest.approx(expected)


@every_metric
def test_probabilities_of_float32_score_as_those_of_float64(metric):
    labels, probabilities = drawn(7, windows=200, classes=3)
    narrow = probabilities.astype(np.float32)
    assert score(metric, labels, narrow) == pytest.approx(score(metric, labels, narrow.astype(float)), rel=1e-12)


@every_metric
@pytest.mark.parametrize("classes", [2, 3])
def test_a_bootstrap_needs_a_few_times_the_memory_of_its_weights(metric, classes):
    """So 2000 resamples of 3000 windows are one call, and of 100,000 windows parts of 50."""
    labels, probabilities = drawn(0, windows=3000, classes=classes)
    weights = np.random.default_rng(0).integers(0, 3, (200, 3000)).astype(float)
    METRICS[metric].scores(labels, probabilities, weights)
    tracemalloc.start()
    METRICS[metric].scores(labels, probabilities, weights)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3.2 * weights.nbytes


# ---------------------------------------------------------------------- words and figures about them


def test_an_objective_is_named_by_what_is_maximised():
    assert [METRICS[metric].objective for metric in METRICS] == [
        "accuracy",
        "balanced_accuracy",
        "mcc",
        "auc",
        "negative_log_loss",
    ]
    assert METRICS["log_loss"].words == "negative log loss"
    assert METRICS["accuracy"].constant == "the majority class"
    assert METRICS["mcc"].constant == "the best constant prediction"


def test_a_small_gain_is_that_of_two_points_of_accuracy():
    """Closed forms, each held against 10⁶ windows of which 52 in 100 are recognised."""
    p = 0.52
    assert METRICS["accuracy"].small_gain == METRICS["balanced_accuracy"].small_gain == pytest.approx(p - 0.5)
    assert METRICS["mcc"].small_gain == pytest.approx(2 * p - 1)
    assert METRICS["auc"].small_gain == pytest.approx(norm.cdf(math.sqrt(2) * norm.ppf(p)) - 0.5, abs=5e-4)
    assert METRICS["log_loss"].small_gain == pytest.approx(
        math.log(2) + p * math.log(p) + (1 - p) * math.log(1 - p), abs=5e-7
    )
    labels = np.arange(1_000_000) % 2
    right = np.arange(1_000_000) // 2 % 100 < 100 * p
    classes = np.where(right, labels, 1 - labels)
    probabilities = np.where(classes[:, None] == 1, [1 - p, p], [p, 1 - p])
    chances = {"accuracy": 0.5, "balanced_accuracy": 0.5, "mcc": 0.0, "log_loss": -math.log(2)}
    for metric, chance in chances.items():
        assert score(metric, labels, probabilities) - chance == pytest.approx(METRICS[metric].small_gain, rel=1e-3)
    shift = 2 * norm.ppf(p)
    said = norm.cdf(np.random.default_rng(0).normal(shift * labels))
    assert score("auc", labels, np.column_stack([1 - said, said])) - 0.5 == pytest.approx(
        METRICS["auc"].small_gain, abs=2e-3
    )
