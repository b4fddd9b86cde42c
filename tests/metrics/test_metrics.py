"""Metrics against scikit-learn, for one and for many sets of weights, and their facts."""

import math
import typing
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, matthews_corrcoef, roc_auc_score

from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.metrics import METRICS, class_weights, score
from cnn_lstm_hyperopt.metrics.log_loss import MIN_PROBABILITY


def test_the_decision_rule_has_the_best_balanced_accuracy_of_all_thresholds():
    """Of calibrated probabilities of a rare class; log loss and AUC do not use the rule."""
    rng = np.random.default_rng(0)
    ones = rng.beta(1, 9, size=100_000)
    labels, said = (rng.random(100_000) < ones).astype(np.int64), np.column_stack([1 - ones, ones])
    rule = class_weights(labels, 2)
    assert rule[labels].mean() == pytest.approx(1)
    best = max(balanced_accuracy_score(labels, ones > each) for each in np.linspace(0.01, 0.5, 50))
    assert score("balanced_accuracy", labels, said, rule) == pytest.approx(best, abs=0.003)
    assert score("balanced_accuracy", labels, said) < 0.51
    for metric in ("log_loss", "auc"):
        assert score(metric, labels, said, rule) == score(metric, labels, said)
    assert class_weights(np.array([0, 2]), 3).tolist() == [1, 1, 1]  # a class that does not occur has the weight 1


every_metric = pytest.mark.parametrize("metric", METRICS)
two_and_three = pytest.mark.parametrize("classes", [2, 3])


def weighted(metric, labels, probabilities, weights):
    return METRICS[metric].scores(labels, probabilities, weights)


def theirs(metric, labels, probabilities, weights):
    """scikit-learn's score; NaN if it is undefined there."""
    classes, predictions = range(probabilities.shape[1]), probabilities.argmax(axis=1)
    present = set(labels[weights > 0])
    match metric:
        case "accuracy":
            return accuracy_score(labels, predictions, sample_weight=weights)
        case "balanced_accuracy":
            labels, predictions, weights = (each[weights > 0] for each in (labels, predictions, weights))  # no 0 / 0
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about classes that are only predicted
                return balanced_accuracy_score(labels, predictions, sample_weight=weights)
        case "mcc":
            return matthews_corrcoef(labels, predictions, sample_weight=weights)
        case "auc":
            areas = [
                roc_auc_score(labels == c, probabilities[:, c], sample_weight=weights)
                for c in (classes if len(classes) > 2 else (1,))
                if c in present and len(present) > 1
            ]
            return np.mean(areas) if areas else math.nan
        case "log_loss":
            return -log_loss(labels, probabilities, labels=classes, sample_weight=weights)


def drawn(seed, *, windows=50, classes=2, steps=None):
    """Labels and probabilities with some skill; few values, so with ties, if ``steps`` is given."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, windows)
    raw = generator.random((windows, classes)) + 0.5 * np.eye(classes)[labels]
    if steps is not None:
        raw = 1 + np.floor(steps * raw)
    return labels, raw / raw.sum(axis=1, keepdims=True)


@every_metric
@two_and_three
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_as_scikit_learn_with_and_without_weights(metric, classes, data):
    windows, steps = data.draw(st.integers(classes + 2, 60)), data.draw(st.sampled_from([None, 3]))
    labels, probabilities = drawn(data.draw(st.integers(0, 999)), windows=windows, classes=classes, steps=steps)
    labels[:classes] = range(classes)
    weights = np.random.default_rng(1).random(windows)
    match data.draw(st.sampled_from(["equal", "counts", "random", "a class without weight"])):
        case "equal":
            weights[:] = 1
        case "counts":
            weights = np.arange(windows) % 3.0 + (np.arange(windows) < classes)
        case "a class without weight" if classes > 2:
            weights[labels == 2] = 0
    expected = theirs(metric, labels, probabilities, weights)
    assert weighted(metric, labels, probabilities, weights) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    low, high = METRICS[metric].score_range
    assert low - 1e-9 <= expected <= high + 1e-9


@every_metric
@two_and_three
def test_many_weights_at_once_are_as_one_after_the_other(metric, classes):
    labels, probabilities = drawn(0, windows=40, classes=classes, steps=4)
    weights = np.random.default_rng(1).multinomial(40, np.full(40, 1 / 40), size=(5, 7)).astype(float)
    scores = weighted(metric, labels, probabilities, weights)
    assert scores.shape == (5, 7)
    for place in np.ndindex(5, 7):
        assert scores[place] == pytest.approx(theirs(metric, labels, probabilities, weights[place]), rel=1e-9)


@every_metric
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.floats(1e-6, 1e6))
def test_only_relative_weights_matter(metric, seed, factor):
    labels, probabilities = drawn(seed, classes=3)
    weights = np.random.default_rng(seed).random(50)
    expected = weighted(metric, labels, probabilities, weights)
    assert weighted(metric, labels, probabilities, factor * weights) == pytest.approx(expected, rel=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_the_correlation_of_a_constant_is_exactly_zero(seed):
    """Rounded sums of weights could give a spread of 1e-17, and a division by it."""
    generator = np.random.default_rng(seed)
    labels, weights = generator.integers(0, 3, 30), generator.random(30)
    assert weighted("mcc", labels, np.tile([0.2, 0.5, 0.3], (30, 1)), weights) == 0.0
    assert weighted("mcc", np.full(30, 2), generator.random((30, 3)), weights) == 0.0


@every_metric
def test_perfect_and_always_wrong_predictions_have_the_ends_of_the_range_and_none_no_score(metric):
    labels = np.array([0, 1, 0, 1, 1])
    ends = [score(metric, labels, each) for each in (1 - np.eye(2)[labels], np.eye(2)[labels])]
    assert ends == pytest.approx(METRICS[metric].score_range, abs=1e-12)
    assert math.isnan(score(metric, np.empty(0, dtype=np.int64), np.empty((0, 2))))
    assert math.isnan(weighted(metric, *drawn(0), np.zeros(50)))


@every_metric
@pytest.mark.parametrize("weights", [np.ones(8), np.full(8, 0.1), 1 / np.arange(3, 11)])
def test_a_constant_prediction_in_closed_form(metric, weights):
    labels, probabilities = np.array([1, 1, 1, 0] * 2), np.tile([0.3, 0.7], (8, 1))
    p = weights[labels == 1].sum() / weights.sum()
    log_score = math.log(0.7) * p + math.log(0.3) * (1 - p)
    expected = {"accuracy": p, "balanced_accuracy": 0.5, "mcc": 0.0, "auc": 0.5, "log_loss": log_score}
    assert weighted(metric, labels, probabilities, weights) == pytest.approx(expected[metric], abs=1e-15)


@pytest.mark.parametrize(
    ("metric", "labels", "ones", "expected"),
    [
        ("accuracy", [1, 1, 1], [0.6, 0.6, 0.4], 2 / 3),
        ("balanced_accuracy", [1, 1, 1], [0.6, 0.6, 0.4], 2 / 3),
        ("mcc", [1, 1, 1], [0.6, 0.6, 0.4], 0.0),
        ("auc", [1, 1, 1], [0.6, 0.6, 0.4], math.nan),
        ("log_loss", [1, 1, 1], [0.6, 0.6, 0.4], math.log(0.6 * 0.6 * 0.4) / 3),
        ("auc", [0, 1, 0, 1], [0.5, 0.5, 0.2, 0.9], (0.5 + 1 + 1 + 1) / 4),  # a tie counts half
        ("log_loss", [1, 0], [0.0, 0.5], (math.log(MIN_PROBABILITY) + math.log(0.5)) / 2),
    ],
)
def test_edge_cases_in_closed_form(metric, labels, ones, expected):
    probabilities = np.column_stack([1 - np.array(ones), ones])
    assert score(metric, np.array(labels), probabilities) == pytest.approx(expected, nan_ok=True)


def test_the_settings_have_the_same_metrics_and_objectives_their_names():
    assert typing.get_args(MetricName) == tuple(METRICS) == ("accuracy", "balanced_accuracy", "mcc", "auc", "log_loss")
    objectives = [METRICS[metric].objective for metric in METRICS]
    assert objectives == ["accuracy", "balanced_accuracy", "mcc", "auc", "negative_log_loss"]


@every_metric
def test_a_small_gain_is_that_of_two_points_of_accuracy(metric):
    """Closed forms and a simulation: 10⁶ windows, of which 52 of 100 are predicted correctly."""
    p, n = 0.52, 1_000_000
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    auc = norm.cdf(math.sqrt(2) * norm.ppf(p)) - 0.5
    expected = {"accuracy": p - 0.5, "balanced_accuracy": p - 0.5, "mcc": 2 * p - 1, "auc": auc}
    gain, labels = METRICS[metric].small_gain, np.arange(n) % 2
    assert gain == pytest.approx(expected.get(metric, math.log(2) - entropy), abs=5e-4 if metric == "auc" else 5e-7)
    ones = np.where((np.arange(n) // 2 % 100 < 100 * p) == (labels == 1), p, 1 - p)
    if metric == "auc":
        ones = norm.cdf(np.random.default_rng(0).normal(2 * norm.ppf(p) * labels))
    chance = {"mcc": 0.0, "log_loss": -math.log(2)}.get(metric, 0.5)
    found = score(metric, labels, np.column_stack([1 - ones, ones])) - chance
    assert found == pytest.approx(gain, abs=2e-3 if metric == "auc" else 1e-3 * gain)


@given(st.sampled_from(sorted(METRICS)), st.floats(-1, 1).filter(bool))
def test_a_difference_that_is_not_zero_is_not_shown_as_zero(name, difference):
    shown = METRICS[name].difference(difference)
    assert any(digit in shown for digit in "123456789")
    assert METRICS[name].difference(0.0).startswith("0.0")
