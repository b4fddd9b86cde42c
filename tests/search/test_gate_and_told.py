"""The gate in closed form, and what samplers are told of finished trials."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import Point, SkillGate, State
from cnn_lstm_hyperopt.search.told import losses, told

GATE = SkillGate(0.5, 100)


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
    import numpy as np

    gate = SkillGate(0.55, 1000)
    accuracies = np.random.default_rng(0).binomial(1000, 0.55, 20_000) / 1000
    assert 0.015 < np.mean([gate.passes(a) for a in accuracies]) < 0.03


def test_losses_are_minus_accuracy_and_logarithms():
    assert losses(0.7, math.e, math.e**2) == pytest.approx((-0.7, 1.0, 2.0))
    assert losses(0.7, 0.0, 1.0) == (-0.7, math.log(1e-3), 0.0)


def test_a_complete_trial_is_told_with_its_values(make_record):
    record = make_record(3, values=(0.7, 10, 2), params={"a": 1}, curve=[0.9], projected_seconds=99)
    (row,) = told([record], GATE)
    assert (row.number, row.params) == (3, {"a": 1})
    assert row.losses == pytest.approx((-0.7, math.log(10), math.log(2)))


def test_a_pruned_trial_is_told_with_the_accuracy_of_its_lowest_loss_and_the_seconds_it_was_heading_for(make_record):
    curve = (Point(1, 0.50, 0.70, 1), Point(2, 0.60, 0.60, 2), Point(3, 0.65, 0.65, 3))
    record = make_record(1, state=State.PRUNED, curve=curve, size_mb=4, projected_seconds=20.0)
    assert told([record], GATE)[0].losses == pytest.approx((-0.60, math.log(20), math.log(4)))


def test_a_pruned_trial_without_a_projection_is_told_with_its_own_seconds(make_record):
    record = make_record(1, state=State.PRUNED, curve=[0.55, 0.6], size_mb=4)
    assert told([record], GATE)[0].losses == pytest.approx((-0.6, math.log(2), math.log(4)))


def test_a_trial_pruned_before_its_first_validation_is_told_as_one_at_chance(make_record):
    record = make_record(1, state=State.PRUNED, size_mb=4, projected_seconds=900.0)
    assert told([record], GATE)[0].losses == pytest.approx((-0.5, math.log(900), math.log(4)))


def test_a_diverged_trial_is_told_as_one_at_chance_and_as_slow_as_the_slowest_before_it(make_record):
    before = [make_record(0, values=(0.7, 10, 2)), make_record(1, values=(0.7, 30, 2))]
    diverged = make_record(2, state=State.FAIL, curve=[0.9], size_mb=4, attributes={"diverged": True}, params={"a": 1})
    after = make_record(3, values=(0.7, 99, 2))
    rows = told([*before, diverged, after], GATE)
    assert [row.number for row in rows] == [0, 1, 2, 3]
    assert rows[2].params == {"a": 1}
    assert rows[2].losses == pytest.approx((-0.5, math.log(30), math.log(4)))
    assert told([*before, diverged], GATE) == rows[:3]  # told alike however many follow


def test_a_diverged_trial_with_none_before_it_is_told_all_the_same(make_record):
    diverged = make_record(0, state=State.FAIL, size_mb=4, attributes={"diverged": True})
    assert told([diverged], GATE)[0].losses == pytest.approx((-0.5, 0.0, math.log(4)))


def test_failed_and_running_trials_are_not_told_and_the_order_stays(make_record):
    records = [
        make_record(0, values=(0.7, 1, 1)),
        make_record(1, state=State.FAIL, curve=[0.9]),
        make_record(2, state=State.PRUNED, curve=[0.5]),
        make_record(3, state=State.RUNNING, curve=[0.9]),
        make_record(4, values=(0.6, 1, 1)),
    ]
    assert [row.number for row in told(records, GATE)] == [0, 2, 4]
