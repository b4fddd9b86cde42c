"""Drift of features on planted windows: samples that do not overlap, a planted shift, and autocorrelated noise without one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from cnn_lstm_hyperopt.pipeline.updates.drift import earlier_errors, error_drift, feature_drift
from cnn_lstm_hyperopt.pipeline.updates.summary import drift_text

LOOKBACK, DAYS, SYMBOLS = 20, 1_200, 3
SPLIT = 800


def planted(seed: int, shift: float, span: int = 10) -> Any:
    """Windows of three symbols with two features, moving means over ``span`` bars; the second shifts at the split."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(SYMBOLS):
        noise = random.standard_normal((DAYS + span - 1, 2))
        moving = np.stack([np.convolve(column, np.ones(span) / span, "valid") for column in noise.T], axis=1)
        moving[SPLIT:, 1] += shift
        rows.append(moving)
    ends = np.arange(LOOKBACK - 1, DAYS)
    dates = np.datetime64("2020-01-01", "ns") + ends * np.timedelta64(1, "D")
    starts = np.concatenate([symbol * DAYS + ends - LOOKBACK + 1 for symbol in range(SYMBOLS)])
    return SimpleNamespace(features=np.concatenate(rows), starts=starts, dates=np.tile(dates, SYMBOLS))


def drift(table: Any, test: int = 1, recent_days: int = DAYS - SPLIT) -> dict[str, Any]:
    day = (table.dates - np.datetime64("2020-01-01", "ns")) // np.timedelta64(1, "D")
    return feature_drift(
        table,
        np.flatnonzero(day < SPLIT),
        np.flatnonzero((day >= SPLIT + LOOKBACK) & (day < SPLIT + LOOKBACK + recent_days)),
        lookback=LOOKBACK,
        names=("calm", "moved"),
        test=test,
    )


def test_only_the_feature_that_shifted_is_named():
    found = drift(planted(1, 1.0))
    assert [each["feature"] for each in found["changed"]] == ["moved"]
    assert (found["reference"], found["recent"]) == (-(-(SPLIT - LOOKBACK + 1) // LOOKBACK), 19)


@pytest.mark.parametrize("span", [10, 60])
def test_autocorrelated_features_without_a_shift_cause_few_alarms(span):
    """Also if the features depend on more bars than a window has."""
    assert sum(bool(drift(planted(seed, 0.0, span))["changed"]) for seed in range(40)) <= 5


def test_a_feature_with_too_few_independent_samples_is_not_tested():
    found = drift(planted(1, 1.0, 300))
    assert (found["changed"], found["not_tested"]) == (None, ["calm", "moved"])
    mixed = planted(1, 1.0)
    mixed.features[:, 0] = planted(1, 0.0, 300).features[:, 0]
    found = drift(mixed)
    assert [each["feature"] for each in found["changed"]] == ["moved"]
    assert found["not_tested"] == ["calm"]
    assert "calm" in drift_text({"features": found, "errors": {"changes": []}})


def test_later_tests_have_smaller_levels_and_few_windows_are_not_tested():
    table = planted(2, 1.0)
    assert drift(table, test=2)["level"] < drift(table)["level"]
    assert drift(table, recent_days=3 * LOOKBACK)["changed"] is None


def test_only_changes_at_new_dates_are_reported_and_earlier_errors_are_read_from_the_history():
    errors = [(f"day {day}", float(day >= 100)) for day in range(150)]
    assert error_drift(errors, 10)["changes"] == []
    (change,) = error_drift(errors, 45)["changes"]
    assert change["since"] == "day 100"
    events = [
        {"event": "update", "errors": errors[:60]},
        {"event": "rollback"},
        {"event": "update", "errors": errors[60:]},
    ]
    assert earlier_errors(events) == errors


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["labels of 5 bars", "labels of 20 bars", "autoregression", "slow component"])
def test_errors_of_dependent_dates_cause_few_alarms(memory):
    """Errors of five symbols at a constant rate: overlapping labels, or a latent AR(1) or ARMA(1, 1) process."""
    filters = {"autoregression": ([0.8], [1, -0.6]), "slow component": ([0.82, -0.49], [1, -0.9])}
    alarms = 0
    for seed in range(20):
        own = np.random.default_rng(seed).standard_normal((1_300, 5))
        if memory in filters:
            latent = lfilter(*filters[memory], own, axis=0)
        else:
            bars = int(memory.split()[2])
            latent = np.stack([np.convolve(each, np.ones(bars) / bars**0.5, "valid") for each in own.T], axis=1)
        rates = (latent[-1_000:] < -0.125).mean(axis=1)
        alarms += bool(error_drift([(f"day {day}", rate) for day, rate in enumerate(rates)], 1_000)["changes"])
    assert alarms <= 2


@pytest.mark.parametrize("changed", [None, [], [{"feature": "calm", "p": 0.001}]])
def test_the_summary_names_what_changed(changed):
    change = {"found": "b", "since": "a", "before": 0.4, "after": 0.6}
    for changes in ([], [change]):
        text = drift_text({"features": {"changed": changed}, "errors": {"changes": changes}})
        assert ("calm" in text) == bool(changed)
        assert ("40.0%" in text) == bool(changes)
