"""Evaluation against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    matthews_corrcoef,
    mean_squared_error,
    roc_auc_score,
)

from cnn_lstm_hyperopt.training import ValueScale, as_predictions, evaluate, over_folds, predict
from cnn_lstm_hyperopt.training.validation import EVALUATION_BATCH

SCALE = ValueScale(mean=5.0, std=3.0)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 50, EVALUATION_BATCH + 37])
def test_scores_equal_scikit_learns(make_windows, make_network, n_classes, count):
    windows = make_windows(count, n_classes=n_classes, noise=True)
    evaluation = evaluate(make_network(n_classes=n_classes), windows, SCALE)
    labels, predictions = windows.labels.numpy(), evaluation.predictions
    assert predictions.probabilities.shape == (count, n_classes)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, rtol=1e-5)
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert evaluation.loss == pytest.approx(log_loss(labels, probabilities, labels=range(n_classes)), rel=1e-4)
    assert evaluation.accuracy == pytest.approx(accuracy_score(labels, predictions.classes))
    assert evaluation.mse == pytest.approx(mean_squared_error(windows.values.numpy(), predictions.values), rel=1e-5)


SCIKIT_LEARN = {
    "accuracy": lambda labels, probabilities: accuracy_score(labels, probabilities.argmax(axis=1)),
    "balanced_accuracy": lambda labels, probabilities: balanced_accuracy_score(labels, probabilities.argmax(axis=1)),
    "mcc": lambda labels, probabilities: matthews_corrcoef(labels, probabilities.argmax(axis=1)),
    "auc": lambda labels, probabilities: roc_auc_score(labels, probabilities[:, 1]),
    "log_loss": lambda labels, probabilities: -log_loss(labels, probabilities),
}


@pytest.mark.parametrize("metric", SCIKIT_LEARN)
def test_the_score_is_the_metric_of_the_predictions(make_windows, make_network, metric):
    windows, network = make_windows(150), make_network()
    with torch.no_grad():
        network.classify.bias.copy_(network.classify.weight.new_tensor([0.02, 0.0]))  # so that both classes are said
    evaluation = evaluate(network, windows, SCALE, metric=metric)
    probabilities = evaluation.predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = SCIKIT_LEARN[metric](windows.labels.numpy(), probabilities)
    assert len(set(evaluation.predictions.classes.tolist())) == 2
    assert evaluation.score == pytest.approx(expected, rel=1e-6)
    assert evaluation.accuracy == evaluate(network, windows, SCALE).score


def test_over_folds_numbers_are_means_whatever_the_sizes_and_predictions_follow_each_other(make_windows, make_network):
    parts = [make_windows(count, seed) for seed, count in enumerate((5, 40, 90))]
    each = [evaluate(make_network(seed=seed), windows, SCALE, metric="mcc") for seed, windows in enumerate(parts)]
    together = over_folds(each)
    for name in ("loss", "accuracy", "mse", "score"):
        assert getattr(together, name) == pytest.approx(np.mean([getattr(one, name) for one in each]), rel=1e-12)
    labels = np.concatenate([windows.labels.numpy() for windows in parts])
    assert len(together.predictions.probabilities) == len(together.predictions.values) == 135
    pooled = accuracy_score(labels, together.predictions.classes)
    assert together.accuracy != pytest.approx(pooled, abs=1e-3)  # small folds count as much as large ones
    np.testing.assert_array_equal(together.predictions.probabilities[5:45], each[1].predictions.probabilities)
    np.testing.assert_array_equal(together.predictions.values[45:], each[2].predictions.values)


def test_over_folds_without_a_regression_head_there_is_no_squared_error(make_windows, make_network):
    each = [evaluate(make_network(has_regression=False), make_windows(count), SCALE) for count in (10, 20)]
    together = over_folds(each)
    assert (together.mse, together.predictions.values) == (None, None)


def test_a_single_fold_is_itself(make_windows, make_network):
    evaluation = evaluate(make_network(), make_windows(10), SCALE)
    assert over_folds([evaluation]) is evaluation


def test_values_are_in_the_targets_units(make_windows, make_network):
    windows, network = make_windows(20), make_network()
    plain = predict(network, windows, ValueScale(0.0, 1.0))[1]
    scaled = predict(network, windows, ValueScale(-7.0, 0.01))[1]
    assert plain is not None
    assert scaled is not None
    torch.testing.assert_close(scaled, plain * 0.01 - 7)


def test_windows_are_predicted_in_their_order(make_windows, make_network):
    windows, network = make_windows(EVALUATION_BATCH + 5), make_network()
    logits, values = predict(network, windows, SCALE)
    assert values is not None
    for place in (0, 1, EVALUATION_BATCH - 1, EVALUATION_BATCH, EVALUATION_BATCH + 4):
        output = network(windows.gather(torch.tensor([place])))
        torch.testing.assert_close(output.logits[0], logits[place])
        torch.testing.assert_close(output.value[0] * 3 + 5, values[place])


def test_without_a_regression_head_or_target_there_is_no_squared_error(make_windows, make_network):
    headless = evaluate(make_network(has_regression=False), make_windows(10), SCALE)
    assert (headless.mse, headless.predictions.values) == (None, None)
    targetless = evaluate(make_network(), make_windows(10, values=False), SCALE)
    assert targetless.mse is None
    assert targetless.predictions.values is not None


def test_predicting_uses_no_dropout_and_draws_nothing(make_windows, make_network):
    windows, network = make_windows(10), make_network(dropout=0.9).train()
    before = torch.get_rng_state()
    first, second = (predict(network, windows, SCALE)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert not first.requires_grad


def test_the_class_is_the_most_probable_one():
    predictions = as_predictions(torch.tensor([[0.0, 2.0, 1.0], [3.0, 2.0, 1.0]]), torch.tensor([1.5, 2.5]))
    assert predictions.classes.tolist() == [1, 0]
    assert predictions.classes.dtype == np.int64
    assert predictions.values is not None
    assert predictions.values.tolist() == [1.5, 2.5]
    np.testing.assert_allclose(predictions.probabilities[0], np.exp([0, 2, 1]) / np.exp([0, 2, 1]).sum(), rtol=1e-6)


def test_confident_mistakes_have_a_large_finite_loss(make_windows, make_network):
    """Logits, not rounded probabilities, make the loss."""
    windows, network = make_windows(10), make_network()
    with torch.no_grad():
        network.classify.weight.zero_()
        network.classify.bias.copy_(torch.tensor([0.0, 500.0]))
    evaluation = evaluate(network, windows, SCALE)
    share = float((windows.labels == 0).double().mean())
    assert evaluation.loss == pytest.approx(500 * share)
    assert evaluation.accuracy == pytest.approx(1 - share)
