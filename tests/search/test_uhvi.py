"""Uncrowded hypervolume improvement: against the `cmaes` package for two losses, against brute force for three."""

import itertools
import math

import numpy as np
import pytest
from cmaes._uhvi_archiving import UHVIArchive2D
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated
from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers.cmaes.uhvi import FAR, REFERENCE, Archive, Box, Front

COORDINATES = st.integers(0, 14).map(lambda k: k / 10)  # ties, duplicates and points beyond the reference
SKILL = SkillThreshold(0.5, 10**6)


def points(objectives, max_size=7):
    row = st.tuples(*[COORDINATES] * objectives)
    return st.lists(row, max_size=max_size).map(lambda rows: np.array(rows, dtype=float).reshape(-1, objectives))


def unit(objectives):
    return Box(np.zeros(objectives), np.ones(objectives))


def front_of(rows):
    front = Front(rows.shape[1])
    for row in rows:
        front.add(row)
    return front


@given(points(2), points(2))
def test_two_losses_as_in_the_cmaes_package(rows, asked):
    # Without points beyond the reference and ties with the front, which the package treats differently.
    rows, asked = rows[(rows < REFERENCE).all(axis=1)], asked + 0.05
    theirs = UHVIArchive2D(rows)
    expected = [theirs.uhvi(row, np.full(2, REFERENCE)) for row in asked]
    assert front_of(rows).improvements(asked, unit(2)) == pytest.approx(np.array(expected), abs=1e-12)


@given(points(3), points(3, max_size=4))
def test_three_losses_as_by_brute_force(rows, asked):
    front = rows[non_dominated(rows)] if len(rows) else rows
    for row, value in zip(asked, front_of(rows).improvements(asked, unit(3)), strict=True):
        corners = itertools.product(*[{row[j], REFERENCE, *front[:, j]} for j in range(3)])
        free = [c for c in corners if max(c) <= REFERENCE and not (front < np.array(c)).all(axis=1).any()]
        distance = min(float(np.linalg.norm(np.maximum(row - np.array(c), 0))) for c in free)
        gain = hypervolume(np.vstack([rows, row]), [REFERENCE] * 3) - hypervolume(rows, [REFERENCE] * 3)
        assert value == pytest.approx(-distance if distance > 0 else gain, abs=1e-12)


@given(points(3, max_size=12))
def test_a_front_holds_each_non_dominated_point_once(rows):
    expected = {tuple(row) for row in rows[non_dominated(rows)]} if len(rows) else set()
    front = front_of(rows)
    assert {tuple(row) for row in front.points} == expected
    assert len(front.points) == len(expected)


@given(points(3, max_size=8), st.randoms(use_true_random=False))
def test_neither_order_nor_scale_changes_the_bounds(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    scale, shift = np.array([0.5, 4.0, 2.0]), np.array([-1.0, 0.0, 8.0])  # exact in floating point but for the sum
    bounds = front_of(rows).bounds
    assert {tuple(b) for b in front_of(rows[order]).bounds} == {tuple(b) for b in bounds}
    assert front_of(rows * scale + shift).bounds == pytest.approx(bounds * scale + shift)


def trial(score, seconds, size, kind=Kind.COMPLETE):
    return Observation(0, {}, (-score, math.log(seconds), math.log(size)), kind)


def archive_of(*rows, skill=SKILL):
    archive = Archive(skill)
    for row in rows:
        archive.add(row)
    return archive


def test_larger_models_keep_their_fitness_when_the_front_is_small():
    """Normalised by the front's own range, a model larger than those on it would gain nothing."""
    small = [trial(0.70 + 0.01 * k, 1.0 + k, 1.0 + k) for k in range(5)]
    better_and_larger = trial(0.85, 60.0, 40.0)
    archive = archive_of(*small, trial(0.72, 200.0, 100.0), trial(0.69, 150.0, 120.0))
    assert len(archive.useful_front()) == len(small)
    own = np.array([row.losses for row in small])
    own_box = Box(own.min(axis=0), np.ptp(own, axis=0))
    assert archive.front.improvements(np.array([better_and_larger.losses]), own_box)[0] < 0
    assert archive.fitness([better_and_larger])[0] > 0


def test_trials_at_chance_come_after_all_others_and_diverged_ones_last():
    at_chance = [trial(0.5, 0.01, 0.001), trial(0.505, 0.02, 0.002)]
    archive = archive_of(trial(0.8, 10.0, 5.0), trial(0.7, 5.0, 2.0), *at_chance)
    dominated, a_little_better = trial(0.69, 100.0, 50.0), trial(0.51, 1.0, 1.0)
    tiny, diverged = trial(0.5, 1e-3, 1e-4), trial(0.9, 1e-3, 1e-4, Kind.DIVERGED)
    values = archive.fitness([dominated, a_little_better, tiny, diverged])
    assert (np.diff(values) < 0).all()
    assert values[0] >= -FAR > values[1]
    assert all(row.losses[0] < -0.55 for row in archive.useful_front())


@pytest.mark.parametrize("metric", METRICS)
def test_in_every_metric_diverged_trials_come_last_and_small_gains_count(metric):
    """Negative scores: 0 is not the worst. A small gain of 0.0008: ranges are below 0.001."""
    skill = SkillThreshold.on(metric, [np.arange(10**6) % 2])
    good, better = (trial(skill.chance + factor * skill.small_gain, 1.0, 1.0) for factor in (1.0, 1.1))
    archive = archive_of(good, better._replace(losses=(better.losses[0], 1.0, 1.0)), skill=skill)
    bad = trial(skill.score_range[0] + skill.small_gain, 1e-3, 1e-4)
    diverged = trial(skill.chance, 1e-3, 1e-4, Kind.DIVERGED)
    assert (np.diff(archive.fitness([trial(skill.chance, 1e-3, 1e-4), bad, diverged])) < 0).all()
    assert archive.box().normalised(np.array(good.losses))[0] == pytest.approx(1.0)


def test_only_complete_trials_make_the_front_and_the_box():
    complete = [trial(0.8, 10.0, 5.0), trial(0.7, 5.0, 2.0)]
    archive = archive_of(*complete, trial(0.99, 0.1, 0.1, Kind.PRUNED), trial(0.5, 0.1, 0.1, Kind.DIVERGED))
    asked = [trial(0.75, 7.0, 3.0), trial(0.7, 50.0, 3.0), trial(0.81, 9.0, 4.0, Kind.PRUNED)]
    assert archive.fitness(asked) == pytest.approx(archive_of(*complete).fitness(asked), abs=0)


def test_equal_losses_of_all_useful_trials_cause_no_division_by_zero():
    archive, middling = archive_of(trial(0.6, 1.0, 1.0)), trial(0.6, 1.0, 1.0)
    values = archive.fitness([trial(score, 1.0, 1.0) for score in (0.6, 0.61, 0.59)])
    assert values[1] > values[0] == 0 > values[2]
    archive.add(trial(0.95, 100.0, 100.0))  # the bound of useful trials rises with the best
    assert len(archive.useful_front()) == 1
    assert archive.fitness([middling])[0] < -FAR
