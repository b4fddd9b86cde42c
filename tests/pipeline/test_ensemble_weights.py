"""Weights of an ensemble's candidates: how many windows of validation stacking needs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.pipeline.ensemble_weights import EQUAL, SELECTED, STACKED, Weigher
from cnn_lstm_hyperopt.pipeline.results.ensemble import weights_text
from cnn_lstm_hyperopt.training import Predictions

CANDIDATES = 4


def candidates(windows, seed=0):
    """Validation windows and the predictions of four models that know the labels more and more."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=windows)
    logits = rng.normal(size=(CANDIDATES, windows, 2))
    logits[:, np.arange(windows), labels] += np.linspace(0, 1.5, CANDIDATES)[:, None]
    probabilities = torch.softmax(torch.from_numpy(logits), dim=-1).numpy().astype(np.float32)
    numbers = np.arange(windows)
    validation = Windows(
        series=torch.zeros(windows, 1),
        starts=torch.arange(windows),
        lookback=1,
        labels=torch.from_numpy(labels),
        values=None,
        dates=numbers,
        symbols=np.full(windows, "A"),
        dated=False,
    )
    return validation, [Predictions(each, None) for each in probabilities]


def weights(method, validation, said):
    return Weigher(method, validation, "log_loss", horizon=1, n_trials=20).weights(said, n_networks=CANDIDATES)


@pytest.mark.parametrize("windows", [6, 20, 10 * CANDIDATES - 1])
def test_few_windows_get_the_weights_of_the_method_equal(windows):
    validation, said = candidates(windows)
    found, other = weights("stack", validation, said), weights("equal", validation, said)
    assert found.kind == other.kind in {EQUAL, SELECTED}
    np.testing.assert_array_equal(found.weights, other.weights)


def test_ten_windows_for_each_candidate_are_enough_to_stack():
    found = weights("stack", *candidates(10 * CANDIDATES))
    assert found.kind == STACKED
    assert found.weights.argmax() == CANDIDATES - 1  # the model that knows most


def test_windows_whose_labels_overlap_count_in_part():
    validation, said = candidates(20 * CANDIDATES)
    dated = replace(validation, dated=True)
    found = [
        Weigher("stack", dated, "log_loss", horizon=horizon, n_trials=20).weights(said, CANDIDATES)
        for horizon in (1, 2, 3, 20)
    ]
    assert [each.kind == STACKED for each in found] == [True, True, False, False]
    assert found[3].kind == EQUAL  # no interval is possible
    np.testing.assert_array_equal(found[3].weights, np.full(CANDIDATES, 1 / CANDIDATES))


def test_windows_of_one_group_count_once():
    validation, said = candidates(10 * CANDIDATES)
    grouped = replace(validation, groups=np.arange(10 * CANDIDATES) // 2)
    assert weights("stack", grouped, said).kind != STACKED


def test_the_weights_of_seeds_are_added_up_and_the_largest_comes_first():
    def member(weight, rank=None, baseline=None):
        return {"model_rank": rank, "baseline": baseline, "weight": weight}

    members = [
        member(0.1, rank=1),
        member(0.35, baseline="logistic regression"),
        member(0.3, rank=1),
        member(0.25, rank=2),
    ]
    text = weights_text({"members": members, "weighting": "stacked"})
    assert text == "stacked weights: model 1 40%, logistic regression 35%, model 2 25%"
    assert weights_text({"members": []}) == ""
