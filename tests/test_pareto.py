"""Pareto kernels against brute force, moocore, inclusion–exclusion, a two-dimensional sweep and Monte Carlo."""

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
    non_dominated,
    non_dominated_ranks,
)

NAN, INF = float("nan"), float("inf")


def matrices(*, special: bool = True, rows: int = 9):
    """Small matrices with many ties and duplicates, and with NaN and infinities if asked."""
    number = st.integers(0, 3).map(float)
    if special:
        number = st.one_of(number, number, st.sampled_from([NAN, INF, -INF, -0.0]))
    return st.integers(1, 3).flatmap(
        lambda width: st.lists(st.lists(number, min_size=width, max_size=width), max_size=rows)
    )


def beats(a, b):
    """Dominance in plain words: no worse anywhere, better somewhere; a NaN compares with nothing."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def has_nan(row):
    return any(x != x for x in row)


def brute_force_front(rows):
    return [not has_nan(row) and not any(beats(other, row) for other in rows) for row in rows]


def brute_force_ranks(rows):
    """Length of the longest chain of dominators above a row: the same number as peeling front after front."""
    known = {}

    def rank(i):
        if i not in known:
            known[i] = max((rank(j) + 1 for j in range(len(rows)) if beats(rows[j], rows[i])), default=0)
        return known[i]

    valid = [i for i, row in enumerate(rows) if not has_nan(row)]
    last = max((rank(i) for i in valid), default=-1) + 1
    return [last if has_nan(row) else rank(i) for i, row in enumerate(rows)]


@settings(deadline=None, max_examples=200)
@given(matrices())
@example([])
@example([[1.0, 2.0]])
@example([[NAN, 0.0], [5.0, 5.0]])
@example([[1.0, 1.0], [1.0, 1.0], [2.0, 0.0]])
def test_front_equals_brute_force(rows):
    assert non_dominated(rows).tolist() == brute_force_front(rows)


@settings(deadline=None, max_examples=200)
@given(matrices())
@example([])
@example([[NAN], [NAN]])
def test_ranks_equal_the_longest_chain_of_dominators(rows):
    assert non_dominated_ranks(rows).tolist() == brute_force_ranks(rows)


@settings(deadline=None, max_examples=100)
@given(matrices(special=False, rows=14).filter(bool))  # moocore 0.3.2 ends the process on infinities
def test_front_and_ranks_equal_those_of_moocore(rows):
    points = np.array(rows)
    assert non_dominated_ranks(rows).tolist() == moocore.pareto_rank(points).tolist()
    assert non_dominated(rows).tolist() == moocore.is_nondominated(points, keep_weakly=True).tolist()


@settings(deadline=None, max_examples=100)
@given(matrices())
def test_every_row_of_a_rank_is_dominated_by_one_of_the_rank_before(rows):
    ranks = non_dominated_ranks(rows)
    for i, row in enumerate(rows):
        if ranks[i] > 0 and not has_nan(row):
            assert any(beats(rows[j], row) for j in np.flatnonzero(ranks == ranks[i] - 1))
        if not has_nan(row):
            assert not any(beats(rows[j], row) for j in np.flatnonzero(ranks == ranks[i]))


@settings(deadline=None, max_examples=100)
@given(matrices(), st.randoms(use_true_random=False))
def test_ranks_and_front_follow_a_permutation_of_the_rows(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    moved = [rows[i] for i in order]
    assert non_dominated_ranks(moved).tolist() == non_dominated_ranks(rows)[order].tolist()
    assert non_dominated(moved).tolist() == non_dominated(rows)[order].tolist()


def test_ranks_are_places_of_rows_and_not_an_order_of_places():
    """A 3-cycle: the order of these rows is [1, 2, 0], their ranks are [2, 0, 1]; a swap could not tell them apart."""
    chain = np.array([[2.0, 2.0], [0.0, 0.0], [1.0, 1.0]])
    assert non_dominated_ranks(chain).tolist() == [2, 0, 1]
    assert np.argsort([2, 0, 1]).tolist() == [1, 2, 0]
    cycle = [1, 2, 0]
    assert non_dominated_ranks(chain[cycle]).tolist() == [0, 1, 2]


def test_rank_zero_is_the_front():
    rows = np.random.default_rng(1).integers(0, 6, (60, 3)).astype(float)
    np.testing.assert_array_equal(non_dominated_ranks(rows) == 0, non_dominated(rows))


def test_duplicates_of_a_front_row_are_all_on_the_front():
    assert non_dominated([[1, 2], [2, 1], [1, 2], [1, 2], [2, 2]]).tolist() == [True, True, True, True, False]


def test_rows_with_nan_neither_stand_on_a_front_nor_push_anyone_off():
    assert non_dominated([[NAN, -9], [1, 1], [-9, NAN]]).tolist() == [False, True, False]
    assert non_dominated_ranks([[NAN, -9], [1, 1], [2, 2]]).tolist() == [2, 0, 1]
    assert non_dominated_ranks([[NAN, NAN]]).tolist() == [0]


def test_an_infinite_loss_is_the_worst_and_not_an_error():
    assert non_dominated([[INF, 1], [2, 1], [0, INF]]).tolist() == [False, True, True]


@pytest.mark.parametrize("empty", [[], np.zeros((0, 3)), np.zeros((0, 1))])
def test_no_rows_give_empty_answers(empty):
    assert non_dominated(empty).shape == (0,)
    assert non_dominated(empty).dtype == bool
    assert non_dominated_ranks(empty).shape == (0,)
    assert hypervolume(empty, [1.0, 1.0, 1.0]) == 0.0


@pytest.mark.parametrize("kernel", [non_dominated, non_dominated_ranks, lambda rows: hypervolume(rows, [1.0])])
def test_a_vector_is_refused_with_its_shape(kernel):
    with pytest.raises(ValueError, match=r"shape \(rows, objectives\), but got shape \(3,\)"):
        kernel([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], False),
        ([1, 2, 3], [1, 2, 4], True),
        ([1, 2, 4], [1, 2, 3], False),
        ([0, 3], [1, 2], False),
        ([-INF, 0], [INF, 0], True),
        ([INF, 0], [INF, 0], False),
        ([NAN, 0], [1, 1], False),
        ([0, 0], [NAN, 1], False),
        ([0.0], [-0.0], False),
    ],
)
def test_dominates(a, b, expected):
    assert dominates(a, b) is expected


@given(matrices())
def test_dominates_is_a_strict_partial_order(rows):
    for a, b in itertools.product(rows, rows):
        assert dominates(a, b) == beats(a, b)
        if dominates(a, b):
            assert not dominates(b, a)
            assert all(dominates(a, c) for c in rows if dominates(b, c))


# ---------------------------------------------------------------------- hypervolume


def inclusion_exclusion(rows, reference):
    """Volume of a union of boxes, exact: the intersection of boxes is the box at their largest coordinates."""
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
@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=7))
def test_hypervolume_equals_inclusion_exclusion(rows):
    assert hypervolume(rows, (4.5, 5.0, 4.0)) == pytest.approx(inclusion_exclusion(rows, (4.5, 5.0, 4.0)), abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=1, max_size=30))
def test_hypervolume_of_two_objectives_equals_the_sweep(rows):
    assert hypervolume(rows, (1.5, 2.0)) == pytest.approx(sweep(rows, (1.5, 2.0)), rel=1e-9, abs=1e-9)


def test_hypervolume_equals_monte_carlo():
    generator = np.random.default_rng(3)
    rows = generator.random((12, 3))
    points = generator.random((20_000, 3))
    share = (points[:, None, :] >= rows[None]).all(axis=2).any(axis=1).mean()
    assert hypervolume(rows, (1, 1, 1)) == pytest.approx(share, abs=4 * np.sqrt(0.25 / 20_000))


def test_hypervolume_ignores_dominated_and_double_rows_and_their_order():
    front = [[0.1, 0.6, 0.5], [0.5, 0.2, 0.4], [0.3, 0.3, 0.7]]
    more = [*front[::-1], front[0], [0.6, 0.7, 0.6]]
    assert hypervolume(more, (1, 1, 1)) == pytest.approx(hypervolume(front, (1, 1, 1)), rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 0.0]], 0.0),  # on the reference in one objective: no volume
        ([[2.0, 0.0]], 0.0),  # beyond it
        ([[0.0, 0.0], [2.0, -5.0]], 1.0),  # the second is beyond, however good elsewhere
        ([[NAN, 0.0], [0.5, 0.5]], 0.25),
        ([[0.25, 0.25]], 0.5625),
    ],
)
def test_rows_that_do_not_reach_below_the_reference_add_nothing(rows, expected):
    assert hypervolume(rows, (1.0, 1.0)) == pytest.approx(expected, abs=1e-15)


def test_a_reference_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"shape|length"):
        hypervolume([[0.0, 0.0, 0.0]], (1.0, 1.0))


# ---------------------------------------------------------------------- contributions


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(*[st.integers(0, 5).map(float)] * 3), max_size=8))
@example([])
@example([(1.0, 1.0, 1.0), (1.0, 1.0, 1.0)])
def test_a_contribution_is_what_the_front_lacks_without_the_row(rows):
    """Of a dominated row, of a duplicate, and of one on the reference or beyond: nothing."""
    reference = (4.5, 5.0, 4.0)
    front = brute_force_front(rows)
    expected = []
    for i in range(len(rows)):
        others = [row for j, row in enumerate(rows) if front[j] and j != i]
        whole = [*others, rows[i]] if front[i] else others
        expected.append(inclusion_exclusion(whole, reference) - inclusion_exclusion(others, reference))
    np.testing.assert_allclose(hypervolume_contributions(rows, reference), expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_contributions_equal_differences_of_moocores_hypervolumes(seed):
    points = np.random.default_rng(seed).random((40, 3))
    points = points[non_dominated(points)]
    whole = moocore.hypervolume(points, ref=[1.0] * 3)
    expected = [whole - moocore.hypervolume(np.delete(points, i, axis=0), ref=[1.0] * 3) for i in range(len(points))]
    np.testing.assert_allclose(hypervolume_contributions(points, (1.0, 1.0, 1.0)), expected, atol=1e-12)


def test_contributions_are_in_the_order_of_the_rows():
    """A 3-cycle, so that a rank can't be taken for an order."""
    rows = np.array([[0.1, 0.6], [0.2, 0.5], [0.8, 0.1]])
    first = hypervolume_contributions(rows, (1.0, 1.0))
    assert len(set(first.tolist())) == 3
    cycle = [1, 2, 0]
    assert hypervolume_contributions(rows[cycle], (1.0, 1.0)).tolist() == first[cycle].tolist()


def test_rows_with_nan_contribute_nothing_and_take_nothing_away():
    rows = [[NAN, 0.0], [0.5, 0.5], [0.0, NAN]]
    assert hypervolume_contributions(rows, (1.0, 1.0)).tolist() == [0.0, 0.25, 0.0]


@pytest.mark.parametrize("rows", [[], [[2.0, 0.0]], [[1.0, 0.0]], [[NAN, NAN]]])
def test_where_nothing_lies_below_the_reference_nothing_contributes(rows):
    assert hypervolume_contributions(rows, (1.0, 1.0)).tolist() == [0.0] * len(rows)


# ---------------------------------------------------------------------- crowding


def crowding_by_hand(points):
    """Deb et al. 2002: per objective, the gap between the two neighbours in that order over the range."""
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
