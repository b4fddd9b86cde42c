"""Pareto kernels against brute force, moocore, inclusion–exclusion and a two-dimensional sweep."""

import itertools

import moocore
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.pareto import (
    crowding_distances,
    dominates,
    hypervolume,
    hypervolume_contributions,
    knee,
    non_dominated,
    non_dominated_ranks,
    with_row,
)

NAN, INF = float("nan"), float("inf")


def matrices(*, special=True, rows=9):
    """Small matrices with many ties and duplicates, and with NaN and infinities by default."""
    number = st.integers(0, 3).map(float)
    if special:
        number = st.one_of(number, number, st.sampled_from([NAN, INF, -INF, -0.0]))
    return st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(number, min_size=width, max_size=width), max_size=rows)
    )


def beats(a, b):
    """No worse anywhere, better somewhere; comparisons with NaN are false."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def has_nan(row):
    return any(x != x for x in row)


def brute_force_front(rows):
    return [not has_nan(row) and not any(beats(other, row) for other in rows) for row in rows]


def brute_force_ranks(rows):
    """Length of the longest chain of dominators above a row, which equals its rank."""
    known = {}

    def rank(i):
        if i not in known:
            known[i] = max((rank(j) + 1 for j in range(len(rows)) if beats(rows[j], rows[i])), default=0)
        return known[i]

    last = max((rank(i) for i, row in enumerate(rows) if not has_nan(row)), default=-1) + 1
    return [last if has_nan(row) else rank(i) for i, row in enumerate(rows)]


@settings(deadline=None, max_examples=200)
@given(matrices(), st.randoms(use_true_random=False))
@example([], None)
@example(np.zeros((0, 3)), None)
@example([[1.0, 2.0]], None)
@example([[NAN], [NAN]], None)
@example([[NAN, 0.0], [5.0, 5.0]], None)
@example([[1.0, 1.0], [1.0, 1.0], [2.0, 0.0]], None)
@example([[INF, 1.0], [2.0, 1.0], [0.0, INF]], None)
@example([[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]], None)  # ranks [2, 0, 1], but the order is [1, 2, 0]
def test_front_and_ranks_equal_brute_force_in_any_order(rows, random):
    front, ranks = non_dominated(rows), non_dominated_ranks(rows)
    assert front.tolist() == brute_force_front(rows)
    assert ranks.tolist() == brute_force_ranks(rows)
    order = list(range(len(rows))) if random is None else random.sample(range(len(rows)), len(rows))
    moved = [rows[i] for i in order]
    assert non_dominated(moved).tolist() == front[order].tolist()
    assert non_dominated_ranks(moved).tolist() == ranks[order].tolist()


@settings(deadline=None, max_examples=100)
@given(matrices(special=False, rows=14).filter(bool))  # moocore 0.3.2 crashes the process on infinities
def test_front_and_ranks_equal_those_of_moocore(rows):
    points = np.array(rows)
    assert non_dominated_ranks(rows).tolist() == moocore.pareto_rank(points).tolist()
    assert non_dominated(rows).tolist() == moocore.is_nondominated(points, keep_weakly=True).tolist()


@pytest.mark.parametrize("levels", [30, 10**6])
def test_a_large_front_equals_that_of_moocore(levels):
    """Rows near a plane, most of which are on the front; with few levels, many values are equal."""
    points = np.random.default_rng(levels).dirichlet([1, 1, 1], 700)
    points = np.ceil(points * levels) / levels
    assert non_dominated(points).tolist() == moocore.is_nondominated(points, keep_weakly=True).tolist()


@given(matrices())
@example([[-INF, 0.0], [INF, 0.0], [NAN, 0.0], [0.0, 0.0], [-0.0, 0.0]])
def test_dominates_is_a_strict_partial_order(rows):
    for a, b in itertools.product(rows, rows):
        assert dominates(a, b) == beats(a, b)
        if dominates(a, b):
            assert not dominates(b, a)
            assert all(dominates(a, c) for c in rows if dominates(b, c))


@given(st.lists(st.tuples(*[st.integers(0, 3).map(float)] * 3), max_size=12))
def test_a_front_that_grows_row_by_row_is_that_of_all_rows(rows):
    front = []
    for row in rows:
        front = with_row(front, row)
    assert sorted(front) == sorted(row for row, on in zip(rows, non_dominated(rows), strict=True) if on)


def inclusion_exclusion(rows, reference):
    """Exact volume of a union of boxes; the intersection of boxes is the box at their largest coordinates."""
    total = 0.0
    for size in range(1, len(rows) + 1):
        for subset in itertools.combinations(rows, size):
            corner = np.max(subset, axis=0)
            total += (-1) ** (size + 1) * np.prod(np.clip(np.asarray(reference) - corner, 0, None))
    return total


def sweep(rows, reference):
    """Two objectives: rectangles from left to right under the staircase."""
    area, height = 0.0, reference[1]
    for x, y in sorted(map(tuple, rows)):
        if x < reference[0] and y < height:
            area += (reference[0] - x) * (height - y)
            height = y
    return area


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=7))
def test_hypervolume_equals_inclusion_exclusion(rows):
    """Also with dominated and duplicate rows, in any order, and rows beyond the reference or with NaN."""
    expected = pytest.approx(inclusion_exclusion(rows, (4.5, 5.0, 4.0)), abs=1e-9)
    assert hypervolume(rows, (4.5, 5.0, 4.0)) == hypervolume([*rows, (NAN, 0, 0)], (4.5, 5.0, 4.0)) == expected


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=30))
def test_hypervolume_of_two_objectives_equals_the_sweep(rows):
    assert hypervolume(rows, (1.5, 2.0)) == pytest.approx(sweep(rows, (1.5, 2.0)), rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(*[st.integers(0, 5).map(float)] * 3), max_size=8))
@example([])
@example([(1.0, 1.0, 1.0), (1.0, 1.0, 1.0)])
@example([(1.0, 4.0, 3.0), (2.0, 3.0, 2.0), (4.0, 1.0, 1.0)])
@example([(NAN, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.0, NAN)])
def test_a_contribution_is_the_loss_of_volume_without_the_row(rows):
    """0 for dominated rows, duplicates, and rows on the reference or beyond."""
    reference, front, expected = (4.5, 5.0, 4.0), brute_force_front(rows), []
    for i in range(len(rows)):
        others = [row for j, row in enumerate(rows) if front[j] and j != i]
        all_rows = [*others, rows[i]] if front[i] else others
        expected.append(inclusion_exclusion(all_rows, reference) - inclusion_exclusion(others, reference))
    np.testing.assert_allclose(hypervolume_contributions(rows, reference), expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_volumes_and_contributions_equal_those_of_moocore(seed):
    points = np.random.default_rng(seed).random((40, 3))
    points = points[non_dominated(points)]
    total = moocore.hypervolume(points, ref=[1.0] * 3)
    assert hypervolume(points, (1.0, 1.0, 1.0)) == pytest.approx(total, abs=1e-12)
    expected = [total - moocore.hypervolume(np.delete(points, i, axis=0), ref=[1.0] * 3) for i in range(len(points))]
    np.testing.assert_allclose(hypervolume_contributions(points, (1.0, 1.0, 1.0)), expected, atol=1e-12)


@pytest.mark.parametrize(
    "kernel",
    [non_dominated, non_dominated_ranks, lambda rows: hypervolume(rows, [1.0]), lambda _: hypervolume([[0.0]], [1, 1])],
)
def test_a_vector_or_a_reference_of_another_length_is_refused(kernel):
    with pytest.raises(ValueError, match=r"\w"):
        kernel([1.0, 2.0, 3.0])


def crowding_by_hand(points):
    """Deb et al. 2002: for each objective, the gap between the two neighbours in its order over the range."""
    distances = [0.0] * len(points)
    for k in range(points.shape[1]):
        order = sorted(range(len(points)), key=lambda i: points[i][k])
        span = points[order[-1]][k] - points[order[0]][k]
        distances[order[0]] = distances[order[-1]] = INF
        for before, here, after in zip(order, order[1:], order[2:], strict=False):
            if span > 0:
                distances[here] += (points[after][k] - points[before][k]) / span
    return distances


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_crowding_distances_by_hand(n):
    points = np.random.default_rng(n).random((n, 3))
    np.testing.assert_allclose(crowding_distances(points), crowding_by_hand(points))
    assert crowding_distances(np.ones((4, 3))).tolist()[1:3] == [0.0, 0.0]


def test_knee_of_a_front_with_a_known_knee_is_that_knee():
    """f₂ = (1 − f₁ᵖ)^(1/p) with p < 1 bends toward the ideal point; its knee is where f₁ = f₂."""
    first = np.linspace(0, 1, 101)
    front = np.column_stack([first, (1 - np.sqrt(first)) ** 2])
    expected = int(np.argmin(np.abs(front[:, 0] - front[:, 1])))
    assert knee(front) == expected
    units = front * [1000.0, 0.01] + [-5.0, 3.0]
    assert knee(units) == expected


def test_knee_in_three_objectives_is_the_corner_that_costs_little_in_each():
    plane = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.5, 0.3, 0.2)]
    order = [1, 2, 4, 0, 3]  # a 5-cycle, not its own inverse
    front = np.array([*plane, (0.1, 0.2, 0.15)])
    assert knee(front) == 4
    assert knee(front[order]) == order.index(4)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=9))
def test_knee_of_two_objectives_is_farthest_from_the_line_through_both_ends(rows):
    front = np.array(sorted({row for row in rows if not any(beats(other, row) for other in rows)}), dtype=float)
    scaled = (front - front.min(axis=0)) / np.maximum(np.ptp(front, axis=0), 1)
    (x1, y1), (x2, y2) = scaled[0], scaled[-1]
    distance = [((x2 - x1) * (y1 - y) - (x1 - x) * (y2 - y1)) for x, y in scaled]  # of the line, times its length
    assert distance[knee(front)] == pytest.approx(max(distance))


def test_knee_of_one_row_is_this_row_and_a_constant_objective_has_no_effect():
    assert knee([[3.0, 2.0, 1.0]]) == 0
    assert knee([[7.0, 0.0, 1.0], [7.0, 0.2, 0.1], [7.0, 1.0, 0.0]]) == 1


def test_knee_without_rows_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        knee(np.empty((0, 3)))
