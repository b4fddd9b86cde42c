"""Evaluations after each epoch on a subset of the validation windows, and the last one on all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders.trainings import CPU, SCALE, config, network, windows
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training import FoldTraining, evaluate, train_folds
from cnn_lstm_hyperopt.training.epoch_validation import n_watched, watched_positions
from cnn_lstm_hyperopt.training.runtime.device import seeded_dropout


@given(st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_subset_has_at_most_half_of_the_windows_and_at_least_500(n_train, n_validation):
    count = n_watched(n_train, n_validation)
    assert count == n_validation or 500 <= count <= n_validation / 2
    assert n_watched(n_train + 4, n_validation) >= count
    if n_validation <= n_train / 4:
        assert count == n_validation


@given(st.integers(1_000, 20_000), st.integers(1, 3_000))
def test_each_of_equal_stretches_has_one_window(n_validation, n_train):
    validation = windows(n_validation, 2)
    positions = watched_positions(n_train, validation)
    if positions is None:
        assert n_watched(n_train, n_validation) == n_validation
        return
    assert len(positions) == n_watched(n_train, n_validation)
    assert (np.diff(positions) > 0).all()
    assert np.abs(positions - (np.arange(len(positions)) + 0.5) * n_validation / len(positions)).max() <= (
        n_validation / len(positions)
    )
    np.testing.assert_array_equal(positions, watched_positions(n_train, validation))


@pytest.mark.parametrize("symbols", [2, 4, 5, 7])
def test_windows_in_a_periodic_order_all_have_their_share(symbols):
    """As many symbols a date as there are windows in a stretch."""
    positions = watched_positions(400, windows(500 * symbols, 2))
    counts = np.bincount(positions % symbols, minlength=symbols)
    assert counts.min() > 0.6 * 500 / symbols


def test_a_subset_lacks_no_class():
    rare = windows(2_000, 2)
    rare.labels[:] = 0
    rare.labels[1] = 1
    positions = watched_positions(400, rare)
    assert positions is None or 1 in positions
    rare.labels[:] = 0
    rare.labels[watched_positions(400, windows(2_000, 2))[0]] = 1
    assert watched_positions(400, rare) is not None


def test_epochs_are_evaluated_on_the_subset_and_the_best_weights_on_all_windows():
    validation, few = windows(1_200, 2), windows(64, 1)
    positions = watched_positions(len(few), validation)
    subset, net, settings = validation.subset(positions), network(), config(max_epochs=3)
    reports, found = [], []

    def on_report(report):
        if report.loss is not None:
            reports.append(report)
            again = evaluate(net, subset, SCALE)
            found.append((again.score, again.loss))
            net.train()
        return CONTINUE

    with seeded_dropout(0, CPU):
        training = FoldTraining(net, few, validation, settings, scale=SCALE, generator=_generator(), watched=positions)
        outcome = train_folds([training], settings, on_report=on_report)
    assert found == [(report.score, report.loss) for report in reports]
    again = evaluate(net, validation, SCALE)
    assert (outcome.best.score, outcome.best.loss) == (again.score, again.loss)
    np.testing.assert_array_equal(outcome.best.predictions.probabilities, again.predictions.probabilities)
    best = min(reports, key=lambda report: report.loss)
    assert outcome.best_epoch == best.epoch
    assert len(subset) == 500 < len(outcome.best.predictions.probabilities) == 1_200
    assert outcome.best.loss != pytest.approx(best.loss, abs=1e-9)


def _generator():
    return torch.Generator().manual_seed(0)
