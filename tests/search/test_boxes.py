"""Hypervolume improvement by boxes: against moocore's hypervolumes, and that the boxes are what no row dominates."""

import itertools
import math

import moocore
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search.samplers.boxes import improvement, undominated_boxes

REFERENCE = 1.1


def volume(rows):
    """Below the reference."""
    inside = np.array([row for row in rows if max(row) < REFERENCE]).reshape(-1, 3)
    return float(moocore.hypervolume(inside, ref=[REFERENCE] * 3)) if len(inside) else 0.0


def gains(points, front):
    lows, highs = undominated_boxes(np.array(front, dtype=float).reshape(-1, 3), REFERENCE)
    return improvement(np.array(points, dtype=float).reshape(-1, 3), lows, highs)


coarse = st.integers(-2, 6).map(lambda k: k / 4)  # ties, duplicates, some beyond the reference
fine = st.floats(-0.5, 1.5)
coordinate = st.one_of(coarse, coarse, fine)
rows = st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=12)


@settings(deadline=None, max_examples=150)
@given(front=rows, points=rows)
@example(front=[], points=[(0.0, 0.0, 0.0)])
@example(front=[(0.5, 0.5, 0.5)] * 3, points=[(0.5, 0.5, 0.5), (0.4, 0.5, 0.5)])
@example(front=[(2.0, 0.0, 0.0)], points=[(0.0, 0.0, 0.0)])
def test_the_improvement_is_the_difference_of_two_hypervolumes(front, points):
    found = gains(points, front)
    assert found.shape == (len(points),)
    before = volume(front)
    for point, gain in zip(points, found, strict=True):
        assert gain == pytest.approx(volume([*front, point]) - before, abs=1e-9)


@pytest.mark.parametrize("n", [1, 20, 200])
def test_the_improvement_of_many_points_over_a_large_front(n):
    generator = np.random.default_rng(n)
    front, points = generator.uniform(0, 1.2, (n, 3)), generator.uniform(-0.2, 1.2, (50, 3))
    before = volume(front)
    expected = [volume([*front, point]) - before for point in points]
    np.testing.assert_allclose(gains(points, front), expected, atol=1e-9)
    assert max(expected) > 0


def test_without_a_front_a_point_adds_its_own_box():
    assert gains([(0.1, 0.6, 1.0), (0.1, 0.6, 1.1), (0.1, 0.6, 9.0)], []).tolist() == pytest.approx([0.05, 0.0, 0.0])


def test_what_is_dominated_or_equal_adds_nothing():
    front = [(0.2, 0.8, 0.5), (0.6, 0.3, 0.4)]
    assert gains([*front, (0.7, 0.9, 0.6), (1.09, 1.09, 1.09)], front).tolist() == [0.0] * 4


def test_infinitely_good_points_add_without_bound_and_infinitely_bad_ones_nothing():
    found = gains([(-math.inf, 0.0, 0.0), (math.inf, 0.0, 0.0)], [(0.5, 0.5, 0.5)])
    assert found.tolist() == [math.inf, 0.0]


# ---------------------------------------------------------------------- the boxes themselves


def dominated(point, front):
    return any(all(f <= p for f, p in zip(row, point, strict=True)) for row in front)


@settings(deadline=None, max_examples=60)
@given(front=st.lists(st.tuples(coarse, coarse, coarse), max_size=8))
def test_boxes_are_disjoint_and_hold_exactly_what_no_row_dominates(front):
    """Looked at in the middle of every cell of the grid that all coordinates make."""
    lows, highs = undominated_boxes(np.array(front, dtype=float).reshape(-1, 3), REFERENCE)
    assert lows.shape == highs.shape
    assert (lows < highs).all()
    assert (highs <= REFERENCE).all()
    edges = [-0.8, *(k / 4 for k in range(-2, 5)), REFERENCE, 1.6]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    for point in itertools.product(middles, repeat=3):
        holding = int(((lows < point) & (point < highs)).all(axis=1).sum())
        free = max(point) < REFERENCE and not dominated(point, front)
        assert holding == int(free)


def test_without_a_front_there_is_one_box():
    lows, highs = undominated_boxes(np.empty((0, 3)), REFERENCE)
    assert lows.tolist() == [[-math.inf] * 3]
    assert highs.tolist() == [[REFERENCE] * 3]


def test_the_number_of_boxes_stays_small():
    """Sixty rows of a front, which is the most that the sampler keeps."""
    angles = np.random.default_rng(0).random((4000, 3))
    sphere = angles / np.linalg.norm(angles, axis=1, keepdims=True)
    front = 1 - sphere[np.random.default_rng(1).permutation(4000)[:60]]
    lows, _ = undominated_boxes(front, REFERENCE)
    assert len(lows) < 60 * 61
