"""Intervals on intraday bars: the unit is a session day. Coverage by simulation."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from cnn_lstm_hyperopt.evaluation import paired_interval, score_interval
from cnn_lstm_hyperopt.evaluation.dependence import Dependence

ACCURACY, DAYS, SHARED = 0.55, 250, 0.3
"""``SHARED``: share of the variance that the windows of a day have in common."""


def stamps_of(bars: int) -> np.ndarray:
    """``DAYS`` sessions from 9:30 to 16:00 with so many bars."""
    day = np.repeat(np.arange(DAYS), bars) * np.timedelta64(1, "D")
    return (
        np.datetime64("2024-01-01T09:30", "ns")
        + day
        + np.tile(np.arange(bars), DAYS) * np.timedelta64(390 // bars, "m")
    )


def difficulty(rng: np.random.Generator, coefficient: float) -> np.ndarray:
    """An autoregression by day with variance 1."""
    noise = rng.normal(size=DAYS + 200) * math.sqrt(1 - coefficient**2)
    series = np.zeros(DAYS + 200)
    for t in range(1, DAYS + 200):
        series[t] = coefficient * series[t - 1] + noise[t]
    return series[200:]


@pytest.mark.parametrize(
    "bars", [pytest.param(390, marks=pytest.mark.slow), 13, pytest.param(78, marks=pytest.mark.slow)]
)
def test_intervals_cover_the_truth_and_equal_models_are_equal(bars):
    dependence, rng, repeats = Dependence.by_date(stamps_of(bars)), np.random.default_rng(0), 300
    assert (dependence.kind, dependence.n_units) == ("days", DAYS)
    n, covered, different = DAYS * bars, 0, 0
    for _ in range(repeats):
        labels, models = (rng.random(n) < 0.5).astype(np.int64), []
        for _ in range(2):
            common = np.repeat(difficulty(rng, 0.9), bars)
            right = math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * rng.normal(size=n) < ndtri(ACCURACY)
            models.append(np.eye(2)[np.where(right, labels, 1 - labels)])
        own = score_interval("accuracy", labels, models[0], dependence)
        pair = paired_interval("accuracy", labels, *models, dependence)
        covered += own.low <= ACCURACY <= own.high
        different += not pair.low <= 0 <= pair.high
    assert covered / repeats >= 0.92 - 0.02  # two standard errors of the simulation: 0.025
    assert different / repeats <= 0.07 + 0.02


@pytest.mark.parametrize("horizon", [5, 20])
def test_overlapping_labels_widen_no_interval_beyond_its_coverage(horizon):
    """Moving sums of independent shocks: the width is near that of the true standard error, 1 / sqrt(n)."""
    dependence, rng, n, widths = (
        Dependence.by_date(np.arange(DAYS), horizon=horizon),
        np.random.default_rng(1),
        DAYS,
        [],
    )
    for _ in range(200):
        shocks = rng.normal(size=n + horizon - 1)
        widths.append(dependence.variance(np.convolve(shocks, np.ones(horizon) / horizon, "valid")).value)
    assert 0.7 <= float(np.mean(widths)) * n <= 1.1


def test_a_horizon_in_bars_becomes_days():
    assert Dependence.by_date(stamps_of(13), horizon=13).horizon == 1
    assert Dependence.by_date(stamps_of(13), horizon=14).horizon == 2
    assert "days" in Dependence.by_date(stamps_of(13), horizon=13 * 100).too_few
