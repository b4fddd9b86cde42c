"""Dependence between labels: closed forms, brute force and simulated trials without skill."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter

from cnn_lstm_hyperopt.evaluation import dates_effect, design_effect
from cnn_lstm_hyperopt.evaluation.label_dependence import serial_effect
from cnn_lstm_hyperopt.metrics import METRICS, score
from cnn_lstm_hyperopt.search import SkillThreshold


def days(n):
    return np.datetime64("2020-01-01", "ns") + np.arange(n) * np.timedelta64(1, "D")


@pytest.mark.parametrize(
    ("labels", "groups", "expected", "tolerance"),
    [
        (np.repeat(np.arange(20) % 2, 10), np.repeat(np.arange(20), 10), 10.0, 0.05),  # one label a group
        (np.tile(np.arange(10) % 2, 20), np.repeat(np.arange(20), 10), 1.0, 0.05),  # equal groups
        (np.arange(200) % 3, np.repeat(np.arange(20), 10), 1.0, 0.05),
        (np.zeros(200, int), np.repeat(np.arange(20), 10), 1.0, 0),
        (np.arange(30) % 2, np.arange(30), 1.0, 0),
        (np.arange(30) % 2, np.zeros(30, int), 30.0, 0),
    ],
)
def test_labels_that_come_in_groups_count_less(labels, groups, expected, tolerance):
    assert design_effect(labels, groups) == pytest.approx(expected, abs=tolerance)


@given(st.integers(2, 10), st.integers(0, 99), st.integers(2, 3), st.sampled_from([1, 5]))
def test_copies_of_a_symbol_add_no_information(copies, seed, n_classes, horizon):
    labels = np.random.default_rng(seed).integers(n_classes, size=101)
    once = dates_effect(labels, days(101), horizon=horizon)
    copied = dates_effect(np.tile(labels, copies), np.tile(days(101), copies), horizon=horizon)
    assert copied == pytest.approx(copies * once, rel=0.02)  # a horizon is not part of the effect


@pytest.mark.parametrize("persistence", [0.5, 0.95])
def test_the_serial_effect_is_a_sum_of_squared_autocorrelations(persistence):
    """Bartlett 1935, over all lags around a circle; half of the sum is chance in a series without autocorrelation."""
    change = np.random.default_rng(0).random(401) > persistence
    labels = np.cumsum(change) % 2
    centred = labels - labels.mean()
    r = np.array([centred @ np.roll(centred, lag) / (centred @ centred) for lag in range(401)])
    slow = r[1] if persistence > 0.5 else 1.0
    found, plain = (serial_effect(labels, np.arange(401), slow=each) for each in (True, False))
    assert plain == pytest.approx((r @ r) / 2 * 400 / 401)
    assert found == pytest.approx(1 + ((r @ r) / 2 * 400 / 401 - 1) / slow, rel=0.01)
    theory = 2 * persistence - 1  # autocorrelation at lag 1
    assert found == pytest.approx(1 + 2 * theory / (1 - theory**2), rel=0.4)
    assert (
        serial_effect(np.zeros(20, int), np.arange(20)) == serial_effect(np.arange(20) % 2, np.arange(20) // 2) == 1.0
    )


def test_one_date_and_few_dates_have_an_effect():
    assert dates_effect(np.arange(30) % 2, np.zeros(30, dtype=np.int64)) == 1.0
    assert dates_effect(np.array([0, 0, 1, 1]), np.array([1, 1, 2, 2])) == 2.0


def test_bars_of_one_day_depend_on_each_other():
    """All labels of a day are equal: a day counts once."""
    bars = (days(41)[:, None] + np.arange(570, 960, 5).astype("timedelta64[m]")).ravel()
    labels = np.repeat(np.random.default_rng(0).integers(2, size=41), 78)
    assert dates_effect(labels, bars) == pytest.approx(78 * max(1, serial_effect(labels[::78], np.arange(41))))


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("metric", ["balanced_accuracy", "auc"])
@pytest.mark.parametrize(("symbols", "shared", "slow"), [(10, 1.0, 0.0), (5, 0.5, 0.0), (5, 0.5, 0.9)])
def test_trials_without_skill_pass_at_most_about_once_in_forty(metric, symbols, shared, slow):
    """Labels and predictions are independent, but have the same dependence between dates and symbols."""
    random, passed, before = np.random.default_rng(0), 0, 0

    def process():
        noise = random.normal(size=(700, symbols)) * (1 - shared) ** 0.5 + random.normal(size=(700, 1)) * shared**0.5
        return lfilter([(1 - slow**2) ** 0.5], [1, -slow], noise, axis=0)[220:].ravel()

    for _ in range(300):
        labels, ones = (process() > 0).astype(np.int64), np.exp(process())
        found = score(metric, labels, np.column_stack([1 - ones / (1 + ones), ones / (1 + ones)]))
        effect = dates_effect(labels, np.repeat(days(480), symbols))
        passed += SkillThreshold.on(metric, [labels], dependence=effect).passes(found)
        before += SkillThreshold.on(metric, [labels]).passes(found)
    assert passed / 300 <= 0.033
    assert METRICS[metric].name != "auc" or before > passed  # the threshold of independent windows is too low
