"""Baselines as linear models of all inputs: the same probabilities and values, from weights alone."""

import numpy as np
import pytest
from scipy.special import softmax

from cnn_lstm_hyperopt.evaluation.baselines.base import UNKNOWN, Sample
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline
from cnn_lstm_hyperopt.evaluation.baselines.ridge import RidgeRegression


def sample(count, seed, *, steps=30, n_classes=2, by="last"):
    """The class is the band of the first feature: of its last value or mean, or of a contrast of two bars."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, steps, 2)).astype(np.float32)
    signal = {
        "last": inputs[:, -1, 0],
        "mean": 5 * inputs[:, :, 0].mean(axis=1),
        "bars": inputs[:, 1, 0] - inputs[:, 2, 0],
    }
    signal = signal[by] + 0.5 * rng.normal(size=count)
    labels = np.searchsorted(np.quantile(signal, np.arange(1, n_classes) / n_classes), signal).astype(np.int64)
    return Sample(inputs, labels, np.full(count, UNKNOWN), values=signal)


@pytest.mark.parametrize("kind", [LogisticBaseline, RidgeRegression])
@pytest.mark.parametrize(
    ("by", "steps", "n_classes"), [("last", 30, 2), ("mean", 30, 3), ("bars", 30, 2), ("last", 3, 3)]
)
def test_the_linear_form_predicts_what_the_baseline_predicts(kind, by, steps, n_classes):
    train, validation, test = (sample(300, seed, steps=steps, n_classes=n_classes, by=by) for seed in (1, 2, 3))
    baseline = kind()
    baseline.fit(train, validation, n_classes=n_classes, seed=0)
    form, inputs = baseline.linear_form(steps), test.inputs.reshape(len(test), -1)
    said = softmax(inputs @ form.weights.T + form.biases, axis=1)
    np.testing.assert_allclose(said, baseline.probabilities(test), atol=1e-5)
    if kind is RidgeRegression:
        values = baseline.linear_values(steps)
        np.testing.assert_allclose((inputs @ values.weights.T + values.biases)[:, 0], baseline.values(test), atol=1e-5)


def test_without_a_linear_form_there_is_none():
    """A class without training windows keeps its base rate, which is no linear function."""
    train, validation = sample(100, 1), sample(100, 2)
    for baseline in (LogisticBaseline(), RidgeRegression()):
        baseline.fit(train, validation, n_classes=3, seed=0)
        assert baseline.linear_form(30) is None
