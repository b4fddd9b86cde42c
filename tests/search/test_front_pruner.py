"""The front pruner: its rungs, its expected gain of hypervolume by brute force, and its audit by control trials."""

import functools
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from builders.records import CHEAP, make_plan, make_record
from cnn_lstm_hyperopt.pareto import hypervolume
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, Study, StudyStorage, optimise
from cnn_lstm_hyperopt.search.learning_curves import MIN_CURVES, settled_score
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.pruning_audit import AUDIT_EVERY, Audit, Verdict, audit, is_early_control, is_exempt

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


def gain_by_hand(pruner, outcomes, size_mb):
    """Outcome by outcome: the hypervolume of the rivals and the outcome, minus that of the rivals."""
    progress, total = pruner.progress_of(FINISHED), 0.0
    rivals = [
        ((-score + pruner.margin(score), math.log(seconds), math.log(mb)) - progress.low) / progress.width
        for score, seconds, mb in ((settled_score(t), t.values.seconds, t.size_mb) for t in FINISHED)
    ]
    for score, log_seconds in zip(outcomes.scores, outcomes.log_seconds, strict=True):
        row = ((-score, log_seconds, math.log(size_mb)) - progress.low) / progress.width
        row[1:] = np.minimum(row[1:], 1.0)
        total += hypervolume([*rivals, row], (1.1,) * 3) - hypervolume(rivals, (1.1,) * 3)
    return total / len(outcomes.scores)


def test_the_expected_gain_is_the_mean_hypervolume_that_the_likely_outcomes_add():
    pruner, gains = pruner_of(), []
    for seed in range(12):
        height, speed, size = np.random.default_rng(seed).uniform([0.53, 0.2, 0.2], [0.85, 12.0, 9.0])
        outcomes = pruner.outcomes(trial_of(99, height, speed, size, epochs=5, noise=0.004), FINISHED)
        gains.append(pruner.expected_gain(outcomes, size, pruner.progress_of(FINISHED)))
        assert gains[-1] == pytest.approx(gain_by_hand(pruner, outcomes, size), abs=1e-9)
    assert min(gains) < 0.001 < 0.05 < max(gains)


def test_a_trial_ends_when_it_gains_too_little_for_its_remaining_seconds():
    """The last twenty COMPLETE trials are recent: their gain and seconds by hand, and 20 epochs of each pruned trial."""
    pruner = pruner_of()
    progress, pruned = pruner.progress_of(FINISHED), 0
    ended = [make_record(50 + i, state=State.PRUNED, reason="front: x", curve=[0.5], speed=3.0) for i in range(5)]
    spent = sum(t.values.seconds for t in FINISHED[10:]) + 5 * 20 * 3.0
    for seed in range(40):
        height, speed, size = np.random.default_rng(seed).uniform([0.53, 0.2, 0.2], [0.85, 12.0, 9.0])
        trial = trial_of(99, height, speed, size, epochs=5, noise=0.004)
        outcomes = pruner.outcomes(trial, FINISHED)
        at_chance = not SKILL.passes(np.quantile(outcomes.scores, 0.9))
        left = outcomes.seconds - trial.curve[-1].seconds
        best = outcomes.score > progress.best
        too_little = gain_by_hand(pruner, outcomes, size) <= 0.1 * progress.gain / spent * left
        assert ends(trial, [*FINISHED, *ended], pruner) == (at_chance or (too_little and not best))
        pruned += ends(trial, [*FINISHED, *ended], pruner)
    assert 8 < pruned < 32  # both decisions occur


@pytest.mark.parametrize(
    ("height", "speed", "size_mb"),
    [(0.9, 40.0, 30.0), (0.75, 0.05, 5.0), (0.75, 5.0, 0.05)],
    ids=["accurate", "fast", "small"],
)
def test_a_trial_that_extends_the_front_continues_however_expensive_it_is(height, speed, size_mb):
    assert not ends(trial_of(99, height, speed, size_mb, epochs=5))


SEED = 3


def audited(lost, others_on_front, flagged, others):
    """Control trials of ten seconds, then failed ones up to a multiple of ten; flagged ones would have ended at epoch 1 of 10."""
    records = []
    for on_front, count, note in (
        (lost, flagged, {"epoch": 1.0, "reason": "front: x"}),
        (others_on_front, others, None),
    ):
        for i in range(count):
            # On the front: more accurate and larger, step by step; the others are worse in all objectives.
            place = len(records)
            values = (0.7 + place / 1000, 10.0, 1.0 + place) if i < on_front else (0.6, 11.0, 900.0)
            curve = [Point(float(e), values[0], 1 - e / 100, e * values[1] / 10) for e in range(1, 11)]
            attributes = {"control": True} | ({"would_have_ended": note} if note else {})
            records.append(make_record(place, curve=curve, values=values, size_mb=values[2], attributes=attributes))
    n = len(records)
    return records + [make_record(n + i, state=State.FAIL) for i in range(-n % AUDIT_EVERY)]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 8), st.integers(0, 8))
def test_the_audit_compares_shares_of_the_front_with_shares_of_the_seconds(lost, others_on_front, a, b):
    flagged, others = lost + a, others_on_front + b
    records = audited(lost, others_on_front, flagged, others)
    found = audit(records, SKILL, SEED)
    if not flagged:
        assert found == Audit()  # no decision to end a trial
        return
    if not lost + others_on_front:  # equal trials are all on the front
        lost, others_on_front = a, b
    n = lost + others_on_front
    assert found[:4] == (flagged + others, flagged, n, lost)
    assert found.seconds_saved == pytest.approx(
        0.9 * sum(r.seconds for r in records[:flagged]) / sum(r.seconds for r in records)
    )
    low, high = beta.ppf(0.1, lost, n - lost + 1) if lost else 0, beta.ppf(0.9, lost + 1, n - lost) if lost < n else 1
    assert found.bounds == pytest.approx((low, high))
    pays = high < found.seconds_saved and found.hypervolume_lost < min(0.1, found.seconds_saved)
    assert found.verdict is (Verdict.PAYS if pays else Verdict.HARMS if low > found.seconds_saved else Verdict.UNKNOWN)
    assert audit(records[:-1], SKILL, SEED) == audit(records[: (len(records) - 1) // 10 * 10], SKILL, SEED)


def test_the_lost_hypervolume_is_that_of_the_front_without_the_trials_that_would_have_ended():
    """Members of a staircase in score and ln MB at equal seconds: areas by hand, from the threshold to the reference point."""
    found = audit(audited(3, 7, 3, 7), SKILL, SEED)
    sizes = [math.log(1.0 + place) for place in range(10)]
    corner = sizes[-1] * 1.1 + 1e-3

    def area(places):
        heights = [0.7 + place / 1000 - SKILL.threshold for place in places]
        edges = [*(sizes[place] for place in places), corner]
        return sum(h * (b - a) for h, a, b in zip(heights, edges[:-1], edges[1:], strict=True))

    lost = area(range(10)) - area(range(3, 10))
    assert found.hypervolume_lost == pytest.approx(lost / area(range(10)), rel=1e-6)


@functools.cache
def studied(pruner, every=110):
    """110 random trials of a function; the study is opened again after each ``every`` trials."""
    storage = StudyStorage.in_memory("x")
    for n_trials in range(every, 111, every):
        plan = CHEAP.plan("random", {"type": pruner, "n_startup_trials": 12}, n_trials=110, seed=0)
        optimise(Study(storage, replace(plan, n_trials=n_trials, begun_with=110)), CHEAP.evaluate)
    return storage.records()


def test_a_study_is_as_without_pruning_until_control_trials_show_that_pruning_pays():
    records, whole = studied("front"), studied("none")
    first = next(record.number for record in records if record.state is State.PRUNED)
    assert 30 < first < 80
    assert [r.values for r in records[:first]] == [r.values for r in whole[:first]]
    assert all(r.attributes["control"] for r in records[: first // AUDIT_EVERY * AUDIT_EVERY])
    assert any("control" in r.attributes for r in records[first:])  # the pruner is off again for some trials
    assert sum("would_have_ended" in r.attributes for r in records[:first]) > 3
    for record, full in zip(records, whole, strict=True):
        assert record.params == full.params
        if "control" in record.attributes or is_exempt(0, record.number):
            assert record.values == full.values
        elif record.state is State.PRUNED:
            assert audit([r for r in records if r.number < record.number], CHEAP.skill, 0).verdict is Verdict.PAYS
            assert record.curve == full.curve[: len(record.curve)]
    again = studied("front", 22)
    assert [(r.state, r.values, r.attributes.get("would_have_ended")) for r in again] == [
        (r.state, r.values, r.attributes.get("would_have_ended")) for r in records
    ]


def test_the_share_of_early_control_trials_falls_as_25_by_n():
    drawn = np.array([[is_early_control(seed, number) for number in range(200)] for seed in range(100)])
    share = np.minimum(1, 25 / np.arange(1, 201))
    assert drawn[:, :25].all()
    for low, high in ((25, 50), (50, 100), (100, 200)):
        assert drawn[:, low:high].mean() == pytest.approx(share[low:high].mean(), abs=0.03)


def test_a_trial_is_expected_to_keep_its_present_score():
    """All finished curves fall after epoch 5; the running trial is better than they were."""
    falling = [
        make_record(i, curve=[0.6 + 0.004 * i - 0.01 * max(0, e - 5) for e in range(EPOCHS)], values=(0.6, 20.0, 1.0))
        for i in range(20)
    ]
    pruner = pruner_of()
    for height in (0.62, 0.7, 0.9):
        trial = make_record(99, state=State.RUNNING, curve=[height] * 5, size_mb=1.0)
        outcomes = pruner.outcomes(trial, falling)
        assert min(outcomes.score, *outcomes.scores) >= height


def test_the_required_chance_stays_finite_without_seconds():
    others = [trial_of(i, 0.6 + 0.005 * i, 0.0, 1.0, noise=0.003) for i in range(30)]
    assert [ends(trial_of(99, height, 0.0, 1.0, epochs=5), others) for height in (0.8, 0.55)] == [False, True]


@pytest.mark.parametrize(("expected_score", "expected"), [(0.62, False), (None, True)])
def test_selection_noise_alone_ends_no_trial(expected_score, expected):
    """Forty equal trials with errors of 0.02; the highest score is 0.05 above the sampler's expectation."""
    attributes = {} if expected_score is None else {"expected_score": expected_score}
    errors = [*np.random.default_rng(2).normal(0, 0.015, 39).clip(-0.025, 0.025).tolist(), 0.07]
    others = [trial_of(i, 0.62 + e, 1.0, 1.0, noise=0.003, attributes=attributes) for i, e in enumerate(errors)]
    trial = trial_of(99, 0.62, 1.0, 1.0, epochs=5, noise=0.003, attributes=attributes)
    assert ends(trial, others, pruner_of(SkillThreshold(0.5, 600))) == expected
