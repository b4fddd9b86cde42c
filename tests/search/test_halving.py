"""Successive halving: against Optuna's for one objective, and places by rank and hypervolume contribution."""

import itertools

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State
from cnn_lstm_hyperopt.search.learning_curves import smoothed_score
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.pruners.halving import place_among

SKILL = SkillThreshold(0.5, 10**12)  # scores without error: every trial below the cut is pruned


def pruner_of(skill=SKILL, max_epochs=20, **options):
    """Rungs at 1, 3, 9 epochs by default."""
    settings = {"type": "successive_halving", "reduction_factor": 3, **options}
    return PRUNERS["successive_halving"](make_plan(pruner=settings, skill=skill, max_epochs=max_epochs))


def running(number, accuracy, seconds, size, epoch=1.0, state=State.RUNNING):
    """A trial with a single point."""
    return make_record(number, state=state, curve=[Point(epoch, accuracy, 0.5, seconds)], size_mb=size)


PARTS = [0.25, 0.5, 0.75, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "epochs", "expected"),
    [
        ({}, range(1, 13), [1, 3, 9]),
        ({"min_resource": 0.25, "reduction_factor": 2}, PARTS, [0.25, 0.5, 1, 2, 4]),
        ({"min_resource": 0.5}, PARTS, [0.5, 2, 5]),  # 0.5, 1.5, 4.5
        ({}, [4, 5, 10, 30], [4, 10, 30]),  # beyond several rungs: judged at the highest
    ],
)
def test_it_acts_at_the_first_report_on_each_rung(options, epochs, expected):
    pruner, curve = pruner_of(**options), [Point(epoch, 0.6, 0.4, epoch) for epoch in epochs]
    assert [epoch for i, epoch in enumerate(epochs) if pruner.acts(curve[: i + 1])] == expected


def test_a_trial_counts_on_the_rungs_where_it_was_judged_and_on_no_other():
    pruner = pruner_of()
    late = [running(10 + i, 0.9, 3.0, 1.0, epoch=3.0) for i in range(8)]  # never judged after one epoch
    trial, early = running(0, 0.6, 9.0, 9.0), running(1, 0.9, 1.0, 1.0)
    assert pruner.reason_to_prune(trial, late) is None
    assert pruner.reason_to_prune(trial, [*late, early]) is not None
    assert pruner.reason_to_prune(running(0, 0.6, 30.0, 9.0, epoch=3.0), [*late, early]) is not None


accuracies = st.integers(30, 99).map(lambda k: k / 100)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 12), st.integers(1, 9), st.integers(2, 4), st.integers(1, 3), st.integers(0, 1))
def test_decides_as_optunas_successive_halving_for_trials_of_equal_cost(data, n, epochs, factor, resource, rate):
    """Trials run side by side in any order; Optuna gets smoothed accuracies."""
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


def contributions(rows):
    """Contribution of each to the volume, scaled to the unit cube with a reference of 1.1."""
    points = np.array(rows)
    span = points.max(axis=0) - points.min(axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1)
    total = hypervolume(scaled, [1.1] * 3)
    return [total - hypervolume(np.delete(scaled, i, axis=0), [1.1] * 3) for i in range(len(rows))]


def second_opinion(mine, others):
    """(min, max) place: fronts removed one by one, then contributions; ties leave it open."""
    rows, place = [mine, *others], 0
    while True:
        front = [row for row, best in zip(rows, non_dominated(rows), strict=True) if best]
        if mine in front:
            front.remove(mine)
            shares = contributions([mine, *front])
            surely = place + sum(s > shares[0] + 1e-9 for s in shares)
            return surely, place + sum(s > shares[0] - 1e-9 for s in shares[1:])
        place += len(front)
        rows = [row for row in rows if row not in front]


coordinate = st.integers(0, 4).map(float)
triples = st.tuples(coordinate, coordinate, coordinate)


@settings(deadline=None, max_examples=150)
@given(triples, st.lists(triples, max_size=8), st.integers(0, 6), st.randoms(use_true_random=False))
def test_the_place_is_that_of_removed_fronts_and_contributions_in_any_order_of_the_others(mine, others, enough, random):
    """An early end of counting changes no decision."""
    low, high = second_opinion(mine, others)
    for rows in (others, random.sample(others, len(others))):
        place = place_among(mine, rows, 99)
        assert low <= place <= high
        assert (place_among(mine, rows, enough) < enough) == (place < enough)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((0.95, 99.0, 99.0), True),  # the best accuracy
        ((0.60, 0.5, 99.0), True),  # the fastest skilled one
        ((0.60, 99.0, 0.5), True),  # the smallest skilled one
        ((0.60, 1.0, 99.0), False),  # as fast as another
        ((0.49, 0.5, 99.0), False),  # not skilled
    ],
)
def test_the_extremes_of_the_skilled_continue(row, expected):
    skilled = [(0.80 + i / 100, 1.0 + i, 1.0 + i) for i in range(8)]
    *others, trial = [running(i, *row) for i, row in enumerate([*skilled, (0.48, 0.01, 0.01), row])]
    assert (pruner_of().reason_to_prune(trial, others) is None) == expected


def test_the_unskilled_come_after_all_skilled_ordered_by_accuracy():
    """Three of nine continue: two skilled ones and the best of the others."""
    rows = [(0.60, 9.0, 9.0), (0.61, 8.0, 8.0), *((0.40 + i / 100, 1.0, 1.0) for i in range(7))]
    trials = [running(i, *row) for i, row in enumerate(rows)]
    found = [pruner_of().reason_to_prune(each, [t for t in trials if t is not each]) is None for each in trials]
    assert found == [True, True, *[False] * 6, True]


@pytest.mark.parametrize(("accuracy", "expected"), [(0.7, True), (0.698, True), (0.6975, False)])
def test_a_trial_must_be_worse_than_the_cut_by_half_a_standard_error(accuracy, expected):
    """√(0.7 · 0.3 / 10 000) / 2 = 0.0023."""
    other, trial = running(0, 0.7, 1.0, 1.0), running(1, accuracy, 1.0, 1.0)
    pruner = pruner_of(SkillThreshold(0.5, 10_000), reduction_factor=2)
    assert (pruner.reason_to_prune(trial, [other]) is None) == expected


def test_all_trials_at_the_rung_count_but_failures():
    """One pruner sees them in turn: a trial that fails later does not count any more."""
    trial, pruner = running(0, 0.6, 9.0, 9.0), pruner_of()
    for state in (State.RUNNING, State.COMPLETE, State.PRUNED, State.FAIL):
        pruned = pruner.reason_to_prune(trial, [running(9, 0.9, 1.0, 1.0, state=state)]) is not None
        assert pruned == (state is not State.FAIL)


def test_the_losses_of_a_judged_trial_do_not_change():
    other = running(9, 0.6, 1.0, 1.0)
    later = make_record(9, state=State.RUNNING, curve=[*other.curve, *(Point(e, 0.95, 0.05, 50.0 * e) for e in (2, 3))])
    for pruner, row in itertools.product((pruner_of(), pruner_of()), (other, later)):
        assert pruner.reason_to_prune(running(0, 0.7, 0.9, 0.9), [row]) is None
