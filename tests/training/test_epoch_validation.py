"""Evaluations after each epoch on a subset of the validation windows, and the last one on all of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.trainings import SCALE, network, windows
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training import evaluate
from cnn_lstm_hyperopt.training.epoch_validation import n_watched, watched


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_subset_has_at_most_half_of_the_windows_and_at_least_500(n_train, n_validation):
    count = n_watched(n_train, n_validation)
    assert count == n_validation or 500 <= count <= n_validation / 2
    assert n_watched(n_train + 4, n_validation) >= count
    if n_validation <= n_train / 4:
        assert count == n_validation


def test_a_subset_is_evenly_spaced_and_lacks_no_class():
    validation = windows(2_000, 2)
    subset = watched(400, validation)
    positions = np.searchsorted(validation.starts.numpy(), subset.starts.numpy())
    assert len(subset) == 500
    assert set(np.diff(positions)) == {4}
    rare = windows(2_000, 2)
    rare.labels[:] = 0
    rare.labels[1] = 1  # between two windows of the subset
    assert len(watched(400, rare)) == 2_000


def test_epochs_are_evaluated_on_the_subset_and_the_best_weights_on_all_windows(training):
    validation, train = windows(1_200, 2), windows(64, 1)
    subset = watched(len(train), validation)
    scores = []
    net = network()

    def on_report(report):
        if report.loss is not None:
            again = evaluate(net, subset, SCALE)
            scores.append((again.score, again.loss) == (report.score, report.loss))
            net.train()
        return CONTINUE

    found, outcome, reports = training(train, validation, net=net, max_epochs=3, on_report=on_report)
    assert scores == [True] * 3
    again = evaluate(found, validation, SCALE)
    assert (outcome.best.score, outcome.best.loss) == (again.score, again.loss)
    np.testing.assert_array_equal(outcome.best.predictions.probabilities, again.predictions.probabilities)
    best = min((report for report in reports if report.loss is not None), key=lambda report: report.loss)
    assert outcome.best_epoch == best.epoch
    assert len(subset) == 500 < len(outcome.best.predictions.probabilities) == 1_200
    assert outcome.best.loss != pytest.approx(best.loss, abs=1e-9)
