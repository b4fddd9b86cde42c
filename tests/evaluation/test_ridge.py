"""Ridge regression: against scikit-learn and brute force; it finds what is linear in a window or in the ranges of bars."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import log_loss

from cnn_lstm_hyperopt.data.market_history import MarketHistory
from cnn_lstm_hyperopt.evaluation import UNKNOWN, Sample
from cnn_lstm_hyperopt.evaluation.baselines.ridge import RidgeRegression, ridge_path


@pytest.mark.parametrize("columns", [4, 40])
def test_the_path_is_that_of_scikit_learn_and_left_out_forecasts_are_those_of_refits(columns):
    """Also with more columns than windows, and a constant column."""
    rng = np.random.default_rng(0)
    inputs, targets = 3 + 2 * rng.normal(size=(30, columns)), rng.normal(size=(30, 2))
    inputs[:, 1] = 5.0
    penalties = np.array([1e-3, 0.1, 10.0])
    scaled = (inputs - inputs.mean(axis=0)) / np.where(inputs.std(axis=0) > 0, inputs.std(axis=0), 1)
    path = ridge_path(lambda: [inputs[:7], inputs[7:]], targets, penalties)
    found = path.forecasts([inputs[:3], inputs[3:]])
    for place, penalty in enumerate(penalties):
        np.testing.assert_allclose(found[place], Ridge(30 * penalty).fit(scaled, targets).predict(scaled), atol=1e-8)
        for out in (0, 17):
            rest = np.arange(30) != out
            refit = Ridge(30 * penalty, fit_intercept=False).fit(scaled[rest], (targets - targets.mean(axis=0))[rest])
            left_out = targets.mean(axis=0) + refit.predict(scaled[[out]])[0]
            np.testing.assert_allclose(path.left_out[place, out], left_out, atol=1e-7)


def linear(count: int, seed: int, *, with_values: bool) -> tuple[Sample, np.ndarray]:
    """The log-odds are linear in all inputs of the window. Returns the windows and their true probabilities."""
    weights = np.random.default_rng(9).normal(size=(12, 2)) / 5
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, 12, 2)).astype(np.float32)
    odds = 2 * (inputs * weights).sum(axis=(1, 2))
    truth = 1 / (1 + np.exp(-odds))
    labels = (rng.random(count) < truth).astype(np.int64)
    values = odds + rng.normal(size=count) if with_values else None
    return Sample(inputs, labels, np.full(count, UNKNOWN), values=values), np.column_stack([1 - truth, truth])


@pytest.mark.parametrize("with_values", [False, True])
def test_it_captures_what_is_linear_in_all_inputs_of_a_window(with_values):
    (train, _), (validation, _), (test, truth) = (
        linear(count, seed, with_values=with_values) for count, seed in ((2000, 1), (500, 2), (4000, 3))
    )
    ridge = RidgeRegression()
    ridge.fit(train, validation, n_classes=2, seed=0)
    found = ridge.probabilities(test)
    assert (
        log_loss(test.labels, found) < log_loss(test.labels, truth) + 0.012
    )  # 24 coefficients / (2 × 2,000 windows) = 0.006
    assert log_loss(test.labels, truth) < 0.55  # of 0.69
    if with_values:
        assert np.mean((ridge.values(test) - test.values) ** 2) == pytest.approx(1.0, rel=0.1)
    else:
        assert ridge.values(test) is None


def test_noise_gets_the_base_rates_or_nearly_so():
    rng = np.random.default_rng(0)
    train, validation, test = (
        Sample(rng.normal(size=(n, 30, 10)).astype(np.float32), rng.integers(2, size=n), np.full(n, UNKNOWN))
        for n in (100, 50, 1000)
    )
    ridge = RidgeRegression()
    ridge.fit(train, validation, n_classes=2, seed=0)
    assert log_loss(test.labels, ridge.probabilities(test)) < np.log(2) + 0.03


@pytest.mark.parametrize("in_logs", [True, False])
def test_values_of_bars_are_forecast_relative_to_their_usual_size(in_logs):
    """Two symbols of which one moves a hundred times as much; the relative value is linear in the ranges.

    A jump after bars without any move is a million usual moves and has no influence."""
    rng = np.random.default_rng(0)
    rows = 3000
    columns = rng.normal(size=(rows, 8)).astype(np.float32)
    level = np.where(np.arange(rows) % 2, 0.0, -4.6).astype(np.float32)
    market = MarketHistory(columns, level, np.zeros(rows, np.int64), in_logs)
    relative = columns[:, :4] @ np.array([0.5, 0.3, 0.2, 0.1]) + 0.3 * rng.normal(size=rows)
    values = market.absolute(relative, np.arange(rows))
    np.testing.assert_allclose(market.relative(values, np.arange(rows)), relative)
    inputs = rng.normal(size=(rows, 5, 2)).astype(np.float32)
    values[7], columns[7, 5] = values[7] + 1e6, 1e6

    def sample(first: int, last: int) -> Sample:
        here = np.arange(first, last)
        labels = (relative[here] > 0).astype(np.int64)
        return Sample(inputs[here], labels, np.full(len(here), UNKNOWN), values=values[here], market=market, rows=here)

    train, validation, test = sample(0, 1500), sample(1500, 2000), sample(2000, rows)
    ridge = RidgeRegression()
    ridge.fit(train, validation, n_classes=2, seed=0)
    errors = market.relative(ridge.values(test), test.rows) - relative[2000:]
    assert errors.std() == pytest.approx(0.3, rel=0.1)
    assert (ridge.probabilities(test).argmax(axis=1) == test.labels).mean() > 0.85
