"""Bins of the calibration plot: which are connected, and how sure each is."""

import pytest

from cnn_lstm_hyperopt.reporting.html.charts import MIN_WINDOWS, calibration_rows


def row(n, right, confidence=0.55):
    return {"low": 0.5, "high": 0.6, "n": n, "confidence": confidence, "right": right}


def test_a_bin_of_few_windows_is_not_connected():
    found = calibration_rows([row(MIN_WINDOWS, 0.6), row(MIN_WINDOWS - 1, 0.6), row(0, 0.0)])
    assert (found.n >= MIN_WINDOWS).tolist() == [True, False]


def test_intervals_are_those_of_wilson():
    """Wilson 1927 with 8 of 10: the figures of Brown, Cai & DasGupta 2001, eq. 4."""
    found = calibration_rows([row(10, 0.8)]).iloc[0]
    assert (found["low"], found["high"]) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))


@pytest.mark.parametrize("right", [0.0, 1.0])
@pytest.mark.parametrize("n", [1, 7, 10_000])
def test_intervals_stay_in_range_and_hold_the_share(n, right):
    found = calibration_rows([row(n, right)]).iloc[0]
    assert 0 <= found["low"] <= right <= found["high"] <= 1
