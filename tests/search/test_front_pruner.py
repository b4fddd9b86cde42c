"""The front pruner: when it decides, and the share of likely outcomes that nobody beats, counted by hand."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import Point, SkillThreshold, State
from cnn_lstm_hyperopt.search.learning_curves import MIN_CURVES, FinishedCurves, Outcomes, settled_score
from cnn_lstm_hyperopt.search.pruners import PRUNERS

SKILL = SkillThreshold(0.5, 2000)  # needs 0.5224
EPOCHS = 20


@pytest.fixture(scope="module")
def pruner_of(make_plan):
    def make(skill=SKILL, startup=MIN_CURVES, **changed):
        plan = {"max_epochs": EPOCHS, "skill": skill, **changed}
        return PRUNERS["front"](make_plan(pruner={"type": "front", "n_startup_trials": startup}, **plan))

    return make


@pytest.fixture(scope="module")
def trial_of(make_record):
    """A trial that rises to a height at a pace, at a speed, of a size; whole, or running up to an epoch."""

    def make(number, height, speed, size_mb, *, epochs=EPOCHS, pace=4.0, noise=0.0):
        generator = np.random.default_rng(number)
        curve = []
        for epoch in range(1, epochs + 1):
            accuracy = 0.5 + (height - 0.5) * (1 - math.exp(-epoch / pace)) + noise * generator.normal()
            curve.append(Point(float(epoch), accuracy, 1 - accuracy, speed * (epoch + 0.5)))
        whole = epochs == EPOCHS
        values = (curve[-1].score, curve[-1].seconds, size_mb) if whole else None
        state = State.COMPLETE if whole else State.RUNNING
        return make_record(number, state=state, curve=curve, values=values, size_mb=size_mb)

    return make


@pytest.fixture(scope="module")
def finished(trial_of):
    """Thirty of all heights, speeds and sizes; the better ones are slower and larger, with some scatter."""
    generator = np.random.default_rng(5)
    made = []
    for number in range(30):
        size = float(np.exp(generator.uniform(-1, 2)))
        height = 0.62 + 0.07 * math.log(size) + generator.uniform(-0.04, 0.04)
        speed = size * float(np.exp(generator.uniform(-0.3, 0.3)))
        made.append(trial_of(number, height, speed, size, noise=0.004))
    return made


# ---------------------------------------------------------------------- when it decides


def test_rungs_are_the_quarters_of_the_first_epoch_and_a_ladder_from_a_sixth_to_three_tenths(pruner_of):
    assert pruner_of(max_epochs=16).rungs == (0.25, 0.5, 0.75, 1.0, 3.0, 4.0)
    assert pruner_of(max_epochs=30).rungs == (0.25, 0.5, 0.75, 1.0, 5.0, 8.0)
    for max_epochs in range(1, 300):
        rungs = pruner_of(max_epochs=max_epochs).rungs
        assert list(rungs) == sorted(set(rungs))
        assert rungs[:4] == ((0.25, 0.5, 0.75, 1.0) if max_epochs > 1 else ())
        ladder = rungs[4:]
        assert all(rung < 0.3 * max_epochs for rung in ladder)
        assert all(rung == int(rung) and rung >= max(2, round(max_epochs / 6)) for rung in ladder)
        assert bool(ladder) == (max_epochs > 6)
        assert all(abs(b - 1.6 * a) <= 1.3 for a, b in itertools.pairwise(ladder))
        assert (len(ladder) == 2) == (max_epochs >= 11)


def test_decides_at_the_rungs_only(pruner_of, finished, trial_of):
    pruner, bad = pruner_of(), trial_of(99, 0.53, 20.0, 9.0)
    decided = []
    for epoch in range(1, EPOCHS + 1):
        part = trial_of(99, 0.53, 20.0, 9.0, epochs=epoch)
        assert pruner.acts(part.curve) == (epoch in pruner.rungs)
        if pruner.reason_to_prune(part, finished) is not None:
            decided.append(float(epoch))
    assert (0.25, 0.5, 0.75, *decided) == pruner.rungs
    within = [Point(quarter / 4, 0.5, 0.5, quarter) for quarter in range(1, 4)]
    assert [pruner.acts(within[:seen]) for seen in range(1, 4)] == [True, True, True]
    assert bad.curve[:2] == part.curve[:2]


def test_within_the_first_epoch_it_compares_with_those_that_reported_there(pruner_of, finished, trial_of):
    pruner, dear = pruner_of(), trial_of(99, 0.53, 20.0, 9.0)
    halfway = replace(trial_of(99, 0.53, 20.0, 9.0, epochs=1), curve=(Point(0.5, 0.505, 0.5, 15.0),))
    assert dear.curve[0].seconds == 30.0
    assert pruner.reason_to_prune(halfway, finished) is None
    halves = [
        replace(t, curve=(Point(0.5, 0.5 + (t.curve[0].score - 0.5) / 2, 0.5, t.curve[0].seconds / 2), *t.curve))
        for t in finished
    ]
    assert pruner_of().reason_to_prune(halfway, halves[:MIN_CURVES] + finished[MIN_CURVES:]) is not None
    assert pruner_of().reason_to_prune(halfway, halves).startswith("front: at epoch 0.5 ")
    assert pruner_of().reason_to_prune(halfway, halves[: MIN_CURVES - 1] + finished[MIN_CURVES - 1 :]) is None


@pytest.mark.parametrize(("startup", "decides"), [(0, True), (12, True), (14, True), (15, False), (99, False)])
def test_waits_for_n_startup_skilled_trials(pruner_of, finished, trial_of, make_record, startup, decides):
    """Those at chance, and those that are pruned, are none of them."""
    skilled = [t for t in finished if SKILL.passes(t.values.score)][:14]
    others = [trial_of(200 + i, 0.505, 0.1, 0.1) for i in range(9)]
    others += [make_record(300 + i, state=State.PRUNED, curve=[0.9] * 5) for i in range(9)]
    trial = trial_of(99, 0.56, 20.0, 9.0, epochs=5)
    pruner = pruner_of(startup=startup)
    assert (pruner.reason_to_prune(trial, [*skilled, *others]) is not None) == decides


@pytest.mark.parametrize("n", [1, MIN_CURVES - 1, MIN_CURVES])
def test_waits_for_ten_curves(pruner_of, finished, trial_of, n):
    pruner = pruner_of(startup=0)
    trial = trial_of(99, 0.505, 20.0, 20.0, epochs=5)
    assert (pruner.reason_to_prune(trial, finished[:n]) is not None) == (n == MIN_CURVES)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, None),
        ({"max_epochs": 2}, None),
        ({"max_epochs": 1}, "training.max_epochs=1 leaves the front pruner no epoch to decide at"),
        ({"startup": 30, "n_trials": 30}, "pruner.n_startup_trials=30 is not below study.n_trials=30"),
        ({"startup": 29, "n_trials": 30}, None),
        ({"startup": 0, "n_trials": 10}, "the front pruner compares with 10 finished trials at least"),
        ({"startup": 0, "n_trials": 11}, None),
    ],
)
def test_says_when_it_can_not_act(pruner_of, changed, expected):
    text = pruner_of(**changed).inactive_because()
    assert text is None if expected is None else text.startswith(expected)


# ---------------------------------------------------------------------- what it decides


def share_not_beaten(outcomes, size_mb, complete, skill):
    """By hand: outcome by outcome, rival by rival; all skilled rivals, not their front alone."""
    alive = 0
    for accuracy, log_seconds in zip(outcomes.scores, outcomes.log_seconds, strict=True):
        beaten = False
        for rival in complete:
            settled = settled_score(rival)
            surely = settled - math.sqrt(settled * (1 - settled) / skill.n_effective)
            if skill.passes(settled) and rival.size_mb <= size_mb and rival.values.seconds <= math.exp(log_seconds):
                beaten |= surely > accuracy
        alive += not beaten
    return alive / len(outcomes.scores)


@pytest.mark.parametrize("seed", range(40))
def test_a_trial_ends_when_its_chance_is_not_worth_the_seconds_left(pruner_of, finished, trial_of, seed):
    """Five in a hundred are, for half of what a trial takes, in proportion to its cube; here two, as so few have finished."""
    usual = sum(t.values.seconds for t in finished) / len(finished)
    generator = np.random.default_rng(seed)
    height, speed, size = generator.uniform([0.53, 0.2, 0.2], [0.85, 12.0, 9.0])
    pruner = pruner_of()
    for epoch in pruner.rungs[3:]:
        trial = trial_of(99, height, speed, size, epochs=int(epoch), noise=0.004)
        outcomes = FinishedCurves(finished, epoch, EPOCHS).outcomes(trial.curve, size)
        share = share_not_beaten(outcomes, size, finished, SKILL)
        hopeless = not SKILL.passes(np.quantile(outcomes.scores, 0.9))
        left = outcomes.seconds - trial.curve[-1].seconds
        needed = min(0.02, 0.05 * (left / (usual / 2)) ** 3)
        reason = pruner.reason_to_prune(trial, finished)
        assert (reason is not None) == (hopeless or share < needed)
        if reason is not None and not hopeless:
            assert reason.startswith(
                f"front: at epoch {epoch:g} its chance to reach the front is {share:.0%}, and {left:.1f} s more need"
                f" {100 * needed:.2g}% (expected"
            )


def test_such_trials_are_of_both_kinds(pruner_of, finished, trial_of):
    """So that the test above says something."""
    pruned = 0
    for seed in range(40):
        height, speed, size = np.random.default_rng(seed).uniform([0.53, 0.2, 0.2], [0.85, 12.0, 9.0])
        trial = trial_of(99, height, speed, size, epochs=5, noise=0.004)
        pruned += pruner_of().reason_to_prune(trial, finished) is not None
    assert 8 < pruned < 32


@pytest.mark.parametrize(("chance", "left", "ends"), [
    (0.05, 50.0, False), (0.049, 50.0, True), (0.4, 100.0, False), (0.399, 100.0, True),
    (0.000051, 5.0, False), (0.000049, 5.0, True), (0.5, 1e6, False), (0.49, 1e6, True), (0.0, 0.0, False), (0.0, 0.1, True),
])  # fmt: skip
def test_what_is_needed_is_in_proportion_to_the_cube_of_the_seconds_left(
    pruner_of, finished, trial_of, monkeypatch, chance, left, ends
):
    """Finished trials take 100 s here; there are 60 of them, or one less, and then 2 % is enough."""
    pruner, trial = pruner_of(), trial_of(99, 0.7, 1.0, 1.0, epochs=5)
    outcomes = Outcomes(np.full(60, 0.7), np.zeros(60), 0.7, trial.curve[-1].seconds + left)
    monkeypatch.setattr(FinishedCurves, "outcomes", lambda *_: outcomes)
    monkeypatch.setattr(type(pruner), "chance", lambda *_: chance)
    hundred = [
        replace(t, number=i, values=t.values._replace(seconds=100.0)) for i, t in enumerate([*finished, *finished])
    ]
    assert len(hundred) == 60
    assert (pruner.reason_to_prune(trial, hundred) is not None) == ends
    assert (pruner_of().reason_to_prune(trial, hundred[1:]) is not None) == (ends and chance < 0.02)


@pytest.mark.parametrize(("reason", "least"), [
    ("front: at epoch 5 its chance ...", 0.05 * (50 / 100) ** 3), ("limit: 300.0 s ...", 0.05)
])  # fmt: skip
def test_what_it_ended_counts_by_what_it_would_have_taken(pruner_of, finished, trial_of, monkeypatch, reason, least):
    """Half of all took 100 s, half were ended and were heading for 300 s; so 50 s are a quarter of what is usual."""
    trial = trial_of(99, 0.7, 1.0, 1.0, epochs=5)
    outcomes = Outcomes(np.full(60, 0.7), np.zeros(60), 0.7, trial.curve[-1].seconds + 50.0)
    monkeypatch.setattr(FinishedCurves, "outcomes", lambda *_: outcomes)
    others = [
        replace(t, number=i, values=t.values._replace(seconds=100.0)) for i, t in enumerate([*finished, *finished])
    ]
    others += [
        replace(trial_of(100 + i, 0.6, 300 / 20.5, 1.0, epochs=5), state=State.PRUNED, reason=reason) for i in range(60)
    ]
    for chance, ends in ((least * 1.001, False), (least * 0.999, True)):
        monkeypatch.setattr(PRUNERS["front"], "chance", lambda *_, chance=chance: chance)
        assert (pruner_of().reason_to_prune(trial, others) is not None) == ends


def test_where_nobody_told_seconds_all_take_as_long(pruner_of, make_record, trial_of):
    """A function may yield none: each trial then counts as a millisecond, and what is needed is no infinity."""
    finished = [
        replace(t, curve=tuple(p._replace(seconds=0.0) for p in t.curve), values=t.values._replace(seconds=0.0))
        for t in (trial_of(i, 0.6 + 0.005 * i, 1.0, 1.0, noise=0.003) for i in range(30))
    ]
    best = trial_of(99, 0.8, 1.0, 1.0, epochs=5)
    best = replace(best, curve=tuple(p._replace(seconds=0.0) for p in best.curve))
    worst = trial_of(98, 0.55, 1.0, 1.0, epochs=5)
    worst = replace(worst, curve=tuple(p._replace(seconds=0.0) for p in worst.curve))
    assert pruner_of().reason_to_prune(best, finished) is None
    assert pruner_of().reason_to_prune(worst, finished) is not None


number = st.integers(0, 3).map(float)


@settings(deadline=None, max_examples=80)
@given(
    drawn=st.lists(st.tuples(st.sampled_from([0.6, 0.65, 0.7, 0.75]), number), min_size=1, max_size=8),
    rivals=st.lists(st.tuples(st.sampled_from([0.51, 0.6, 0.65, 0.7, 0.75]), number, number), max_size=8),
    size_mb=number,
)
def test_the_front_beats_what_all_of_the_skilled_beat(pruner_of, make_record, drawn, rivals, size_mb):
    """Ties included: as large and as fast is enough; as accurate is not."""
    skill = SkillThreshold(0.5, 10_000)
    complete = [
        make_record(i, curve=[a] * 2, values=(a, math.exp(s), m), size_mb=m) for i, (a, s, m) in enumerate(rivals)
    ]
    outcomes = Outcomes(np.array([a for a, _ in drawn]), np.array([s for _, s in drawn]), 0.6, 1.0)
    pruner = pruner_of(skill)
    share = pruner.chance(outcomes, size_mb, complete)
    assert share == pytest.approx(share_not_beaten(outcomes, size_mb, complete, skill))


def test_the_extremes_are_safe(pruner_of, finished, trial_of):
    """What is likely to be the most accurate, the fastest or the smallest of the skilled is never beaten."""
    pruner = pruner_of()

    def kept(height, speed, size):
        return pruner.reason_to_prune(trial_of(99, height, speed, size, epochs=5), finished) is None

    assert not kept(0.58, 9.0, 9.0)
    assert kept(0.95, 9.0, 9.0)
    assert kept(0.58, 9.0, 0.2)
    assert kept(0.58, 0.1, 9.0)


def test_a_rival_must_be_better_by_one_standard_error(pruner_of, make_record):
    """√(0.7 · 0.3 / 10 000) = 0.0046, all else alike."""
    (pruner, rival) = pruner_of(SkillThreshold(0.5, 10_000)), make_record(0, curve=[0.7] * 2, values=(0.7, 1.0, 1.0))

    def share(accuracy):
        return pruner.chance(Outcomes(np.array([accuracy]), np.zeros(1), 0, 1), 1.0, [rival])

    assert [share(accuracy) for accuracy in (0.7, 0.6955, 0.6953, 0.69)] == [1.0, 1.0, 0.0, 0.0]


def test_what_is_likely_to_end_at_chance_ends_however_small_and_fast_it_is(pruner_of, finished, trial_of):
    flat = [trial_of(100 + i, 0.505, 0.5 + 0.1 * i, 0.5 + 0.1 * i, noise=0.003) for i in range(12)]
    trial = trial_of(99, 0.505, 0.01, 0.01, epochs=5)
    reason = pruner_of().reason_to_prune(trial, [*finished, *flat])
    assert reason.startswith("front: at epoch 5 it is likely to end at chance (nine in ten similar curves below 0.")
    assert f"{SKILL.threshold:.4f} is needed" in reason


def test_those_that_have_learnt_nothing_beat_nobody(pruner_of, make_record):
    skill = SkillThreshold(0.5, 100)  # needs 0.60
    rival = make_record(0, curve=[0.59] * 2, values=(0.59, 0.1, 0.1), size_mb=0.1)
    pruner = pruner_of(skill)
    assert pruner._front_of([rival]).shape == (0, 3)
    outcomes = Outcomes(np.array([0.3]), np.array([9.0]), 0.3, 9.0)
    assert pruner.chance(outcomes, 9.0, [rival]) == 1.0


def test_a_pruner_that_has_seen_the_study_grow_decides_as_one_built_anew(pruner_of, finished, trial_of):
    old = pruner_of()
    trials = [
        trial_of(50 + i, *np.random.default_rng(i).uniform([0.5, 0.2, 0.2], [0.85, 9, 9]), epochs=5) for i in range(6)
    ]
    for n in range(8, 31):
        for trial in trials:
            known = finished[:n]
            assert old.reason_to_prune(trial, known) == pruner_of().reason_to_prune(trial, known)


def test_one_lucky_reading_ends_nobody(pruner_of, trial_of):
    """Forty alike, read with an error of 0.02; the luckiest is 0.05 above what the sampler expected of it, and of all."""
    skill, generator = SkillThreshold(0.5, 600), np.random.default_rng(2)

    def alike(number, luck, expected, *, speed=1.0, epochs=EPOCHS):
        trial = trial_of(number, 0.62 + luck, speed, 1.0, epochs=epochs, noise=0.003)
        return replace(trial, attributes={} if expected is None else {"expected_score": expected})

    lucks = [*generator.normal(0, 0.015, 39).clip(-0.025, 0.025).tolist(), 0.07]
    ended = {}
    for expected in (0.62, None):
        others = [alike(number, luck, expected) for number, luck in enumerate(lucks)]
        trial = replace(alike(99, 0.0, expected, speed=1.1, epochs=5), size_mb=1.1)
        ended[expected] = pruner_of(skill).reason_to_prune(trial, others) is not None
    assert ended == {0.62: False, None: True}
