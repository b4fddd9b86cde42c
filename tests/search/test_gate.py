"""The gate in closed form."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import SkillGate


@pytest.mark.parametrize(
    ("chance", "n", "threshold"),
    [(0.5, 100, 0.6), (0.8, 400, 0.84), (0.5, 10_000, 0.51), (1.0, 50, 1.0), (0.9, 9, 1.1)],
)
def test_threshold_is_chance_and_two_standard_errors(chance, n, threshold):
    assert SkillGate(chance, n).threshold == pytest.approx(threshold, rel=1e-12)


def test_a_trial_on_the_line_has_not_passed():
    gate = SkillGate(0.5, 100)
    assert not gate.passes(gate.threshold)
    assert gate.passes(math.nextafter(gate.threshold, 1))


@given(st.floats(0.01, 0.99), st.integers(1, 10**6), st.floats(0, 1))
def test_passing_means_two_standard_errors_above_chance(chance, n, accuracy):
    standard_error = math.sqrt(chance * (1 - chance) / n)
    if abs(accuracy - chance - 2 * standard_error) > 1e-9:
        assert SkillGate(chance, n).passes(accuracy) == ((accuracy - chance) / standard_error > 2)


def test_the_gate_lets_chance_through_about_once_in_forty():
    """Binomial: the share of majority guessers above the line is the normal tail beyond 2, 2.3 %."""
    gate = SkillGate(0.55, 1000)
    accuracies = np.random.default_rng(0).binomial(1000, 0.55, 20_000) / 1000
    assert 0.015 < np.mean([gate.passes(a) for a in accuracies]) < 0.03


@pytest.mark.parametrize("overlap", [1, 3, 10, 500])
def test_windows_that_look_at_the_same_bar_count_together(overlap):
    """Ten windows of ten bars' horizon are one reading."""
    gate = SkillGate(0.5, 1000, overlap)
    assert gate.n_effective == 1000 / overlap
    assert gate.threshold == pytest.approx(SkillGate(0.5, 1000).threshold + (math.sqrt(overlap) - 1) / math.sqrt(1000))
    assert gate.standard_error(0.8) == pytest.approx(0.4 * math.sqrt(overlap / 1000))


def test_there_is_one_reading_at_least():
    assert SkillGate(0.5, 3, overlap=60).n_effective == 1.0
    assert SkillGate(0.5, 0).n_effective == 1.0


@pytest.mark.parametrize(("accuracy", "error"), [(0.0, 0.0), (1.0, 0.0), (-0.1, 0.0), (1.2, 0.0), (0.5, 0.05)])
def test_no_accuracy_has_an_error_that_is_no_number(accuracy, error):
    """An extrapolation may lie beyond 0 or 1."""
    assert SkillGate(0.5, 100).standard_error(accuracy) == pytest.approx(error)
