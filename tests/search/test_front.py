"""The ranked front and its hypervolume."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import SkillThreshold, State, front_hypervolume, ranked_front
from cnn_lstm_hyperopt.search.trial import Point

SKILL = SkillThreshold(0.5, 100)  # needs 0.60

triples = st.tuples(
    st.integers(55, 70).map(lambda k: k / 100), st.integers(1, 5).map(float), st.integers(1, 5).map(float)
)


def numbers(records):
    return [record.number for record in records]


def test_ranks_go_by_accuracy_then_seconds_then_size(make_record):
    values = [(0.70, 9, 1), (0.80, 9, 9), (0.70, 1, 9), (0.75, 5, 5)]
    assert numbers(ranked_front([make_record(i, values=v) for i, v in enumerate(values)], SKILL)) == [1, 3, 2, 0]


def test_equal_accuracy_is_ranked_by_seconds_and_equal_seconds_by_size(make_record):
    same = [(0.7, 3, 1), (0.7, 2, 2), (0.7, 1, 3)]
    assert numbers(ranked_front([make_record(i, values=v) for i, v in enumerate(same)], SKILL)) == [2, 1, 0]


def test_equal_accuracy_is_ranked_by_the_log_loss_of_the_epoch_that_was_kept(make_record):
    """The first point is within the first epoch, so its weights are kept by no trial; nor are those of the last."""

    def curve(kept):
        return [Point(0.5, 0.7, 0.01, 0.5), Point(1.0, 0.7, kept, 1.0), Point(2.0, 0.9, 0.69, 2.0)]

    losses, costs = (0.5, 0.3, 0.6, 0.4), ((1, 4), (2, 3), (3, 2), (4, 1))
    records = [
        make_record(number, values=(0.7, *cost), curve=curve(loss))
        for number, (loss, cost) in enumerate(zip(losses, costs, strict=True))
    ]
    better = make_record(4, values=(0.71, 9, 9), curve=curve(0.68))
    assert numbers(ranked_front([*records, better], SKILL)) == [4, 1, 3, 0, 2]


def test_doubles_are_all_on_the_front_in_order_of_number(make_record):
    records = [make_record(i, values=(0.7, 1, 1)) for i in (5, 2, 9)]
    assert numbers(ranked_front(records, SKILL)) == [2, 5, 9]


def test_trials_that_have_learnt_nothing_are_not_on_the_front_and_push_no_one_off(make_record):
    records = [make_record(0, values=(0.60, 0.1, 0.1)), make_record(1, values=(0.61, 5, 5))]
    assert numbers(ranked_front(records, SKILL)) == [1]
    assert ranked_front(records[:1], SKILL) == []


def test_only_complete_trials_are_on_the_front(make_record):
    records = [
        make_record(0, state=State.PRUNED, curve=[0.9]),
        make_record(1, state=State.FAIL),
        make_record(2, state=State.RUNNING, curve=[0.9]),
    ]
    assert ranked_front(records, SKILL) == []
    assert ranked_front([], SKILL) == []


@settings(deadline=None, max_examples=80)
@given(values=st.lists(triples, max_size=12))
def test_front_equals_brute_force(make_record, values):
    records = [make_record(i, values=v) for i, v in enumerate(values)]
    skilled = [(i, v) for i, v in enumerate(values) if v[0] > 0.6]

    def beaten(v):
        return any(w[0] >= v[0] and w[1] <= v[1] and w[2] <= v[2] and w != v for _, w in skilled)

    expected = sorted((-v[0], v[1], v[2], i) for i, v in skilled if not beaten(v))
    assert numbers(ranked_front(records, SKILL)) == [row[3] for row in expected]


def test_hypervolume_of_one_trial_in_closed_form(make_record):
    records = [make_record(0, values=(0.7, 2.0, 1.0)), make_record(1, values=(0.55, 8.0, 4.0))]
    value, reference = front_hypervolume(records, SKILL)
    assert reference == {"accuracy": 0.5, "training_seconds": 8.0, "size_mb": 4.0}
    assert value == pytest.approx(0.2 * math.log(4) * math.log(4), abs=1e-6)


@settings(deadline=None, max_examples=15)
@given(values=st.lists(triples, min_size=1, max_size=7))
def test_hypervolume_equals_a_sum_over_cells(make_record, values):
    """Exact: the space is cut at every coordinate, and each cell is inside or not."""
    value, reference = front_hypervolume([make_record(i, values=v) for i, v in enumerate(values)], SKILL)
    points = np.array([(-a, math.log(s), math.log(m)) for a, s, m in values if a > 0.6]).reshape(-1, 3)
    corner = np.array([-0.5, math.log(reference["training_seconds"]), math.log(reference["size_mb"])])
    edges = [np.unique([*points[:, k], corner[k]]) for k in range(3)]
    total = 0.0
    for i in range(len(edges[0]) - 1):
        for j in range(len(edges[1]) - 1):
            for k in range(len(edges[2]) - 1):
                low = np.array([edges[0][i], edges[1][j], edges[2][k]])
                high = np.array([edges[0][i + 1], edges[1][j + 1], edges[2][k + 1]])
                total += bool((points <= low).all(axis=1).any()) * np.prod(high - low)
    assert value == pytest.approx(total, abs=1e-6)


def test_hypervolume_without_a_front_or_without_trials_is_zero(make_record):
    assert front_hypervolume([], SKILL) == (0.0, {})
    value, reference = front_hypervolume([make_record(0, values=(0.5, 3, 2))], SKILL)
    assert value == 0.0
    assert reference == {"accuracy": 0.5, "training_seconds": 3.0, "size_mb": 2.0}
    assert front_hypervolume([make_record(0, state=State.PRUNED, curve=[0.9])], SKILL) == (0.0, {})
