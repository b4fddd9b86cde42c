"""The ranked front and its hypervolume."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.records import make_record
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    State,
    chosen_trials,
    confirmation_candidates,
    front_hypervolume,
    named_picks,
    ranked_front,
    reported_front,
)
from cnn_lstm_hyperopt.search.trial import Point

SKILL = SkillThreshold(0.5, 100)  # needs 0.60
costs = st.integers(1, 5).map(float)
triples = st.tuples(st.integers(55, 70).map(lambda k: k / 100), costs, costs)


def ranked(records):
    return [record.number for record in ranked_front(records, SKILL)]


def records_of(values):
    return [make_record(i, values=each) for i, each in enumerate(values)]


def test_equal_accuracy_is_ranked_by_the_log_loss_of_the_saved_epoch():
    """Not of a point within the first epoch, nor of the last one."""

    def curve(saved):
        return [Point(0.5, 0.7, 0.01, 0.5), Point(1.0, 0.7, saved, 1.0), Point(2.0, 0.9, 0.69, 2.0)]

    rows = zip((0.5, 0.3, 0.6, 0.4), ((1, 4), (2, 3), (3, 2), (4, 1)), strict=True)
    records = [make_record(i, values=(0.7, *cost), curve=curve(loss)) for i, (loss, cost) in enumerate(rows)]
    better = make_record(4, values=(0.71, 9, 9), curve=curve(0.68))
    others = [make_record(state=state, curve=[0.9]) for state in (State.PRUNED, State.FAIL, State.RUNNING)]
    assert ranked([*records, better, *others]) == [4, 1, 3, 0, 2]


@settings(deadline=None, max_examples=80)
@given(values=st.lists(triples, max_size=12))
def test_front_equals_brute_force(values):
    skilled = [(i, v) for i, v in enumerate(values) if v[0] > 0.6]

    def dominated(v):
        return any(w[0] >= v[0] and w[1] <= v[1] and w[2] <= v[2] and w != v for _, w in skilled)

    expected = sorted((-v[0], v[1], v[2], i) for i, v in skilled if not dominated(v))
    assert ranked(records_of(values)) == [row[3] for row in expected]


@settings(deadline=None, max_examples=80)
@given(values=st.lists(triples, max_size=14), top_k=st.integers(1, 4), shift=st.sampled_from((0.0, 0.2)))
def test_candidates_are_the_best_by_score_and_of_the_front(values, top_k, shift):
    """With the shift, no trial beats chance, and all are eligible."""
    records = records_of([(accuracy - shift, *cost) for accuracy, *cost in values])
    found = [record.number for record in confirmation_candidates(records, SKILL, top_k)]
    eligible = [i for i, v in enumerate(values) if shift or v[0] > 0.6]
    if not eligible:  # below chance, as none beats it
        eligible = list(range(len(values)))
    by_score = sorted(eligible, key=lambda i: (-values[i][0], *values[i][1:], i))
    front = [record.number for record in reported_front(records, SKILL)]
    places = min(3 * top_k, len(eligible))
    half = (places + 1) // 2
    assert len(found) == len(set(found)) == places
    assert found == [i for i in by_score if i in found]
    assert set(by_score[:half]) | set(front[: places // 2]) <= set(found)
    outside = [i for i in by_score if i not in found]
    assert not outside or set(found) <= set(by_score[: by_score.index(outside[0])]) | set(front)


def test_chosen_trials_are_found_by_number_and_by_name_and_are_candidates():
    values = [(0.7, 4.0, 4.0), (0.69, 1.0, 5.0), (0.68, 5.0, 1.0), (0.66, 2.0, 2.0), (0.65, 3.0, 3.0)]
    bound = {"latency_ms": {"value": 9.0, "bound": 5.0}}
    records = [
        *records_of(values),
        make_record(5, state=State.PRUNED),
        make_record(6, values=(0.71, 1.0, 1.0), attributes={"constraints": bound}),
    ]
    picks = named_picks(ranked_front(records, SKILL))

    def numbers(*chosen):
        return [record.number for record in chosen_trials(records, SKILL, chosen)]

    assert numbers("best_score", "fastest", "smallest") == [0, 1, 2]
    assert numbers("balanced") == [picks.balanced.number]
    assert numbers(4, 4, "best_score", 0) == [4, 0]
    assert numbers(5, 6, 7) == []  # pruned, infeasible, unknown
    assert [r.number for r in chosen_trials([], SKILL, ("balanced", 0))] == []
    found = [record.number for record in confirmation_candidates(records, SKILL, 1, (4, 5, "smallest"))]
    without = [record.number for record in confirmation_candidates(records, SKILL, 1)]
    assert found == sorted({*without, 4, 2})  # the best score first


@settings(deadline=None, max_examples=15)
@given(values=st.lists(triples, min_size=1, max_size=7))
def test_hypervolume_equals_a_sum_over_cells(values):
    """Exact: every coordinate cuts the space, and each cell is inside or outside."""
    value, reference = front_hypervolume(records_of(values), SKILL)
    points = np.array([(-a, math.log(s), math.log(m)) for a, s, m in values if a > 0.6]).reshape(-1, 3)
    corner = np.array([-0.5, math.log(reference["training_seconds"]), math.log(reference["size_mb"])])
    cells = [itertools.pairwise(np.unique([*points[:, k], corner[k]])) for k in range(3)]
    total = 0.0
    for cell in itertools.product(*cells):
        low, high = np.array(cell).T
        total += bool((points <= low).all(axis=1).any()) * np.prod(high - low)
    assert value == pytest.approx(total, abs=1e-6)


def test_hypervolume_without_a_front_and_of_one_trial():
    expected = {"accuracy": 0.5, "training_seconds": 3.0, "size_mb": 2.0}
    assert front_hypervolume(records_of([(0.5, 3, 2)]), SKILL) == (0.0, expected)
    assert front_hypervolume([make_record(0, state=State.PRUNED, curve=[0.9])], SKILL) == (0.0, {})
    value, reference = front_hypervolume(records_of([(0.7, 2.0, 1.0), (0.55, 8.0, 4.0)]), SKILL)
    assert reference == {"accuracy": 0.5, "training_seconds": 8.0, "size_mb": 4.0}
    assert value == pytest.approx(0.2 * math.log(4) * math.log(4), abs=1e-6)  # of one trial, in closed form


def test_named_picks_are_the_ends_of_the_front_and_its_knee():
    values = [(0.80, 100.0, 10.0), (0.79, 1.0, 0.1), (0.62, 0.5, 0.09), (0.61, 0.9, 0.01)]
    front = ranked_front(records_of(values), SKILL)
    assert [record.number for record in named_picks(front)] == [0, 1, 2, 3]


def test_of_equal_trials_the_first_in_rank_is_picked_and_an_empty_front_has_no_picks():
    front = ranked_front(records_of([(0.7, 1.0, 1.0)] * 3), SKILL)
    assert {record.number for record in named_picks(front)} == {front[0].number}
    assert named_picks([]) is None
