"""Learning curves: closed forms, and predictions against scikit-learn's ridge regression with leave-one-out residuals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from builders.records import make_record
from cnn_lstm_hyperopt.search import Point, State
from cnn_lstm_hyperopt.search import learning_curves as curves
from cnn_lstm_hyperopt.search.learning_curves import (
    MIN_CURVES,
    MIN_EXPECTED,
    NEIGHBOURS,
    FinishedCurves,
    smoothed_score,
)

EPOCHS = 20


def curve_of(*scores, seconds=None):
    """Full epochs of a second each, or of the given seconds; the loss is 1 − score."""
    return tuple(Point(float(e), a, 1 - a, seconds[e - 1] if seconds else float(e)) for e, a in enumerate(scores, 1))


@pytest.mark.parametrize(("epoch", "window"), [(1, 1), (4, 1), (7, 1), (8, 2), (11, 2), (12, 3), (20, 5)])
def test_smoothed_score_is_the_mean_of_the_last_quarter_of_the_epochs(epoch, window):
    scores = np.random.default_rng(epoch).random(20).tolist()
    expected = np.mean(scores[epoch - window : epoch])
    assert smoothed_score(curve_of(*scores), epoch) == pytest.approx(expected, rel=1e-12)
    assert smoothed_score(curve_of(*scores[:epoch]), epoch) == pytest.approx(expected, rel=1e-12)


def test_smoothed_score_within_the_first_epoch_is_the_last_score():
    parts = [Point(i / 4, 0.2 + i / 10, 1.0, float(i)) for i in range(1, 5)]
    assert [smoothed_score(parts, epoch) for epoch in (0.25, 0.5, 0.6, 0.75, 1)] == pytest.approx(
        [0.3, 0.4, 0.4, 0.5, 0.6]
    )
    assert all(math.isnan(smoothed_score(*each)) for each in ((parts, 0.1), ((), 3), (curve_of(0.5), 9)))


@pytest.mark.parametrize(
    ("curve", "epochs", "expected"),
    [
        (curve_of(0.5, 0.5, 0.5, seconds=[10.0, 12.0, 14.0]), 20, 14 + 17 * 2),  # the first epoch warms up
        (curve_of(0.5, seconds=[10.0]), 20, 200),
        (curve_of(0.5, 0.5, 0.5, seconds=[3.0, 4.5, 5.0]), 3, 5.0),
        ((Point(0.25, 0.3, 1, 3.0), Point(0.5, 0.4, 1, 5.0)), 8, 80),  # parts of the first epoch: proportional
        ((Point(0.5, 0.4, 1, 5.0), Point(1.0, 0.4, 1, 9.0), Point(2.0, 0.4, 1, 11.0)), 8, 11 + 6 * 2),
    ],
)
def test_projected_seconds(curve, epochs, expected):
    assert curves.projected_seconds(curve, epochs) == expected


@given(speed=st.floats(0.01, 100), warm_up=st.floats(0, 100), epochs=st.integers(2, 30))
def test_projected_seconds_are_exact_for_steady_epochs(speed, warm_up, epochs):
    curve = curve_of(*[0.5] * epochs, seconds=[warm_up + speed * e for e in range(1, epochs + 1)])
    assert curves.projected_seconds(curve, 30) == pytest.approx(warm_up + 30 * speed)


@pytest.mark.parametrize(
    ("curve", "stored", "expected"),
    [
        (curve_of(*[0.5] * 6, 0.60, 0.70, 0.65), 0.70, 0.65),  # smoothed up to the lowest loss, the eighth epoch
        ((Point(0.5, 0.9, 0.1, 0.5), *curve_of(0.6, 0.7)), 0.7, 0.7),  # without parts of the first epoch
        ((), 0.7, 0.7),
        ((Point(0.5, 0.6, 0.4, 1),), 0.6, 0.6),
        (curve_of(*[0.5] * 6, 0.60, 0.70, 0.65), 0.68, 0.68),  # the curve is of some of the windows
    ],
)
def test_settled_score(curve, stored, expected):
    assert curves.settled_score(make_record(0, curve=curve, values=(stored, 1.0, 1.0))) == pytest.approx(expected)


def random_trials(n, seed=0):
    """Finished trials with random curves and sizes; two of three have an expectation with an error of 0.02."""
    generator, trials = np.random.default_rng(seed), []
    for number in range(n):
        height, pace, size, speed = generator.uniform([0.05, 1, 0.1, 0.1], [0.4, 8, 20, 5])
        steps = speed * generator.uniform(0.8, 1.2, EPOCHS) + (np.arange(EPOCHS) == 0) * speed
        scores = 0.5 + height * (1 - np.exp(-np.arange(1, EPOCHS + 1) / pace)) + 0.01 * generator.normal(size=EPOCHS)
        curve = curve_of(*scores.tolist(), seconds=np.cumsum(steps).tolist())
        values = (float(scores[-1]), curve[-1].seconds, size)
        expected = {"expected_score": values[0] + 0.02 * generator.normal()} if number % 3 != 1 else {}
        trials.append(make_record(number, curve=curve, values=values, size_mb=size, attributes=expected))
    return trials


def position(trial, epoch, expected):
    """Coordinates of a trial at an epoch."""
    curve = curves.up_to(trial.curve, epoch)
    now = smoothed_score(curve, epoch)
    rise = now - smoothed_score(curve, max(1, epoch // 2)) if epoch > 1 else 0.0
    known = [now, rise, math.log(curves.projected_seconds(curve, EPOCHS)), math.log(trial.size_mb)]
    return [*known, trial.expected_score] if expected else known


def second_opinion(trials, epoch, new, expected):
    """Ridge regressions on the neighbours; each neighbour is predicted by a regression without it."""
    trials = [trial for trial in trials if not expected or trial.expected_score is not None]
    rows, x = np.array([position(t, epoch, expected) for t in trials]), np.array(position(new, epoch, expected))
    ends = np.array([(curves.settled_score(t), math.log(t.values.seconds)) for t in trials])
    targets = np.column_stack([ends[:, 0], ends[:, 1] - rows[:, 2]])
    scaled = (rows - x) / np.maximum(rows.std(axis=0), 1e-9)
    distances = (scaled**2 * [4, 1, 1, 1, 2][: len(x)]).sum(axis=1)
    nearest = np.argsort(distances, kind="stable")[:NEIGHBOURS]
    scaled, targets = scaled[nearest], targets[nearest]
    mean = Ridge(alpha=curves.PENALTY).fit(scaled, targets).predict(np.zeros((1, len(x))))[0]
    drawn = []
    for i in range(len(nearest)):
        without = Ridge(alpha=curves.PENALTY).fit(np.delete(scaled, i, axis=0), np.delete(targets, i, axis=0))
        drawn.append(mean + targets[i] - without.predict(scaled[i : i + 1])[0])
    return mean[0], math.exp(mean[1] + x[2]), [(np.clip(a, 0, 1), b + x[2]) for a, b in drawn]


@pytest.mark.mostly_slow(10)
@pytest.mark.parametrize("expected", [False, True])
@pytest.mark.parametrize("n", [MIN_CURVES, 25, NEIGHBOURS, NEIGHBOURS + 1, 150])
@pytest.mark.parametrize("epoch", [1, 3, 8, 13])
def test_outcomes_are_a_ridge_regression_on_the_nearest_curves_with_leave_one_out_residuals(n, epoch, expected):
    """The sampler's expectation is a coordinate if enough trials have one."""
    trials, new = random_trials(n), random_trials(1, seed=1)[0]
    score = new.expected_score if expected else None
    found = FinishedCurves(trials, float(epoch), EPOCHS).outcomes(
        curves.up_to(new.curve, float(epoch)), new.size_mb, score
    )
    enough = sum(trial.expected_score is not None for trial in trials) >= MIN_EXPECTED
    score, seconds, drawn = second_opinion(trials, epoch, new, expected and enough)
    assert (found.score, found.seconds) == (pytest.approx(score, abs=1e-6), pytest.approx(seconds, rel=1e-6))
    # Score and seconds of a neighbour form a pair; the order of neighbours is free.
    np.testing.assert_allclose(sorted(zip(found.scores, found.log_seconds, strict=True)), sorted(drawn), atol=1e-5)
    assert found.variance == pytest.approx(np.var(found.scores))


def test_a_coordinate_that_is_equal_in_all_curves_is_ignored():
    """All trials have one size, the new one another: no extrapolation along the size."""
    scores = [0.5 + i / 100 for i in range(15)]
    trials = [make_record(i, curve=[a, a + 0.05], values=(a + 0.05, 10 * a - 3, 1)) for i, a in enumerate(scores)]
    same, other = (FinishedCurves(trials, 1.0, 2).outcomes(curve_of(0.57), size) for size in (1.0, 1.1))
    assert same.score == pytest.approx(0.62, abs=0.005)
    assert other.score == same.score


def test_without_enough_complete_curves_or_a_point_at_the_epoch_there_is_no_prediction():
    trials, new = random_trials(MIN_CURVES), random_trials(1, seed=1)[0]
    others = [make_record(20, curve=[0.6] * 2, values=(0.6, 2.0, 1.0)), make_record(21, values=(0.6, 2.0, 1.0))]
    others.append(make_record(22, state=State.PRUNED, curve=[0.6] * 9))
    assert [len(FinishedCurves([*trials, *others], at, EPOCHS)) for at in (3.0, 0.5)] == [MIN_CURVES, 0]
    for n, curve in (
        (0, new.curve[:3]),
        (MIN_CURVES - 1, new.curve[:3]),
        (MIN_CURVES, new.curve[:2]),
        (MIN_CURVES, ()),
    ):
        assert FinishedCurves(trials[:n], 3.0, EPOCHS).outcomes(curve, 1.0) is None
    assert FinishedCurves(trials, 3.0, EPOCHS).outcomes(new.curve[:9], 1.0) is not None


outcome = st.tuples(st.sampled_from([0.0, 0.5, 0.7, 1.0]), st.sampled_from([0.0, 1e-9, 1.0, 1e6]))


@settings(deadline=None, max_examples=40)
@given(st.lists(outcome, min_size=MIN_CURVES, max_size=14), st.sampled_from([0.0, 0.5, 1.0]))
def test_outcomes_are_finite_for_all_curves(trials, score):
    """Equal, constant, without seconds, or very different."""
    records = [
        make_record(i, curve=curve_of(*[a] * 6, seconds=[s * e for e in range(1, 7)]), values=(a, 6 * s, 1.0))
        for i, (a, s) in enumerate(trials)
    ]
    found = FinishedCurves(records, 3.0, 6).outcomes(curve_of(*[score] * 3), 1.0)
    assert np.isfinite([*found.scores, *found.log_seconds, found.seconds]).all()
    assert 0 <= min(found.score, *found.scores) <= max(found.score, *found.scores) <= 1


def test_a_shrunk_score_lies_between_expectation_and_measurement():
    """Closed form: deviations of 0.05, of which an error of 0.03 explains 0.0009 of 0.0025."""
    expected, off = np.full(40, 0.6), np.tile([0.05, -0.05], 20)
    for error, share in ((0.03, 0.0016 / 0.0025), (0.0, 1.0), (0.06, 0.1 / 1.1)):
        errors = np.full(40, error)
        np.testing.assert_allclose(curves.believed_scores(expected + off, expected, errors), expected + off * share)
    for n, n_shrunk in ((0, 0), (MIN_EXPECTED - 1, 0), (MIN_EXPECTED, MIN_EXPECTED)):  # too few expectations, enough
        some = np.where(np.arange(40) < n, expected, np.nan)
        shrunk = curves.believed_scores(expected + off, some, np.full(40, 0.1)) != expected + off
        assert shrunk.tolist() == [True] * n_shrunk + [False] * (40 - n_shrunk)
