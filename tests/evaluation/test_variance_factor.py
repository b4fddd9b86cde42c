"""The factor by which dependence increases the variance of a mean, against closed forms."""

import numpy as np
import pytest
from scipy.signal import lfilter

from cnn_lstm_hyperopt.evaluation.dependence import variance_factor

N = 20_000
PROCESSES = {
    "independent": (lambda shocks: shocks, 1.0),
    "autoregression": (lambda shocks: lfilter([1], [1, -0.5], shocks), 3.0),  # (1 + φ) / (1 − φ)
    "moving sum of 5": (lambda shocks: np.convolve(shocks, np.ones(5), "valid"), 5.0),  # (Σ c)² / Σ c²
    # Σ c = 0.4 / 0.1, variance (1 + 0.36 − 2 · 0.9 · 0.6) / (1 − 0.81)
    "ARMA(1, 1)": (lambda shocks: lfilter([1, -0.6], [1, -0.9], shocks), 16 / (0.28 / 0.19)),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_the_factor_is_that_of_the_process(name: str) -> None:
    process, expected = PROCESSES[name]
    found = [
        variance_factor(series - series.mean())
        for seed in range(8)
        for series in [process(np.random.default_rng(seed).standard_normal(N))]
    ]
    assert np.median(found) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("series", [[], [0.0], [0.0, 0.0], [1.0, -1.0], [0.0] * 50])
def test_the_factor_of_few_or_equal_numbers_is_1(series: list[float]) -> None:
    assert variance_factor(np.array(series)) == 1.0


@pytest.mark.parametrize("n", [3, 4, 5, 10, 40])
def test_the_factor_is_finite_and_at_least_1(n: int) -> None:
    for seed in range(50):
        series = np.random.default_rng(seed).standard_normal(n)
        assert 1.0 <= variance_factor(series - series.mean()) < np.inf
