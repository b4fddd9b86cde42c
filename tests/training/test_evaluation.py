"""Evaluation against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from torch import nn

from builders.trainings import SCALE, network, windows
from cnn_lstm_hyperopt.training import ValueScale, evaluate, over_folds, predict
from cnn_lstm_hyperopt.training.validation import EVALUATION_BATCH


@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("count", [1, 50, EVALUATION_BATCH + 37])
def test_scores_equal_scikit_learns(n_classes, count):
    data = windows(count, n_classes=n_classes, noise=True)
    evaluation = evaluate(network(n_classes=n_classes), data, SCALE)
    labels, predictions = data.labels.numpy(), evaluation.predictions
    assert predictions.probabilities.shape == (count, n_classes)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, rtol=1e-5)
    probabilities = predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert evaluation.loss == pytest.approx(metrics.log_loss(labels, probabilities, labels=range(n_classes)), rel=1e-4)
    assert evaluation.accuracy == pytest.approx(metrics.accuracy_score(labels, predictions.classes))
    expected = metrics.mean_squared_error(data.values.numpy(), predictions.values)
    assert evaluation.mse == pytest.approx(expected, rel=1e-5)


SCIKIT_LEARN = {
    "accuracy": lambda labels, p: metrics.accuracy_score(labels, p.argmax(axis=1)),
    "balanced_accuracy": lambda labels, p: metrics.balanced_accuracy_score(labels, p.argmax(axis=1)),
    "mcc": lambda labels, p: metrics.matthews_corrcoef(labels, p.argmax(axis=1)),
    "auc": lambda labels, p: metrics.roc_auc_score(labels, p[:, 1]),
    "log_loss": lambda labels, p: -metrics.log_loss(labels, p),
}


@pytest.mark.parametrize("metric", SCIKIT_LEARN)
def test_the_score_is_the_metric_of_the_predictions(metric):
    data, net = windows(150), network()
    net.classify.bias.data = torch.tensor([0.02, 0.0])  # so that both classes are predicted
    evaluation = evaluate(net, data, SCALE, metric=metric)
    probabilities = evaluation.predictions.probabilities.astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    assert len(set(evaluation.predictions.classes.tolist())) == 2
    assert evaluation.score == pytest.approx(SCIKIT_LEARN[metric](data.labels.numpy(), probabilities), rel=1e-6)
    assert evaluation.accuracy == evaluate(net, data, SCALE).score


def test_without_a_regression_head_or_target_there_is_no_squared_error():
    headless = [evaluate(network(has_regression=False), windows(count), SCALE) for count in (10, 20)]
    assert over_folds(headless[:1]) is headless[0]
    for evaluation in (headless[0], over_folds(headless)):
        assert (evaluation.mse, evaluation.predictions.values) == (None, None)
    targetless = evaluate(network(), windows(10, values=False), SCALE)
    assert (targetless.mse, targetless.predictions.values is None) == (None, False)


def test_windows_are_predicted_in_their_order_and_values_in_the_targets_units_without_dropout_or_draws():
    data, net, before = windows(EVALUATION_BATCH + 5), network(dropout=0.9).train(), torch.get_rng_state()
    logits, values = predict(net, data, ValueScale(-7.0, 0.01))
    assert torch.equal(torch.get_rng_state(), before)
    assert not logits.requires_grad
    for place in (0, 1, EVALUATION_BATCH - 1, EVALUATION_BATCH, EVALUATION_BATCH + 4):
        output = net.eval()(data.gather(torch.tensor([place])))
        torch.testing.assert_close(output.logits[0], logits[place])
        torch.testing.assert_close(output.value[0] * 0.01 - 7, values[place])


def test_confident_mistakes_have_a_large_finite_loss():
    """Logits, not rounded probabilities, make the loss."""
    data, net = windows(10), network()
    nn.init.zeros_(net.classify.weight)
    net.classify.bias.data = torch.tensor([0.0, 500.0])
    evaluation, share = evaluate(net, data, SCALE), float((data.labels == 0).double().mean())
    assert (evaluation.loss, evaluation.accuracy) == pytest.approx((500 * share, 1 - share))
