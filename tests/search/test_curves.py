"""Learning curves: closed forms, and the prediction from similar ones against scikit-learn's ridge, left out one by one."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from cnn_lstm_hyperopt.search import Point, State
from cnn_lstm_hyperopt.search.learning_curves import (
    MIN_CURVES,
    MIN_EXPECTED,
    NEIGHBOURS,
    PENALTY,
    FinishedCurves,
    believed_scores,
    projected_seconds,
    settled_score,
    smoothed_score,
    up_to,
)

EPOCHS = 20


def curve_of(*accuracies, seconds=None):
    """Whole epochs of a second each, or of the seconds given; the loss is 1 − accuracy."""
    return tuple(
        Point(float(e), a, 1 - a, seconds[e - 1] if seconds else float(e)) for e, a in enumerate(accuracies, start=1)
    )


# ---------------------------------------------------------------------- closed forms


@pytest.mark.parametrize(
    ("epoch", "window"), [(1, 1), (2, 1), (3, 1), (4, 1), (7, 1), (8, 2), (11, 2), (12, 3), (16, 4), (20, 5)]
)
def test_smoothed_score_is_the_mean_of_the_last_quarter_of_the_epochs(epoch, window):
    accuracies = np.random.default_rng(epoch).random(20).tolist()
    expected = np.mean(accuracies[epoch - window : epoch])
    assert smoothed_score(curve_of(*accuracies), epoch) == pytest.approx(expected, rel=1e-12)
    assert smoothed_score(curve_of(*accuracies[:epoch]), epoch) == pytest.approx(expected, rel=1e-12)


def test_smoothed_score_within_the_first_epoch_is_the_last_reading():
    parts = (Point(0.25, 0.3, 1, 1), Point(0.5, 0.4, 1, 2), Point(0.75, 0.5, 1, 3), Point(1.0, 0.6, 1, 4))
    assert [smoothed_score(parts, epoch) for epoch in (0.25, 0.5, 0.6, 0.75)] == [0.3, 0.4, 0.4, 0.5]
    assert smoothed_score(parts, 1) == 0.6  # parts don't count among whole epochs
    assert math.isnan(smoothed_score(parts, 0.1))


def test_smoothed_score_of_no_reading_is_no_number():
    assert math.isnan(smoothed_score((), 3))
    assert math.isnan(smoothed_score(curve_of(0.5), 9))


def test_projected_seconds_leave_the_first_epoch_out_of_the_slope():
    """It warms up: 10 s, then 2 s each."""
    curve = curve_of(0.5, 0.5, 0.5, seconds=[10.0, 12.0, 14.0])
    assert projected_seconds(curve, 20) == 14 + 17 * 2
    assert projected_seconds(curve[:2], 20) == 12 + 18 * 2
    assert projected_seconds(curve[:1], 20) == 200


def test_projected_seconds_within_the_first_epoch_are_proportional():
    parts = (Point(0.25, 0.3, 1, 3.0), Point(0.5, 0.4, 1, 5.0))
    assert projected_seconds(parts[:1], 8) == 96
    assert projected_seconds(parts, 8) == 80
    assert projected_seconds((*parts, Point(1.0, 0.4, 1, 9.0), Point(2.0, 0.4, 1, 11.0)), 8) == 11 + 6 * 2


@given(speed=st.floats(0.01, 100), warm_up=st.floats(0, 100), epochs=st.integers(2, 30))
def test_projected_seconds_are_exact_for_steady_epochs(speed, warm_up, epochs):
    curve = curve_of(*[0.5] * epochs, seconds=[warm_up + speed * e for e in range(1, epochs + 1)])
    assert projected_seconds(curve, 30) == pytest.approx(warm_up + 30 * speed)


def test_projected_seconds_at_the_last_epoch_are_those_it_took():
    curve = curve_of(0.5, 0.5, 0.5, seconds=[3.0, 4.5, 5.0])
    assert projected_seconds(curve, 3) == 5.0


def test_a_curve_ends_where_it_is_asked_for_or_is_not_there():
    curve = (Point(0.5, 0.3, 1, 1), *curve_of(0.5, 0.6, 0.7))
    assert up_to(curve, 2) == curve[:3]
    assert up_to(curve, 0.5) == curve[:1]
    assert up_to(curve, 2.5) == up_to(curve, 4) == up_to((), 1) == ()


def test_settled_score_is_smoothed_up_to_the_epoch_of_the_lowest_loss(make_record):
    curve = curve_of(*[0.5] * 6, 0.60, 0.70, 0.65)  # the eighth has the lowest loss
    record = make_record(0, curve=curve, values=(0.70, 1.0, 1.0))
    assert settled_score(record) == pytest.approx((0.60 + 0.70) / 2)


def test_settled_score_leaves_parts_of_the_first_epoch_out(make_record):
    lucky = Point(0.5, 0.9, 0.1, 0.5)
    record = make_record(0, curve=(lucky, *curve_of(0.6, 0.7)), values=(0.9, 1.0, 1.0))
    assert settled_score(record) == pytest.approx(0.7)


def test_settled_score_without_a_whole_epoch_is_the_stored_one(make_record):
    assert settled_score(make_record(0, values=(0.7, 1.0, 1.0))) == 0.7
    assert settled_score(make_record(0, curve=[Point(0.5, 0.6, 0.4, 1)], values=(0.6, 1.0, 1.0))) == 0.6


def test_only_a_complete_trial_has_a_settled_score(make_record):
    with pytest.raises(ValueError, match="trial 3 is PRUNED: only a COMPLETE one has a score"):
        settled_score(make_record(3, state=State.PRUNED, curve=[0.5]))


# ---------------------------------------------------------------------- what becomes of a trial


@pytest.fixture(scope="session")
def random_trials(make_record):
    """Finished trials, their curves and sizes random."""

    def make(n, seed=0, epochs=EPOCHS):
        generator = np.random.default_rng(seed)
        trials = []
        for number in range(n):
            height, pace, size, speed = generator.uniform([0.05, 1, 0.1, 0.1], [0.4, 8, 20, 5])
            steps = speed * generator.uniform(0.8, 1.2, epochs) + (np.arange(epochs) == 0) * speed
            accuracy = 0.5 + height * (1 - np.exp(-np.arange(1, epochs + 1) / pace))
            accuracy += 0.01 * generator.normal(size=epochs)
            curve = curve_of(*accuracy.tolist(), seconds=np.cumsum(steps).tolist())
            values = (float(accuracy[-1]), curve[-1].seconds, size)
            trials.append(make_record(number, curve=curve, values=values, size_mb=size))
        return trials

    return make


def position(curve, size_mb, expected_score=None):
    """Where a curve stands, in plain words."""
    epoch = curve[-1].epoch
    now = smoothed_score(curve, epoch)
    rise = now - smoothed_score(curve, max(1, int(epoch) // 2)) if epoch > 1 else 0.0
    known = [now, rise, math.log(projected_seconds(curve, EPOCHS)), math.log(size_mb)]
    return np.array(known if expected_score is None else [*known, expected_score])


def second_opinion(trials, epoch, curve, size_mb, expected_score=None):
    """Ridge regressions on the neighbours, each neighbour predicted by one that was fitted without it."""
    if expected_score is not None:
        trials = [trial for trial in trials if trial.expected_score is not None]
    rows = np.array(
        [
            position(up_to(t.curve, epoch), t.size_mb, None if expected_score is None else t.expected_score)
            for t in trials
        ]
    )
    ends = np.array([(settled_score(t), math.log(t.values.seconds)) for t in trials])
    x = position(curve, size_mb, expected_score)
    targets = np.column_stack([ends[:, 0], ends[:, 1] - rows[:, 2]])
    scaled = (rows - x) / np.maximum(rows.std(axis=0), 1e-9)
    distances = (scaled**2 * [4, 1, 1, 1, 2][: len(x)]).sum(axis=1)
    nearest = np.argsort(distances, kind="stable")[:NEIGHBOURS]
    scaled, targets = scaled[nearest], targets[nearest]
    mean = Ridge(alpha=PENALTY).fit(scaled, targets).predict(np.zeros((1, len(x))))[0]
    residuals = []
    for i in range(len(nearest)):
        others = np.arange(len(nearest)) != i
        without = Ridge(alpha=PENALTY).fit(scaled[others], targets[others])
        residuals.append(targets[i] - without.predict(scaled[i : i + 1])[0])
    drawn = mean + np.array(residuals)
    return mean[0], math.exp(mean[1] + x[2]), drawn[:, 0], drawn[:, 1] + x[2]


@pytest.mark.parametrize("n", [MIN_CURVES, 25, NEIGHBOURS, NEIGHBOURS + 1, 150])
@pytest.mark.parametrize("epoch", [1, 3, 8, 13])
def test_outcomes_are_a_ridge_regression_on_the_nearest_and_what_it_is_off_by_when_it_leaves_one_out(
    random_trials, n, epoch
):
    trials, new = random_trials(n), random_trials(1, seed=1)[0]
    curve = up_to(new.curve, float(epoch))
    found = FinishedCurves(trials, float(epoch), EPOCHS).outcomes(curve, new.size_mb)
    accuracy, seconds, accuracies, log_seconds = second_opinion(trials, epoch, curve, new.size_mb)
    assert found.score == pytest.approx(accuracy, abs=1e-6)
    assert found.seconds == pytest.approx(seconds, rel=1e-6)
    # The order of neighbours is that of the trials; both losses of one stand together.
    mine = sorted(zip(found.scores, found.log_seconds, strict=True))
    theirs = sorted(zip(np.clip(accuracies, 0, 1), log_seconds, strict=True))
    np.testing.assert_allclose(mine, theirs, atol=1e-5)
    assert found.variance == pytest.approx(np.var(found.scores))


@pytest.fixture
def expected_of(random_trials):
    """The same trials, but every third: what a sampler expected of them, to two hundredths, is stored with them."""

    def make(n, seed=0):
        luck = np.random.default_rng(seed).normal(0, 0.02, n)
        return [
            replace(trial, attributes={} if i % 3 == 1 else {"expected_score": trial.values.score + float(luck[i])})
            for i, trial in enumerate(random_trials(n, seed))
        ]

    return make


@pytest.mark.parametrize("n", [36, 150])
@pytest.mark.parametrize("epoch", [1, 3, 8])
def test_what_the_sampler_expected_is_a_coordinate_where_it_had_expected_something(expected_of, n, epoch):
    trials, new = expected_of(n), expected_of(1, seed=1)[0]
    curve, curves = up_to(new.curve, float(epoch)), FinishedCurves(trials, float(epoch), EPOCHS)
    found = curves.outcomes(curve, new.size_mb, new.expected_score)
    accuracy, seconds, accuracies, _ = second_opinion(trials, epoch, curve, new.size_mb, new.expected_score)
    assert found.score == pytest.approx(accuracy, abs=1e-6)
    assert found.seconds == pytest.approx(seconds, rel=1e-6)
    np.testing.assert_allclose(np.sort(found.scores), np.sort(np.clip(accuracies, 0, 1)), atol=1e-5)
    silent = curves.outcomes(curve, new.size_mb)
    assert silent.score == FinishedCurves(trials, float(epoch), EPOCHS).outcomes(curve, new.size_mb, None).score
    assert silent.score == pytest.approx(second_opinion(trials, epoch, curve, new.size_mb)[0], abs=1e-6)


def test_it_tells_what_curves_do_not_show_yet(expected_of):
    errors = {True: [], False: []}
    curves = FinishedCurves(expected_of(150), 1.0, EPOCHS)
    for new in expected_of(60, seed=2)[::3]:
        for told, found in errors.items():
            score = curves.outcomes(new.curve[:1], new.size_mb, new.expected_score if told else None).score
            found.append(score - new.values.score)
    assert np.std(errors[True]) < 0.5 * np.std(errors[False])


def test_with_few_expectations_they_are_not_compared(expected_of):
    trials, new = expected_of(MIN_EXPECTED), expected_of(1, seed=1)[0]
    curves = FinishedCurves(trials, 3.0, EPOCHS)
    told, silent = (curves.outcomes(new.curve[:3], new.size_mb, score) for score in (0.99, None))
    assert told.score == silent.score


def test_what_is_the_same_in_all_curves_says_nothing_of_one_where_it_differs(make_record):
    """All of one size, and a trial of another: it ends as the curves like it did, not at some far end of a line."""
    trials = [
        make_record(i, curve=[0.5 + i / 100, 0.55 + i / 100], values=(0.55 + i / 100, 2.0 + i / 10, 1.0), size_mb=1.0)
        for i in range(15)
    ]
    same, other = (FinishedCurves(trials, 1.0, 2).outcomes(curve_of(0.57), size) for size in (1.0, 1.1))
    assert same.score == pytest.approx(0.62, abs=0.005)
    assert other.score == same.score


# ---------------------------------------------------------------------- beliefs


def test_a_belief_lies_between_what_was_expected_and_what_was_read():
    """Closed form: readings are off by 0.05, of which an error of 0.03 explains 0.0009 of 0.0025."""
    expected, off = np.full(40, 0.6), np.tile([0.05, -0.05], 20)
    found = believed_scores(expected + off, expected, np.full(40, 0.03))
    np.testing.assert_allclose(found, expected + off * 0.0016 / 0.0025)
    np.testing.assert_allclose(believed_scores(expected + off, expected, np.zeros(40)), expected + off)
    nearly_all_luck = believed_scores(expected + off, expected, np.full(40, 0.06))
    np.testing.assert_allclose(nearly_all_luck, expected + off * 0.1 / 1.1)


def test_what_nobody_expected_is_believed_as_it_was_read():
    scores, expected = np.linspace(0.5, 0.7, 40), np.full(40, np.nan)
    np.testing.assert_array_equal(believed_scores(scores, expected, np.full(40, 0.1)), scores)
    expected[: MIN_EXPECTED - 1] = 0.6
    np.testing.assert_array_equal(believed_scores(scores, expected, np.full(40, 0.1)), scores)
    expected[:MIN_EXPECTED] = 0.6
    found = believed_scores(scores, expected, np.full(40, 0.1))
    np.testing.assert_array_equal(found[MIN_EXPECTED:], scores[MIN_EXPECTED:])
    assert (np.abs(found - 0.6) < np.abs(scores - 0.6))[:MIN_EXPECTED].all()


def test_beliefs_are_nearer_to_the_truth_than_readings_and_the_luckiest_above_all():
    generator = np.random.default_rng(5)
    truth = generator.normal(0.62, 0.02, 400)
    expected, scores = truth + generator.normal(0, 0.015, 400), truth + generator.normal(0, 0.02, 400)
    found = believed_scores(scores, expected, np.full(400, 0.02))
    assert np.std(found - truth) < 0.65 * np.std(scores - truth)
    luckiest = np.argsort(-scores)[:10]
    assert (scores - truth)[luckiest].mean() > 2 * abs((found - truth)[luckiest].mean())


def test_the_nearest_count_and_not_all(make_record):
    """Most curves flatten out low: a line through all of them underrates the best by 0.06."""

    def trial(number, now):
        end = 0.5 + 4 * (now - 0.5) ** 2
        return make_record(number, curve=[now, now, end, end], values=(end, 4.0, 1.0))

    trials = [trial(number, now) for number, now in enumerate(np.linspace(0.5, 0.8, 300))]
    best = trial(999, 0.79)
    found = FinishedCurves(trials, 2.0, 4).outcomes(best.curve[:2], best.size_mb)
    assert found.score == pytest.approx(best.values.score, abs=0.01)
    assert np.abs(found.scores - best.values.score).max() < 0.02


@pytest.mark.parametrize("n", [0, 1, MIN_CURVES - 1])
def test_from_few_curves_nothing_is_predicted(random_trials, n):
    curves = FinishedCurves(random_trials(n), 3.0, EPOCHS)
    assert len(curves) == n
    assert curves.outcomes(up_to(random_trials(1)[0].curve, 3.0), 1.0) is None


def test_only_curves_that_had_a_reading_there_count(random_trials, make_record):
    trials = [
        *random_trials(12),
        make_record(20, curve=[0.6] * 2, values=(0.6, 2.0, 1.0)),  # ended before
        make_record(21, values=(0.6, 2.0, 1.0)),
        make_record(22, state=State.PRUNED, curve=[0.6] * 9),
    ]
    assert len(FinishedCurves(trials, 3.0, EPOCHS)) == 12
    assert len(FinishedCurves(trials, 0.5, EPOCHS)) == 0


def test_a_curve_that_does_not_end_at_the_epoch_is_not_predicted(random_trials):
    curves, new = FinishedCurves(random_trials(20), 3.0, EPOCHS), random_trials(1, seed=1)[0]
    assert curves.outcomes(new.curve[:2], 1.0) is None
    assert curves.outcomes(new.curve[:9], new.size_mb) is not None  # its part up to there is
    assert curves.outcomes((), 1.0) is None


def test_rows_that_are_known_are_not_worked_out_again_and_change_nothing(random_trials):
    trials, new, known = random_trials(30), random_trials(1, seed=1)[0], {}
    for n in (12, 20, 30):
        kept = FinishedCurves(trials[:n], 4.0, EPOCHS, known).outcomes(new.curve[:4], new.size_mb)
        anew = FinishedCurves(trials[:n], 4.0, EPOCHS).outcomes(new.curve[:4], new.size_mb)
        assert (kept.score, kept.seconds) == (anew.score, anew.seconds)
        np.testing.assert_array_equal(kept.scores, anew.scores)
    assert len(known) == 30


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.5, 0.7, 1.0]), st.sampled_from([0.0, 1e-9, 1.0, 1e6])),
        min_size=MIN_CURVES,
        max_size=14,
    ),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_outcomes_are_numbers_whatever_the_curves_are(make_record, trials, accuracy):
    """All alike, constant, without seconds, or worlds apart."""
    records = [
        make_record(i, curve=curve_of(*[a] * 6, seconds=[s * e for e in range(1, 7)]), values=(a, 6 * s, 1.0))
        for i, (a, s) in enumerate(trials)
    ]
    found = FinishedCurves(records, 3.0, 6).outcomes(curve_of(*[accuracy] * 3), 1.0)
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.log_seconds).all()
    assert 0 <= found.scores.min() <= found.scores.max() <= 1
    assert 0 <= found.score <= 1
    assert math.isfinite(found.seconds)


@pytest.mark.parametrize(("scale", "shift"), [(2.0, -1.0), (0.5, -1.0)])
def test_scores_on_another_scale_are_expected_to_end_on_that_scale(make_record, scale, shift):
    """Also where they are negative; only the range that counts must be told."""
    generator = np.random.default_rng(0)
    ends = generator.uniform(0.5, 0.9, 30)
    curves = [end - 0.2 * np.exp(-np.arange(1, 7) / 2) + 0.02 * generator.standard_normal(6) for end in ends]

    def outcomes(a, b):
        records = [
            make_record(i, curve=list(a * c + b), values=(a * c[-1] + b, 6.0, 1.0)) for i, c in enumerate(curves)
        ]
        finished = FinishedCurves(records[1:], 3.0, 6, score_range=(b, a + b))
        return finished.outcomes(records[0].curve[:3], 1.0)

    plain, scaled = outcomes(1.0, 0.0), outcomes(scale, shift)
    assert scaled.score == pytest.approx(scale * plain.score + shift)
    assert scaled.scores == pytest.approx(scale * plain.scores + shift)
    assert scaled.variance == pytest.approx(scale**2 * plain.variance)


def test_what_lies_beyond_the_range_counts_as_its_end(make_record):
    """A curve that began with a loss of 50 is one that began with one of 2."""

    def outcomes(low):
        records = [
            make_record(i, curve=[-0.7 if i else low, -0.6, -0.5 + 0.01 * i], values=(-0.5 + 0.01 * i, 3.0, 1.0))
            for i in range(14)
        ]
        curve = make_record(99, curve=[low, -0.6]).curve
        return FinishedCurves(records, 2.0, 3, score_range=(-2.0, 0.0)).outcomes(curve, 1.0)

    np.testing.assert_array_equal(outcomes(-50.0).scores, outcomes(-2.0).scores)
    assert (outcomes(-3.0).scores >= -2.0).all()


def test_trials_that_are_all_alike_end_as_they_did(make_record):
    records = [make_record(i, curve=[0.6, 0.7, 0.8], values=(0.8, 3.0, 2.0), size_mb=2.0) for i in range(12)]
    found = FinishedCurves(records, 2.0, 3).outcomes(records[0].curve[:2], 2.0)
    assert found.score == pytest.approx(0.8, abs=1e-6)
    assert found.seconds == pytest.approx(3.0, rel=1e-6)
    assert found.variance == pytest.approx(0.0, abs=1e-12)
