"""Networks with a linear highway: they start at the linear solution."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss

from builders.trainings import FEATURES, LOOKBACK, SCALE, Training, assert_same_end, stop_after, structured, windows
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.models.input_network import InputsNetwork
from cnn_lstm_hyperopt.models.inputs import InputsConfig
from cnn_lstm_hyperopt.training import evaluate, last_good
from cnn_lstm_hyperopt.training.linear_start import PENALTIES, LinearStarts, logistic, ridge


def fold(**kinds):
    return Fold(windows(200, 0, **kinds), windows(120, 1, **kinds), SCALE.mean, SCALE.std)


def started(data, **shape):
    """A network at the linear solution of a fold."""
    network = structured("concatenation", highway="linear", **shape)
    LinearStarts().apply(network, data)
    return network


def by_hand(part):
    """Means over the last 1, 5, 22 and all bars, of windows of 4 bars."""
    x = part.series.numpy().reshape(len(part), LOOKBACK, FEATURES).astype(np.float64)
    return np.concatenate([x[:, -1], *[x.mean(axis=1)] * 3], axis=1)


@pytest.mark.parametrize(("n_classes", "values"), [(2, True), (2, False), (3, True)])
def test_a_network_starts_at_the_best_of_scikit_learns_linear_models(n_classes, values):
    data = fold(n_classes=n_classes, values=values)
    found = evaluate(started(data, n_classes=n_classes, has_regression=values), data.validation, SCALE)
    mean, deviation = by_hand(data.train).mean(axis=0), by_hand(data.train).std(axis=0)
    inputs, held_out = [(by_hand(part) - mean) / deviation for part in (data.train, data.validation)]
    labels, truth = data.train.labels.numpy(), data.validation.labels.numpy()
    models = [LogisticRegression(C=1 / (200 * each), max_iter=1000).fit(inputs, labels) for each in PENALTIES[1:]]
    assert found.loss == pytest.approx(min(log_loss(truth, each.predict_proba(held_out)) for each in models), rel=1e-4)
    if values:
        fitted = [Ridge(alpha=200 * each).fit(inputs, data.train.values.numpy()) for each in PENALTIES[1:]]
        errors = [np.mean((each.predict(held_out) - data.validation.values.numpy()) ** 2) for each in fitted]
        assert found.mse == pytest.approx(min(errors), rel=1e-3, abs=1e-6)


def test_without_information_the_linear_solution_is_the_base_rates():
    inputs, nothing = np.random.default_rng(0).normal(size=(50, 3)), np.zeros(50, dtype=np.int64)
    weights, biases = logistic(inputs, nothing, 3, 1.0)
    assert not weights.any()
    np.testing.assert_allclose(np.exp(biases), np.array([51, 1, 1]) / 53)
    assert not ridge(inputs, inputs[:, 0], math.inf)[0].any()
    labels = np.where(inputs[:, 0] > 0, 2, 0)  # class 1 has no window
    weights, biases = logistic(inputs, labels, 3, 0.01)
    assert weights[2, 0] > weights[0, 0]
    assert (np.exp(biases) / np.exp(biases).sum())[1] == pytest.approx(1 / 53)


def test_constant_and_unscaled_inputs_give_the_solution_of_scaled_inputs():
    data = fold()
    scale, shift = torch.tensor([100.0, 0.0, 0.01]), torch.tensor([1e3, 7.0, 0.0])
    other = replace(
        data,
        **{
            k: replace(getattr(data, k), series=getattr(data, k).series * scale + shift)
            for k in ("train", "validation")
        },
    )
    silent = torch.tensor([1.0, 0.0, 1.0])
    plain = replace(
        data, **{k: replace(getattr(data, k), series=getattr(data, k).series * silent) for k in ("train", "validation")}
    )
    losses = [evaluate(started(each), each.validation, SCALE).loss for each in (other, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def linear_training(**changed):
    """A training that starts at the linear solution of its validation windows, whose labels oppose the training's."""
    training = Training(net=structured("gated", highway="linear", dropout=0.1), opposed=True, **changed)
    best = training.validation[0]
    LinearStarts().apply(training.networks[0], Fold(best, best, SCALE.mean, SCALE.std))
    return training


def test_the_best_epoch_is_a_trained_one_and_all_weights_learn():
    """So two trials differ in their scores, even if neither is better than the start that they share."""
    training = linear_training(max_epochs=3)
    before = {name: weight.clone() for name, weight in training.networks[0].named_parameters()}
    start = evaluate(training.networks[0], training.validation[0], SCALE).loss
    outcome = training.run().outcome
    assert outcome.best.loss == min(loss for _, _, loss, _ in training.curve()) > start
    assert outcome.best_epoch > 0
    assert not any(torch.equal(before[name], each) for name, each in training.networks[0].named_parameters())


def test_a_resumed_training_keeps_its_start(tmp_path):
    linear_training().run(stop_after(2), save=tmp_path / "file")
    assert_same_end(linear_training().run(), linear_training().run(start=last_good(tmp_path / "file")))


@pytest.mark.parametrize("dated", [True, False])
def test_without_validation_windows_training_windows_select_the_penalties(dated):
    data = fold()
    silent = replace(
        data,
        train=replace(data.train, dated=dated),
        validation=data.validation.subset(np.empty(0, dtype=np.int64)),
    )
    assert evaluate(started(silent), data.validation, SCALE).accuracy > 0.85


def test_networks_with_other_inputs_have_solutions_of_their_own():
    data, starts = fold(), LinearStarts()
    for columns in ((0, 1), (1, 2), (0, 1)):
        shape = {"n_classes": 2, "has_regression": True}
        inner = structured("gated", highway="linear", input_dim=2, **shape)
        network = InputsNetwork(InputsConfig(FEATURES, 2, True, inner.config, columns, False, False), inner)
        starts.apply(network, data)
        learned = evaluate(network, data.validation, SCALE).accuracy > 0.8
        assert learned is (0 in columns)  # the labels depend on the first feature
