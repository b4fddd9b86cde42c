"""Baselines: what they learn from, what they choose, and that they find a planted signal."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from cnn_lstm_hyperopt.evaluation import BASELINES
from cnn_lstm_hyperopt.evaluation.baselines import LogisticBaseline, MajorityClass

LOOKBACK, FEATURES = 30, 3


def planted(count: int, seed: int, *, span: int = 1, noise: float = 0.0, n_classes: int = 2):
    """The class says in which band the mean of the first feature over the last ``span`` bars lies, up to noise."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, LOOKBACK, FEATURES)).astype(np.float32)
    signal = inputs[:, -span:, 0].mean(axis=1) * np.sqrt(span) + noise * rng.normal(size=count)
    cuts = np.quantile(signal, np.arange(1, n_classes) / n_classes)
    return inputs, np.searchsorted(cuts, signal).astype(np.int64)


def accuracy(baseline, data) -> float:
    return float((baseline.predict(data[0]) == data[1]).mean())


def summaries(inputs):
    spans = (1, 5, 20, inputs.shape[1])
    return np.concatenate([inputs[:, -span:].mean(axis=1) for span in spans], axis=1)


def fitted(baseline, train, validation):
    baseline.fit(train, validation)
    return baseline


def test_the_majority_class_stands_first():
    assert [baseline.name for baseline in BASELINES] == ["majority class", "logistic regression"]


@pytest.mark.parametrize("kind", BASELINES)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_every_baseline_predicts_a_class_a_window_and_repeats(kind, n_classes):
    train, validation, test = (planted(90, seed, n_classes=n_classes) for seed in (1, 2, 3))
    first, again = (fitted(kind(), train, validation).predict(test[0]) for _ in range(2))
    assert first.shape == (90,)
    assert first.dtype == np.int64
    assert set(first.tolist()) <= set(range(n_classes))
    np.testing.assert_array_equal(first, again)


def test_the_majority_class_is_that_of_training_whatever_validation_says():
    train = np.zeros((5, LOOKBACK, FEATURES), np.float32), np.array([2, 1, 2, 0, 2])
    validation = np.zeros((9, LOOKBACK, FEATURES), np.float32), np.zeros(9, np.int64)
    baseline = fitted(MajorityClass(), train, validation)
    assert baseline.predict(np.zeros((4, LOOKBACK, FEATURES), np.float32)).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("span", [1, 5, 20, 30])
def test_logistic_regression_finds_a_signal_over_each_of_its_spans(span):
    train, validation, test = (planted(300, seed, span=span) for seed in (1, 2, 3))
    logistic = accuracy(fitted(LogisticBaseline(), train, validation), test)
    majority = accuracy(fitted(MajorityClass(), train, validation), test)
    assert logistic > 0.85 > 0.6 > majority


def test_logistic_regression_of_several_classes_beats_the_majority():
    train, validation, test = (planted(400, seed, n_classes=3) for seed in (1, 2, 3))
    assert accuracy(fitted(LogisticBaseline(), train, validation), test) > 0.6


@pytest.mark.parametrize("agreeing", [True, False])
def test_the_penalty_is_the_best_on_validation(agreeing):
    """Validation with its labels inverted asks for the strongest penalty; training alone would ask for the weakest."""
    train, validation, test = planted(120, 1, noise=1.0), planted(80, 2, noise=1.0), planted(2000, 3)
    if not agreeing:
        validation = validation[0], 1 - validation[1]
    inputs = summaries(train[0])
    mean, std = inputs.mean(axis=0), inputs.std(axis=0)

    losses, guesses = [], []
    for penalty in LogisticBaseline.PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=1000).fit((inputs - mean) / std, train[1])
        losses.append(log_loss(validation[1], model.predict_proba((summaries(validation[0]) - mean) / std)))
        guesses.append(model.predict((summaries(test[0]) - mean) / std))
    chosen = int(np.argmin(losses))
    assert chosen == 0 or agreeing
    ours = fitted(LogisticBaseline(), train, validation).predict(test[0])
    agreement = [float((ours == guess).mean()) for guess in guesses]
    assert agreement[chosen] > 0.999
    assert all(share < 0.999 for place, share in enumerate(agreement) if place != chosen)


def test_a_validation_class_that_training_lacks_is_left_out_of_the_choice():
    train, validation = planted(100, 1), planted(60, 2)
    labels = validation[1].copy()
    labels[:10] = 2
    baseline = fitted(LogisticBaseline(), train, (validation[0], labels))
    known = fitted(LogisticBaseline(), train, (validation[0][10:], validation[1][10:]))
    test = planted(200, 3)[0]
    np.testing.assert_array_equal(baseline.predict(test), known.predict(test))


def test_windows_shorter_than_the_spans_are_read_whole():
    train, validation, test = ((x[:, -2:], y) for x, y in (planted(200, seed) for seed in (1, 2, 3)))
    assert accuracy(fitted(LogisticBaseline(), train, validation), test) > 0.85
