"""The front pruner: its rungs, and the share of likely outcomes that no trial beats, counted by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State
from cnn_lstm_hyperopt.search.learning_curves import MIN_CURVES, FinishedCurves, Outcomes, settled_score
from cnn_lstm_hyperopt.search.pruners import PRUNERS

SKILL = SkillThreshold(0.5, 2000)  # needs 0.5224
EPOCHS = 20


def pruner_of(skill=SKILL, startup=MIN_CURVES, **changed):
    plan = {"max_epochs": EPOCHS, "skill": skill, **changed}
    return PRUNERS["front"](make_plan(pruner={"type": "front", "n_startup_trials": startup}, **plan))


def trial_of(number, height, speed, size_mb, *, epochs=EPOCHS, noise=0.0, **fields):
    """A trial whose score rises to a height; RUNNING if it has fewer than all epochs."""
    generator, curve = np.random.default_rng(number), []
    for epoch in range(1, epochs + 1):
        score = 0.5 + (height - 0.5) * (1 - math.exp(-epoch / 4)) + noise * generator.normal()
        curve.append(Point(float(epoch), score, 1 - score, speed * (epoch + 0.5)))
    if epochs < EPOCHS:
        return make_record(number, state=State.RUNNING, curve=curve, size_mb=size_mb, **fields)
    values = (curve[-1].score, curve[-1].seconds, size_mb)
    return make_record(number, curve=curve, values=values, size_mb=size_mb, **fields)


def finished_trials():
    """Thirty trials; better ones are slower and larger, with some scatter."""
    generator, made = np.random.default_rng(5), []
    for number in range(30):
        size = float(np.exp(generator.uniform(-1, 2)))
        height = 0.62 + 0.07 * math.log(size) + generator.uniform(-0.04, 0.04)
        made.append(trial_of(number, height, size * float(np.exp(generator.uniform(-0.3, 0.3))), size, noise=0.004))
    return made


FINISHED = finished_trials()


def ends(trial, others=FINISHED, pruner=None):
    return (pruner or pruner_of()).reason_to_prune(trial, others) is not None


def test_rungs_are_the_quarters_of_the_first_epoch_and_a_ladder_from_a_sixth_to_three_tenths():
    assert [pruner_of(max_epochs=n).rungs[4:] for n in (16, 30)] == [(3.0, 4.0), (5.0, 8.0)]
    for max_epochs in range(1, 300):
        rungs = pruner_of(max_epochs=max_epochs).rungs
        assert list(rungs) == sorted(set(rungs))
        assert rungs[:4] == ((0.25, 0.5, 0.75, 1.0) if max_epochs > 1 else ())
        ladder = rungs[4:]
        assert all(rung < 0.3 * max_epochs for rung in ladder)
        assert all(rung == int(rung) and rung >= max(2, round(max_epochs / 6)) for rung in ladder)
        assert (bool(ladder), len(ladder) == 2) == (max_epochs > 6, max_epochs >= 11)
        assert all(abs(b - 1.6 * a) <= 1.3 for a, b in itertools.pairwise(ladder))


def test_it_decides_at_the_rungs_only():
    pruner = pruner_of()
    parts = [trial_of(99, 0.53, 20.0, 9.0, epochs=epoch) for epoch in range(1, EPOCHS + 1)]
    assert tuple(part.curve[-1].epoch for part in parts if pruner.acts(part.curve)) == pruner.rungs[3:]
    assert tuple(part.curve[-1].epoch for part in parts if ends(part, pruner=pruner)) == pruner.rungs[3:]
    within = [Point(quarter / 4, 0.5, 0.5, quarter) for quarter in range(1, 4)]
    assert all(pruner.acts(within[:seen]) for seen in range(1, 4))


def test_within_the_first_epoch_it_compares_with_trials_that_reported_there():
    halfway = replace(trial_of(99, 0.53, 20.0, 9.0, epochs=1), curve=(Point(0.5, 0.505, 0.5, 15.0),))
    halves = [
        replace(t, curve=(Point(0.5, 0.5 + (t.curve[0].score - 0.5) / 2, 0.5, t.curve[0].seconds / 2), *t.curve))
        for t in FINISHED
    ]
    for n, expected in ((0, False), (MIN_CURVES - 1, False), (MIN_CURVES, True), (30, True)):
        assert ends(halfway, halves[:n] + FINISHED[n:]) == expected


@pytest.mark.parametrize(("startup", "decides"), [(0, True), (12, True), (14, True), (15, False), (99, False)])
def test_it_waits_for_n_startup_skilled_complete_trials(startup, decides):
    skilled = [t for t in FINISHED if SKILL.passes(t.values.score)][:14]
    others = [trial_of(200 + i, 0.505, 0.1, 0.1) for i in range(9)]
    others += [make_record(300 + i, state=State.PRUNED, curve=[0.9] * 5) for i in range(9)]
    trial = trial_of(99, 0.56, 20.0, 9.0, epochs=5)
    assert ends(trial, [*skilled, *others], pruner_of(startup=startup)) == decides


def share_not_beaten(outcomes, size_mb, complete, skill):
    """By hand: outcome by outcome and rival by rival; all skilled rivals instead of their front."""
    alive = 0
    for score, log_seconds in zip(outcomes.scores, outcomes.log_seconds, strict=True):
        rivals = [r for r in complete if r.size_mb <= size_mb and r.values.seconds <= math.exp(log_seconds)]
        settled = [settled for settled in map(settled_score, rivals) if skill.passes(settled)]
        alive += not any(each - math.sqrt(each * (1 - each) / skill.n_effective) > score for each in settled)
    return alive / len(outcomes.scores)


def test_a_trial_ends_when_its_chance_is_too_small_for_the_remaining_seconds():
    """5 % for half of the mean seconds, in proportion to the cube; at most 2 %, since few trials are finished."""
    mean_seconds, pruned = sum(t.values.seconds for t in FINISHED) / len(FINISHED), 0
    pruner = pruner_of()
    for seed in range(40):
        height, speed, size = np.random.default_rng(seed).uniform([0.53, 0.2, 0.2], [0.85, 12.0, 9.0])
        for epoch in pruner.rungs[3:]:
            trial = trial_of(99, height, speed, size, epochs=int(epoch), noise=0.004)
            outcomes = FinishedCurves(FINISHED, epoch, EPOCHS).outcomes(trial.curve, size)
            at_chance = not SKILL.passes(np.quantile(outcomes.scores, 0.9))
            left = outcomes.seconds - trial.curve[-1].seconds
            required = min(0.02, 0.05 * (left / (mean_seconds / 2)) ** 3)
            share = share_not_beaten(outcomes, size, FINISHED, SKILL)
            assert ends(trial, pruner=pruner) == (at_chance or share < required)
            pruned += ends(trial, pruner=pruner)
    assert 24 < pruned < 96  # of 40 at three rungs: both decisions occur


@pytest.mark.parametrize(
    ("left", "n_curves", "expected"),
    [(50.0, 60, 0.05), (100.0, 60, 0.4), (1e6, 60, 0.5), (0.0, 60, 0.0), (50.0, 59, 0.02), (5.0, 59, 0.00005)],
)
def test_the_required_chance_in_closed_form(left, n_curves, expected):
    assert pruner_of().required_chance(left, 100.0, n_curves) == pytest.approx(expected)


@pytest.mark.parametrize(("reason", "mean_seconds"), [("front: at epoch 5 ...", 200.0), ("limit: 300.0 s ...", 100.0)])
def test_trials_that_it_ended_count_with_their_projected_seconds(monkeypatch, reason, mean_seconds):
    """Half of all took 100 s; the other half were ended with projections of 300 s."""
    asked = []
    monkeypatch.setattr(PRUNERS["front"], "required_chance", lambda self, *values: asked.append(values) or 0.0)
    others = [replace(t, number=i, values=t.values._replace(seconds=100.0)) for i, t in enumerate(2 * FINISHED)]
    slow = [trial_of(100 + i, 0.6, 300 / 20.5, 1.0, epochs=5) for i in range(60)]
    others += [replace(t, state=State.PRUNED, reason=reason) for t in slow]
    ends(trial_of(99, 0.7, 1.0, 1.0, epochs=5), others)
    assert asked[0][1:] == (pytest.approx(mean_seconds), 60)


def test_the_required_chance_stays_finite_without_seconds():
    others = [trial_of(i, 0.6 + 0.005 * i, 0.0, 1.0, noise=0.003) for i in range(30)]
    assert [ends(trial_of(99, height, 0.0, 1.0, epochs=5), others) for height in (0.8, 0.55)] == [False, True]


number = st.integers(0, 3).map(float)


@settings(deadline=None, max_examples=80)
@given(
    drawn=st.lists(st.tuples(st.sampled_from([0.6, 0.65, 0.7, 0.75]), number), min_size=1, max_size=8),
    rivals=st.lists(st.tuples(st.sampled_from([0.51, 0.6, 0.65, 0.7, 0.75]), number, number), max_size=8),
    size_mb=number,
)
def test_the_front_beats_what_all_skilled_trials_beat(drawn, rivals, size_mb):
    """With ties: equal size and speed are enough, equal accuracy is not."""
    skill = SkillThreshold(0.5, 10_000)
    complete = [
        make_record(i, curve=[a] * 2, values=(a, math.exp(s), m), size_mb=m) for i, (a, s, m) in enumerate(rivals)
    ]
    outcomes = Outcomes(np.array([a for a, _ in drawn]), np.array([s for _, s in drawn]), 0.6, 1.0)
    expected = share_not_beaten(outcomes, size_mb, complete, skill)
    assert pruner_of(skill).chance(outcomes, size_mb, complete) == pytest.approx(expected)


@pytest.mark.parametrize(("expected_score", "expected"), [(0.62, False), (None, True)])
def test_selection_noise_alone_ends_no_trial(expected_score, expected):
    """Forty equal trials with errors of 0.02; the highest score is 0.05 above the sampler's expectation."""
    attributes = {} if expected_score is None else {"expected_score": expected_score}
    errors = [*np.random.default_rng(2).normal(0, 0.015, 39).clip(-0.025, 0.025).tolist(), 0.07]
    others = [trial_of(i, 0.62 + e, 1.0, 1.0, noise=0.003, attributes=attributes) for i, e in enumerate(errors)]
    trial = trial_of(99, 0.62, 1.1, 1.1, epochs=5, noise=0.003, attributes=attributes)
    assert ends(trial, others, pruner_of(SkillThreshold(0.5, 600))) == expected
