"""Asynchronous successive halving: against Optuna's where accuracy is all that counts, and the place by rank and contribution."""

import itertools
import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnn_lstm_hyperopt.search import Point, SkillThreshold, State
from cnn_lstm_hyperopt.search.learning_curves import smoothed_score
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.pruners.halving import _place

SKILL = SkillThreshold(0.5, 10**12)
"""Readings without error: what is below the cut is pruned."""


@pytest.fixture(scope="module")
def pruner_of(make_plan):
    """Rungs at 1, 3, 9 epochs, unless told otherwise."""

    def make(skill=SKILL, max_epochs=20, **options):
        settings = {"type": "successive_halving", "reduction_factor": 3, **options}
        return PRUNERS["successive_halving"](make_plan(pruner=settings, skill=skill, max_epochs=max_epochs))

    return make


@pytest.fixture(scope="module")
def at_first_rung(make_record):
    """Trials with one reading after their first epoch: (accuracy, seconds of it, MB)."""

    def make(rows, **fields):
        return [
            make_record(
                number,
                state=State.RUNNING,
                curve=[Point(1.0, accuracy, 0.5, seconds)],
                size_mb=size,
                params={},
                **fields,
            )
            for number, (accuracy, seconds, size) in enumerate(rows)
        ]

    return make


# ---------------------------------------------------------------------- rungs


@pytest.mark.parametrize(
    ("options", "heights"),
    [
        ({}, [1, 3, 9, 27]),
        ({"reduction_factor": 4}, [1, 4, 16, 64]),
        ({"min_resource": 2, "reduction_factor": 2}, [2, 4, 8, 16]),
        ({"min_early_stopping_rate": 2}, [9, 27, 81, 243]),
        ({"min_resource": 0.25, "reduction_factor": 2}, [0.25, 0.5, 1, 2]),
        ({"min_resource": 0.25, "reduction_factor": 2, "min_early_stopping_rate": 1}, [0.5, 1, 2, 4]),
    ],
)
def test_rungs_are_a_geometric_ladder(pruner_of, options, heights):
    pruner = pruner_of(**options)
    assert [pruner.height(rung) for rung in range(4)] == heights
    for rung, height in enumerate(heights):
        assert pruner.rung(height) == pruner.rung(height * 1.01) == rung
        assert pruner.rung(height * 0.99) == rung - 1


def acted(pruner, epochs):
    curve = [Point(epoch, 0.6, 0.4, epoch) for epoch in epochs]
    return [epoch for i, epoch in enumerate(epochs) if pruner.acts(curve[: i + 1])]


def test_acts_at_the_first_report_on_each_rung(pruner_of):
    assert acted(pruner_of(), range(1, 13)) == [1, 3, 9]
    parts = [0.25, 0.5, 0.75, 1, 2, 3, 4, 5]
    assert acted(pruner_of(min_resource=0.25, reduction_factor=2), parts) == [0.25, 0.5, 1, 2, 4]
    assert acted(pruner_of(min_resource=0.5), parts) == [0.5, 2, 5]  # 0.5, 1.5, 4.5


def test_a_first_report_beyond_several_rungs_is_judged_at_the_highest(pruner_of):
    assert acted(pruner_of(), [4, 5, 10, 30]) == [4, 10, 30]


def test_a_trial_counts_on_the_rungs_where_it_was_judged_and_on_no_other(pruner_of, make_record, at_first_rung):
    """One whose first report came after three epochs was never compared after one."""
    pruner = pruner_of()
    late = [make_record(10 + i, state=State.RUNNING, curve=[Point(3.0, 0.9, 0.1, 3.0)]) for i in range(8)]
    (trial,) = at_first_rung([(0.6, 9.0, 9.0)])
    assert pruner.reason_to_prune(trial, late) is None
    (early,) = at_first_rung([(0.9, 1.0, 1.0)])
    assert "1 of 2 trials may go on" in pruner.reason_to_prune(trial, [*late, early])
    slow = make_record(0, state=State.RUNNING, curve=[Point(3.0, 0.6, 0.4, 30.0)], size_mb=9.0)
    assert "at the rung of epoch 3, 3 of 9 trials may go on" in pruner.reason_to_prune(slow, [*late, early])


def test_a_part_of_the_first_epoch_can_be_a_rung(pruner_of, make_record):
    pruner = pruner_of(min_resource=0.25, reduction_factor=2)

    def trial(number, accuracy):
        return make_record(number, state=State.RUNNING, curve=[Point(0.25, accuracy, 0.5, accuracy)])

    others = [trial(i, 0.6 + i / 100) for i in range(3)]
    assert pruner.reason_to_prune(trial(9, 0.7), others) is None
    slow = make_record(9, state=State.RUNNING, curve=[Point(0.25, 0.55, 0.5, 9.0)], size_mb=9.0)
    assert "at the rung of epoch 0.25, 2 of 4 trials may go on" in pruner.reason_to_prune(slow, others)


def test_says_when_no_rung_lies_within_a_trial(pruner_of):
    assert pruner_of(max_epochs=20).inactive_because() is None
    assert pruner_of(max_epochs=2).inactive_because() is None
    text = pruner_of(max_epochs=9, min_early_stopping_rate=2).inactive_because()
    assert text.startswith("successive halving's lowest rung lies at 9 epochs, but training.max_epochs=9: no trial")
    assert pruner_of(max_epochs=1).inactive_because() is not None
    assert pruner_of(max_epochs=1, min_resource=0.25).inactive_because() is None


# ---------------------------------------------------------------------- against Optuna


accuracies = st.integers(30, 99).map(lambda k: k / 100)


@settings(deadline=None, max_examples=60)
@given(
    data=st.data(),
    n=st.integers(1, 12),
    epochs=st.integers(1, 9),
    factor=st.integers(2, 4),
    resource=st.integers(1, 3),
    rate=st.integers(0, 1),
)
def test_decides_as_optunas_successive_halving_where_accuracy_is_all_that_counts(
    make_record, pruner_of, data, n, epochs, factor, resource, rate
):
    """Trials of one size and speed, running side by side in any order; Optuna is told smoothed accuracies."""
    curves = [data.draw(st.lists(accuracies, min_size=epochs, max_size=epochs)) for _ in range(n)]
    turns = data.draw(st.permutations([i for i in range(n) for _ in range(epochs)]))
    options = {"min_resource": resource, "reduction_factor": factor, "min_early_stopping_rate": rate}
    ours = pruner_of(max_epochs=epochs, **options)
    theirs = optuna.pruners.SuccessiveHalvingPruner(**options, bootstrap_count=0)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=theirs)
    trials = [study.ask() for _ in range(n)]
    records = [make_record(i, state=State.RUNNING) for i in range(n)]
    for i in turns:
        if records[i].state is not State.RUNNING:
            continue
        done = len(records[i].curve) + 1
        records[i] = make_record(i, state=State.RUNNING, curve=curves[i][:done])
        trials[i].report(smoothed_score(records[i].curve, done), done)
        others = records[:i] + records[i + 1 :]
        pruned = ours.acts(records[i].curve) and ours.reason_to_prune(records[i], others) is not None
        assert pruned == trials[i].should_prune()
        if pruned or done == epochs:
            state, values = (State.PRUNED, None) if pruned else (State.COMPLETE, (curves[i][-1], float(epochs), 1.0))
            records[i] = make_record(i, state=state, curve=curves[i][:done], values=values)
            study.tell(trials[i], state=optuna.trial.TrialState.PRUNED)


# ---------------------------------------------------------------------- the place among others


def beats(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def box_volume(rows, reference):
    """Inclusion–exclusion."""
    total = 0.0
    for size in range(1, len(rows) + 1):
        for subset in itertools.combinations(rows, size):
            total -= (-1) ** size * np.prod(np.clip(np.subtract(reference, np.max(subset, axis=0)), 0, None))
    return total


def contributions(rows):
    """What each adds to the volume of all, scaled to the unit cube with the reference a tenth beyond."""
    points = np.array(rows)
    span = points.max(axis=0) - points.min(axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1)
    reference = [1.1] * 3
    whole = box_volume(scaled.tolist(), reference)
    return [whole - box_volume(np.delete(scaled, i, axis=0).tolist(), reference) for i in range(len(rows))]


def second_opinion(mine, others):
    """(least, most) places: fronts peeled one by one, then contributions; equal ones leave it open."""
    rows, place = [mine, *others], 0
    while True:
        front = [row for row in rows if not any(beats(other, row) for other in rows)]
        if mine in front:
            front.remove(mine)
            shares = contributions([mine, *front])
            return place + sum(s > shares[0] + 1e-9 for s in shares), place + sum(
                s > shares[0] - 1e-9 for s in shares[1:]
            )
        place += len(front)
        rows = [row for row in rows if row not in front]


coordinate = st.integers(0, 4).map(float)
triples = st.tuples(coordinate, coordinate, coordinate)


@settings(deadline=None, max_examples=150)
@given(mine=triples, others=st.lists(triples, max_size=8))
def test_the_place_is_that_of_fronts_peeled_by_hand_and_contributions_by_inclusion_and_exclusion(mine, others):
    least, most = second_opinion(mine, others)
    assert least <= _place(mine, others, 99) <= most


@settings(deadline=None, max_examples=100)
@given(mine=triples, others=st.lists(triples, max_size=12), enough=st.integers(0, 6))
def test_counting_no_further_than_needed_changes_no_decision(mine, others, enough):
    assert (_place(mine, others, enough) < enough) == (_place(mine, others, 99) < enough)


@settings(deadline=None, max_examples=50)
@given(mine=triples, others=st.lists(triples, max_size=8), random=st.randoms(use_true_random=False))
def test_the_place_does_not_depend_on_the_order_of_the_others(mine, others, random):
    shuffled = list(others)
    random.shuffle(shuffled)
    least, most = second_opinion(mine, others)
    if least == most:
        assert _place(mine, shuffled, 99) == _place(mine, others, 99)


@pytest.mark.parametrize("places", list(itertools.permutations(range(4))))
def test_a_place_is_the_rank_of_the_trial_and_not_the_trial_at_that_rank(pruner_of, at_first_rung, places):
    """Four in a chain; two go on. A 3-cycle tells a rank from an order: (1, 2, 0) are the ranks, (2, 0, 1) the order."""
    pruner = pruner_of(reduction_factor=2)
    trials = at_first_rung([(0.9 - place / 100, 1.0 + place, 1.0 + place) for place in places])
    for number, place in enumerate(places):
        others = trials[:number] + trials[number + 1 :]
        reason = pruner.reason_to_prune(trials[number], others)
        assert (reason is None) == (place < 2)
        if reason is not None:
            assert "2 of 4 trials may go on" in reason


def test_within_a_front_those_that_add_most_to_it_go_on(pruner_of, at_first_rung):
    """None beats another; of the middle ones, two are crowded. The ends are safe."""
    rows = [(0.90, 9.0, 1.0), (0.80, 4.0, 1.0), (0.795, 3.9, 1.0), (0.79, 3.8, 1.0), (0.70, 1.0, 1.0), (0.60, 0.5, 1.0)]
    pruner = pruner_of(reduction_factor=2)
    trials = at_first_rung(rows)
    goes_on = [pruner.reason_to_prune(t, trials[:i] + trials[i + 1 :]) is None for i, t in enumerate(trials)]
    logs = [(-a, math.log(s), 0.0) for a, s, _ in rows]
    shares = contributions(logs)
    best = sorted(range(6), key=lambda i: -shares[i])[:3]
    assert [i for i in range(6) if goes_on[i]] == sorted({*best, 0, 5})
    assert not goes_on[2]


# ---------------------------------------------------------------------- who goes on in any case


def test_a_newcomer_that_beats_all_goes_on(pruner_of, at_first_rung):
    generator = np.random.default_rng(0)
    for n in (1, 2, 10, 40):
        rows = generator.uniform([0.55, 1, 1], [0.9, 9, 9], size=(n, 3)).tolist()
        *others, trial = at_first_rung([*rows, (0.95, 0.5, 0.5)])
        for factor in (2, 3, 20):
            assert pruner_of(reduction_factor=factor).reason_to_prune(trial, others) is None


@pytest.mark.parametrize(
    ("row", "goes_on"),
    [
        ((0.95, 99.0, 99.0), True),  # the most accurate
        ((0.60, 0.5, 99.0), True),  # the fastest of the skilled
        ((0.60, 99.0, 0.5), True),  # the smallest of the skilled
        ((0.60, 1.0, 99.0), False),  # as fast as another is not faster
        ((0.60, 99.0, 99.0), False),
        ((0.49, 0.5, 99.0), False),  # among those that have learnt nothing, being fast is no merit
        ((0.49, 99.0, 0.5), False),
    ],
)
def test_the_extremes_of_the_skilled_go_on(pruner_of, at_first_rung, row, goes_on):
    """Those without skill are faster and smaller still, and count for nothing here."""
    skilled = [(0.80 + i / 100, 1.0 + i, 1.0 + i) for i in range(8)]
    unskilled = [(0.48, 0.01, 0.01)]
    *others, trial = at_first_rung([*skilled, *unskilled, row])
    assert (pruner_of().reason_to_prune(trial, others) is None) == goes_on


def test_the_unskilled_come_after_all_skilled_and_then_by_accuracy(pruner_of, at_first_rung):
    """Of nine, three go on: two are skilled, so one of the others may."""
    skilled = [(0.60, 9.0, 9.0), (0.61, 8.0, 8.0)]
    unskilled = [(0.40 + i / 100, 1.0, 1.0) for i in range(7)]
    trials = at_first_rung([*skilled, *unskilled])
    pruner = pruner_of()
    goes_on = [pruner.reason_to_prune(t, trials[:i] + trials[i + 1 :]) is None for i, t in enumerate(trials)]
    assert goes_on == [True, True, *[False] * 6, True]


def test_a_trial_must_be_worse_than_the_cut_by_half_a_standard_error(pruner_of, at_first_rung):
    """√(0.7 · 0.3 / 10 000) / 2 = 0.0023."""
    pruner = pruner_of(SkillThreshold(0.5, 10_000), reduction_factor=2)

    def kept(accuracy):
        *others, trial = at_first_rung([(0.7, 1.0, 1.0), (accuracy, 1.0, 1.0)])
        return pruner.reason_to_prune(trial, others) is None

    assert [kept(accuracy) for accuracy in (0.71, 0.7, 0.698, 0.6975, 0.69)] == [True, True, True, False, False]


# ---------------------------------------------------------------------- who is compared with


@pytest.mark.parametrize(("state", "counts"), [("RUNNING", 1), ("COMPLETE", 1), ("PRUNED", 1), ("FAIL", 0)])
def test_all_that_came_so_far_count_but_failures(pruner_of, make_record, at_first_rung, state, counts):
    values = (0.9, 20.0, 1.0) if state == "COMPLETE" else None
    other = make_record(9, state=State[state], curve=[Point(1.0, 0.9, 0.1, 1.0)], values=values)
    (trial,) = at_first_rung([(0.6, 9.0, 9.0)])
    assert (pruner_of().reason_to_prune(trial, [other]) is not None) == bool(counts)


def test_a_trial_that_fails_later_no_longer_counts(pruner_of, make_record, at_first_rung):
    """As for a pruner that is built after it failed."""
    pruner = pruner_of()
    (trial,) = at_first_rung([(0.6, 9.0, 9.0)])
    for state, pruned in ((State.RUNNING, True), (State.FAIL, False)):
        other = make_record(9, state=state, curve=[Point(1.0, 0.9, 0.1, 1.0)])
        assert (pruner.reason_to_prune(trial, [other]) is not None) == pruned


def test_where_a_trial_stood_when_it_was_judged_does_not_change(pruner_of, make_record, at_first_rung):
    """It is its reading at the rung, however good or slow it became."""
    early = Point(1.0, 0.6, 0.4, 1.0)
    later = [Point(float(e), 0.95, 0.05, 50.0 * e) for e in range(2, 9)]
    (trial,) = at_first_rung([(0.7, 0.9, 0.9)])
    for pruner in (pruner_of(), pruner_of()):
        for curve in ((early,), (early, *later)):
            other = make_record(9, state=State.RUNNING, curve=curve)
            assert pruner.reason_to_prune(trial, [other]) is None
