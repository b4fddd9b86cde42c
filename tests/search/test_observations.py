"""Observations of samplers: each kind of trial, the order, the cache, and the accuracy of expected losses."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.records import make_record
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State
from cnn_lstm_hyperopt.search.learning_curves import MIN_CURVES, FinishedCurves
from cnn_lstm_hyperopt.search.observations import Kind, ObservationCache, losses, observations

SKILL = SkillThreshold(0.5, 100)
EPOCHS = 12


def last(records, skill=SKILL, epochs=9):
    return observations(records, skill, epochs)[-1]


def synthetic(number, *, state=State.COMPLETE, epochs=EPOCHS, noise=0.0, **fields):
    """A trial whose early scores and speed determine its final score, but for noise."""
    generator, curve = np.random.default_rng(number), []
    height, size, patience = generator.uniform([0.05, 0.5, 1.5], [0.4, 9.0, 5.0])
    for epoch in range(1, epochs + 1):
        score = 0.5 + height * (1 - math.exp(-epoch / patience)) + noise * generator.normal()
        curve.append(Point(float(epoch), score, 1.0 - score, 2.0 * size * (epoch + 0.7)))
    values = (curve[-1].score, curve[-1].seconds, size) if state is State.COMPLETE else None
    return make_record(number, state=state, curve=curve, values=values, size_mb=size, params={"x": number}, **fields)


def complete(n):
    return [synthetic(number, attributes={"finish_order": number}) for number in range(n)]


def test_a_complete_trial_has_its_own_losses():
    own = {"params": {"a": 1}, "projected_seconds": 99, "attributes": {"note": {"list": [1.5, None]}}}
    row = last([make_record(3, values=(0.7, 10, 2), curve=[0.7], **own)], epochs=1)
    assert row == (3, {"a": 1}, losses(0.7, 10, 2), Kind.COMPLETE, 0.0, {"list": [1.5, None]}, {})
    assert losses(0.7, math.e, math.e**2) == pytest.approx((-0.7, 1.0, 2.0))
    assert losses(0.7, 0.0, 1.0) == (-0.7, math.log(1e-3), 0.0)


@pytest.mark.parametrize(("curve", "expected"), [([0.5] * 5 + [0.6, 0.6, 0.9, 0.6], 0.75), ([], 0.9)])
def test_a_complete_trial_has_its_settled_score(curve, expected):
    """Smoothed over the last quarter before the lowest loss; without a curve, the stored one."""
    assert last([make_record(0, values=(0.9, 9, 1), curve=curve)]).losses[0] == pytest.approx(-expected)


@pytest.mark.parametrize(("projected", "seconds"), [(20.0, 20.0), (None, 3.0)])
def test_with_few_complete_trials_a_pruned_one_has_its_last_score_and_projected_seconds(projected, seconds):
    """The score at its lowest loss, with the error of a score."""
    curve = (Point(1, 0.50, 0.70, 1), Point(2, 0.60, 0.60, 2), Point(3, 0.65, 0.65, 3))
    row = last([make_record(1, state=State.PRUNED, curve=curve, size_mb=4, projected_seconds=projected)])
    assert row.losses == pytest.approx((-0.60, math.log(seconds), math.log(4)))
    assert (row.kind, row.variance) == (Kind.PRUNED, pytest.approx(0.6 * 0.4 / 100))


@pytest.mark.parametrize("n", [0, 20])
def test_a_trial_pruned_before_its_first_score_has_chance_with_unknown_variance(n):
    record = make_record(99, state=State.PRUNED, size_mb=4, projected_seconds=900.0, attributes={"finish_order": 99})
    row = last([*complete(n), record], epochs=EPOCHS)
    assert row[2:5] == (losses(0.5, 900, 4), Kind.PRUNED, math.inf)


def test_a_pruned_trial_has_the_losses_expected_from_finished_curves():
    others = complete(12)
    record = synthetic(99, state=State.PRUNED, epochs=4, attributes={"finish_order": 12})
    row = last([*others, record], epochs=EPOCHS)
    expected = FinishedCurves(others, 4.0, EPOCHS).outcomes(record.curve, record.size_mb)
    assert row.losses == losses(expected.score, expected.seconds, record.size_mb)
    assert row.variance == expected.variance > 0


def test_expected_losses_change_in_steps():
    """The comparison uses the first 10, 12, 14, 16, 19, … finished curves."""
    pruned = synthetic(99, state=State.PRUNED, epochs=4, attributes={"finish_order": 3.5})
    values = [observations([*complete(n), pruned], SKILL, EPOCHS)[min(n, 4)].losses for n in range(4, 23)]
    changes = [n for n, (a, b) in enumerate(itertools.pairwise(values), start=5) if a != b]
    assert changes == [MIN_CURVES, 12, 14, 16, 19, 22]


def test_a_diverged_trial_has_chance_and_the_most_seconds_before_it():
    records = [
        make_record(i, values=(0.7, s, 2), attributes={"finish_order": i}) for i, s in enumerate((10, 30, 1, 99))
    ]
    attributes = {"diverged": True, "finish_order": 2}
    records[2] = make_record(2, state=State.FAIL, curve=[0.9], size_mb=4, attributes=attributes, params={"a": 1})
    rows = observations(records, SKILL, 9)
    assert rows[2] == (2, {"a": 1}, losses(0.5, 30, 4), Kind.DIVERGED, 0.0, None, {})
    assert observations(records[:3], SKILL, 9) == rows[:3]  # later trials change nothing
    assert last(records[2:3]).losses == losses(0.5, 1.0, 4)


@pytest.mark.parametrize(
    ("orders", "expected"),
    [([2, 0, 3, 1], [1, 3, 0, 2]), ([0, None, None], [1, 2, 0])],  # interrupted trials without an order come first
)
def test_observations_are_in_the_order_in_which_trials_finished(orders, expected):
    attributes = [{} if order is None else {"finish_order": order} for order in orders]
    records = [make_record(n, values=(0.7, 1, 1), attributes=each) for n, each in enumerate(attributes)]
    records += [make_record(9, state=state, curve=[0.9]) for state in (State.FAIL, State.RUNNING)]  # no observations
    assert [row.number for row in observations(records, SKILL, 9)] == expected
    assert observations(reversed(records), SKILL, 9) == observations(records, SKILL, 9)


def mixed_study():
    """All kinds of trials; the order of finishing is not that of numbers."""
    records = []
    for number in range(60):
        attributes = {"finish_order": (number * 7) % 60}
        if number % 6 < 3:
            records.append(synthetic(number, noise=0.01, attributes=attributes))
        elif number % 6 < 5:
            epochs = 1 + number % 9 if number % 6 == 3 else 1
            records.append(synthetic(number, state=State.PRUNED, epochs=epochs, noise=0.01, attributes=attributes))
        else:
            attributes["diverged"] = number % 12 == 5
            records.append(make_record(number, state=State.FAIL, size_mb=2.0, attributes=attributes))
    return records


MIXED = mixed_study()


@settings(deadline=None, max_examples=30)
@given(visits=st.lists(st.integers(0, 60), max_size=8).map(sorted))
def test_the_cache_changes_no_answer(visits):
    cache = ObservationCache()
    for finished in [*visits, 60]:
        known = [record for record in MIXED if record.finish_order[0] < finished]
        assert observations(known, SKILL, EPOCHS, cache) == observations(known, SKILL, EPOCHS)
