"""GARCH: the parameters of a simulated market, the recursion by hand, and a forecast from earlier returns only."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from cnn_lstm_hyperopt.data.market_history import MarketHistory
from cnn_lstm_hyperopt.evaluation import UNKNOWN, Sample
from cnn_lstm_hyperopt.evaluation.baselines.garch import Dynamics, Garch, fitted_dynamics, variance_forecasts

ALPHA, BETA = 0.12, 0.84


def simulated(bars: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the returns of a GARCH(1,1) market and the variances of the next returns, both ``(bars,)``."""
    rng = np.random.default_rng(seed)
    returns, variances, now = np.empty(bars), np.empty(bars), 1e-4
    for t in range(bars):
        returns[t] = np.sqrt(now) * rng.normal()
        now = variances[t] = (1 - ALPHA - BETA) * 1e-4 + ALPHA * returns[t] ** 2 + BETA * now
    return returns, variances


def history(returns: np.ndarray, segment: np.ndarray | None = None) -> MarketHistory:
    columns = np.zeros((len(returns), 8), np.float32)
    columns[:, 4] = returns / 0.01
    level = np.full(len(returns), np.log(0.01), np.float32)
    return MarketHistory(columns, level, np.zeros(len(returns), np.int64) if segment is None else segment, in_logs=True)


def test_it_finds_the_parameters_and_the_probabilities_of_a_simulated_market():
    """The class is a next move above 1 %, of which only the variance is known."""
    returns, variances = simulated(6000, 1)
    market, rows = history(returns), np.arange(100, 5999)
    found = fitted_dynamics(market, rows[:3900])
    assert found == pytest.approx((ALPHA, BETA), abs=0.04)
    labels = (np.abs(returns[rows + 1]) > 0.01).astype(np.int64)

    def sample(part: slice) -> Sample:
        here = np.arange(len(rows))[part]
        nothing = np.zeros((len(here), 1, 1), np.float32)
        return Sample(nothing, labels[here], np.full(len(here), UNKNOWN), market=market, rows=rows[here])

    garch = Garch()
    garch.fit(sample(slice(0, 3900)), sample(slice(3900, 4400)), n_classes=2, seed=0)
    test = sample(slice(4400, None))
    from scipy.stats import norm

    truth = 2 * norm.sf(0.01 / np.sqrt(variances[test.rows]))
    best, constant = log_loss(test.labels, truth), log_loss(test.labels, np.full(len(truth), labels.mean()))
    assert log_loss(test.labels, garch.probabilities(test)) < best + 0.25 * (constant - best)


def test_the_recursion_is_that_by_hand_and_starts_anew_in_each_segment():
    returns, _ = simulated(60, 2)
    segment = np.repeat([0, 1], 30)
    market, dynamics = history(returns, segment), Dynamics(0.1, 0.8)
    market.level[30:33] = np.nan  # no usual size of a move yet
    forecast, mean = variance_forecasts(market, dynamics)
    assert np.isnan(forecast[30:33]).all()
    for first, last in ((0, 30), (33, 60)):
        now = returns[first] ** 2
        for t in range(first, last):
            so_far = np.mean(returns[first : t + 1] ** 2)
            now = 0.1 * so_far + 0.1 * returns[t] ** 2 + 0.8 * now
            assert (forecast[t], mean[t]) == pytest.approx((now, so_far), rel=1e-5)
    later = history(np.where(np.arange(60) > 20, 3 * returns, returns), segment)
    np.testing.assert_array_equal(variance_forecasts(later, dynamics)[0][:21], forecast[:21])


def test_few_or_flat_bars_give_no_model():
    assert fitted_dynamics(history(simulated(200, 3)[0]), np.arange(200)) is None
    assert fitted_dynamics(history(np.zeros(900)), np.arange(900)) is None
