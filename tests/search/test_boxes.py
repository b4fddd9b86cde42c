"""Box decomposition: improvements against moocore's hypervolumes; the boxes are exactly the non-dominated space."""

import itertools
import math

import moocore
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search.samplers.boxes import improvement, undominated_boxes

REFERENCE = 1.1


def boxes(front):
    return undominated_boxes(np.array(front, dtype=float).reshape(-1, 3), REFERENCE)


def gains(points, front):
    return improvement(np.array(points, dtype=float).reshape(-1, 3), *boxes(front))


def volume(rows):
    inside = np.array([row for row in rows if max(row) < REFERENCE]).reshape(-1, 3)
    return float(moocore.hypervolume(inside, ref=[REFERENCE] * 3)) if len(inside) else 0.0


coarse = st.integers(-2, 6).map(lambda k: k / 4)  # ties, duplicates, some beyond the reference
coordinate = st.one_of(coarse, coarse, st.floats(-0.5, 1.5))
rows = st.lists(st.tuples(coordinate, coordinate, coordinate), max_size=12)
LARGE = np.random.default_rng(0).uniform(0, 1.2, (250, 3))


@settings(deadline=None, max_examples=150)
@given(front=rows, points=rows)
@example(front=[(0.5, 0.5, 0.5)] * 3, points=[(0.5, 0.5, 0.5), (0.4, 0.5, 0.5)])
@example(front=[(2.0, 0.0, 0.0)], points=[(0.0, 0.0, 0.0)])
@example(front=LARGE[:200].tolist(), points=LARGE[200:].tolist())
def test_the_improvement_is_the_difference_of_two_hypervolumes(front, points):
    before = volume(front)
    expected = [volume([*front, point]) - before for point in points]
    assert gains(points, front).tolist() == pytest.approx(expected, abs=1e-9)


def test_a_front_of_n_rows_has_at_most_2_n_plus_1_boxes():
    assert len(boxes(LARGE)[0]) <= 2 * len(LARGE) + 1


def test_improvements_of_infinite_points():
    assert gains([(-math.inf, 0.0, 0.0), (math.inf, 0.0, 0.0)], [(0.5, 0.5, 0.5)]).tolist() == [math.inf, 0.0]


@settings(deadline=None, max_examples=60)
@given(front=st.lists(st.tuples(coarse, coarse, coarse), max_size=8))
def test_boxes_are_disjoint_and_hold_exactly_what_no_row_dominates(front):
    """Checked in the middle of every cell of the grid of all coordinates."""
    lows, highs = boxes(front)
    assert lows.shape == highs.shape
    assert (lows < highs).all()
    assert (highs <= REFERENCE).all()
    edges = [-0.8, *(k / 4 for k in range(-2, 5)), REFERENCE, 1.6]
    middles = [(a + b) / 2 for a, b in itertools.pairwise(edges)]
    for point in itertools.product(middles, repeat=3):
        dominated = any(all(f <= p for f, p in zip(row, point, strict=True)) for row in front)
        holding = int(((lows < point) & (point < highs)).all(axis=1).sum())
        assert holding == int(max(point) < REFERENCE and not dominated)
