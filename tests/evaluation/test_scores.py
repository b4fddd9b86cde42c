"""Scores and calibration: by hand, by scikit-learn and by their formulas; groups of windows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from cnn_lstm_hyperopt.evaluation import (
    Dependence,
    by_group,
    calibration_error,
    calibration_table,
    score_predictions,
    years,
)
from cnn_lstm_hyperopt.evaluation.r_squared import r_squared


def said(classes):
    """Probabilities of two classes, with 0.9 for the given one."""
    return np.eye(2)[classes] * 0.8 + 0.1


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(20, 60), st.integers(0, 2**32 - 1))
def test_scores_equal_those_of_scikit_learn(n_classes, count, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=count)])
    probabilities = rng.dirichlet(np.ones(n_classes), size=len(labels)).round(2) + 1e-4  # some are tied
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    classes, found = probabilities.argmax(axis=1), score_predictions(labels, probabilities)
    area = sk.roc_auc_score(labels, probabilities[:, 1] if n_classes == 2 else probabilities, multi_class="ovr")
    assert found.metrics == {
        "accuracy": pytest.approx(sk.accuracy_score(labels, classes)),
        "balanced_accuracy": pytest.approx(sk.balanced_accuracy_score(labels, classes)),
        "mcc": pytest.approx(sk.matthews_corrcoef(labels, classes), abs=1e-9),
        "log_loss": pytest.approx(sk.log_loss(labels, probabilities)),
        "auc": pytest.approx(area),
    }
    assert found.calibration_error == calibration_error(labels, probabilities)


class TestRSquared:
    def test_it_is_that_of_scikit_learn_against_the_mean_and_0_against_itself(self):
        targets, values = np.random.default_rng(0).normal(size=(2, 50))
        labels = np.zeros(50, np.int64)

        def r2(values, reference):
            about = {"targets": targets, "values": values, "references": {"persistence": reference}}
            return score_predictions(labels, said(labels), **about).r2_against_persistence

        assert r2(values, np.full(50, targets.mean())) == pytest.approx(sk.r2_score(targets, values))
        assert (r2(values, values), r2(targets, values), r2(values, targets)) == (0, 1, None)

    def test_the_reference_is_the_best_one_so_always_0_scores_nothing_on_noise(self):
        rng = np.random.default_rng(0)
        returns = rng.normal(size=1000)
        references = {"training mean": np.full(1000, 0.01), "persistence": np.roll(returns, 1)}
        found = r_squared(returns, np.zeros(1000), references, Dependence.independent(1000))
        assert found.reference == "training mean"
        assert abs(found.value) < 0.01 < 0.4 < found.against["persistence"]
        assert found.interval.low < found.value < found.interval.high < 0.01
        same = r_squared(returns, references["training mean"], references, Dependence.independent(1000))
        assert (same.value, same.interval) == (0, None)
        few = r_squared(returns[:4], np.zeros(4), {"a": np.ones(4)}, Dependence.independent(4))
        assert few.interval is None

    @settings(max_examples=60, deadline=None)
    @given(
        st.floats(-6, 6),
        st.sampled_from([0.0, 1.0, 1e3]),
        st.one_of(st.floats(-9, -4), st.floats(-3, 0)),
        st.integers(0, 2**32 - 1),
    )
    def test_it_is_undefined_if_a_reference_is_as_exact_as_float32(self, scale, offset, error, seed):
        """In any unit, R² is either undefined or not below the ratio of the MSE to 1.2e-7 of the variance."""
        rng, unit = np.random.default_rng(seed), 10.0**scale
        targets, values, noise = rng.normal(size=(3, 200))
        targets = unit * (targets + offset)
        reference = targets + unit * 10.0**error * noise
        found = r_squared(targets, unit * values, {"ridge": reference}, Dependence.independent(200))
        exact = r_squared(targets, unit * values, {"ridge": targets.astype(np.float32)}, Dependence.independent(200))
        assert exact is None
        if error <= -4:
            assert found is None
        elif offset <= 1:
            assert found.value == pytest.approx(
                1 - np.mean((targets - unit * values) ** 2) / np.mean((targets - reference) ** 2)
            )

    def test_the_interval_covers_the_true_value(self):
        """Errors of four windows of a date depend on each other; the true R² is 1 − 0.9² = 0.19."""
        rng, covered = np.random.default_rng(1), 0
        dates = np.repeat(np.arange(250), 4)
        for _ in range(300):
            size = np.repeat(np.exp(0.3 * rng.normal(size=250)), 4)
            error = 0.9 * size * rng.normal(size=1000)
            reference = size * rng.normal(size=1000)
            found = r_squared(np.zeros(1000), error, {"mean": reference}, Dependence.by_date(dates))
            covered += found.interval.low <= 0.19 <= found.interval.high
        assert 0.92 < covered / 300 < 0.985


def test_groups_have_the_scores_of_their_windows_alone():
    labels, symbols = np.array([0, 1, 1, 0, 1, 1]), np.array(["B", "A", "A", "B", "A", "B"])
    a, b = by_group(labels, said([0, 1, 0, 1, 1, 1]), symbols)
    assert a == ("A", 3, pytest.approx(2 / 3), pytest.approx(2 / 3), 1.0)
    assert b == ("B", 3, pytest.approx(2 / 3), pytest.approx((1 / 2 + 1) / 2), pytest.approx(2 / 3))


def test_years_of_dates():
    dates = np.array(["2009-12-31T23:59", "2010-01-01", "1969-06-01"], dtype="datetime64[ns]")
    assert years(dates).tolist() == [2009, 2010, 1969]
    rows = by_group(np.array([0, 1, 1]), said([0, 1, 1]), years(dates))
    assert [row.group for row in rows] == ["1969", "2009", "2010"]
    assert years(np.arange(3)) is None


def calibrated(count: int, n_classes: int):
    """Labels drawn from the predicted probabilities."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(n_classes), size=count)
    labels = (probabilities.cumsum(axis=1) < rng.random((count, 1))).sum(axis=1)
    return labels.astype(np.int64), probabilities


@pytest.mark.parametrize("bins", [1, 5, 10])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_table_is_the_reliability_curve_of_scikit_learn_without_empty_bins(bins, n_classes):
    labels, probabilities = calibrated(500, n_classes)
    confidences = probabilities.max(axis=1)
    right, confidence = calibration_curve(probabilities.argmax(axis=1) == labels, confidences, n_bins=bins)
    table = calibration_table(labels, probabilities, bins=bins)
    np.testing.assert_allclose([row.right for row in table], right)
    np.testing.assert_allclose([row.confidence for row in table], confidence)
    assert sum(row.n for row in table) == 500
    assert all(row.n > 0 and row.low < row.confidence <= row.high for row in table)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_the_error_is_the_sum_of_loops_over_bins_that_are_closed_above(n_classes):
    """Guo et al. 2017, eq. 3; the confidences 0.5 and 1.0 are on edges."""
    labels, probabilities = calibrated(400, n_classes)
    probabilities[:20] = np.eye(n_classes)[0] / 2 + np.eye(n_classes)[1] / 2
    probabilities[20:30] = np.eye(n_classes)[0]
    expected = 0.0
    for m in range(10):
        here = [i for i in range(400) if m / 10 < probabilities[i].max() <= (m + 1) / 10]
        if here:
            right = np.mean([probabilities[i].argmax() == labels[i] for i in here])
            expected += len(here) / 400 * abs(right - np.mean([probabilities[i].max() for i in here]))
    assert calibration_error(labels, probabilities) == pytest.approx(expected, abs=1e-12)
