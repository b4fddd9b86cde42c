"""The median rule: against Optuna's, and its differences for three objectives."""

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.search import Point, SkillThreshold, State, ranked_front
from cnn_lstm_hyperopt.search.pruners import PRUNERS

SKILL = SkillThreshold(0.5, 10_000)  # needs 0.51; half a standard error is 0.0025


def ends(trial, others, skill=SKILL, **options):
    settings = {"type": "median", "n_startup_trials": 1, "n_warmup_steps": 0, **options}
    return PRUNERS["median"](make_plan(pruner=settings, skill=skill)).reason_to_prune(trial, others) is not None


def running(curve, speed=100.0, size_mb=100.0):
    return make_record(99, state=State.RUNNING, curve=curve, speed=speed, size_mb=size_mb)


def complete(number, curve, *, speed=1.0, size_mb=1.0):
    values = (max(curve), speed * len(curve), size_mb)
    return make_record(number, curve=curve, speed=speed, size_mb=size_mb, values=values)


RIVALS = [complete(i, np.linspace(0.52, 0.60 + 0.05 * i, 6).tolist(), speed=1 + i, size_mb=1.0 + i) for i in range(5)]
"""Skilled trials of 6 epochs that do not dominate each other; the median is 0.556 at epoch 2."""


def optuna_decisions(complete_curves, curve, startup, warmup, interval):
    """Decisions of a single-objective study; Optuna counts steps from 0."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(startup, warmup, interval))
    for values in complete_curves:
        trial = study.ask()
        for step, value in enumerate(values):
            trial.report(value, step)
        study.tell(trial, max(values))
    trial = study.ask()
    return [trial.report(value, step) or trial.should_prune() for step, value in enumerate(curve)]


accuracies = st.integers(34, 63).map(lambda k: k / 64)  # exact medians, so that ties are ties


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(0, 6), st.integers(1, 7), st.integers(0, 4), st.integers(0, 4), st.integers(1, 3))
def test_decides_as_optunas_median_pruner_if_only_accuracy_matters(data, n, epochs, startup, warmup, interval):
    """All others are smaller, faster, skilled and on the front."""
    curves = st.lists(accuracies, min_size=epochs, max_size=epochs)
    complete_curves, curve = [data.draw(curves) for _ in range(n)], data.draw(curves)
    others = [complete(i, each, speed=1 + i, size_mb=float(n - i)) for i, each in enumerate(complete_curves)]
    assert len(ranked_front(others, SKILL)) == n
    options = {"n_startup_trials": startup, "n_warmup_steps": warmup, "interval_steps": interval}
    ours = [ends(running(curve[: epoch + 1]), others, **options) for epoch in range(epochs)]
    assert ours == optuna_decisions(complete_curves, curve, startup, warmup, interval)


@pytest.mark.parametrize(("accuracy", "expected"), [(0.7, False), (0.6978, False), (0.6977, True)])
def test_a_score_is_below_the_median_from_half_a_standard_error_on(accuracy, expected):
    """√(0.7 · 0.3 / 10 000) / 2 = 0.00229."""
    assert ends(running([accuracy]), [complete(i, [0.8 - 0.2 * (i // 2)]) for i in range(4)]) == expected


@pytest.mark.parametrize(("accuracy", "expected"), [(0.602, False), (0.603, True)])
def test_a_rival_must_be_better_by_half_a_standard_error(accuracy, expected):
    """The median is far above; only the last trial is no larger and no slower."""
    ahead = [complete(i, [0.8], speed=200.0, size_mb=200.0) for i in (0, 1)]
    assert ends(running([0.6]), [*ahead, complete(2, [accuracy])]) == expected


def test_reports_within_an_epoch_are_no_epochs():
    curve = [Point(epoch, 0.51, 0.5, 20.0 * epoch) for epoch in (0.5, 1.0, 1.5, 2.0)]
    assert [ends(running(curve[:n]), RIVALS) for n in (1, 2, 3, 4)] == [False, True, False, True]
    assert not ends(running(curve), RIVALS, n_warmup_steps=2)
    parts = [Point(0.25, 0.9, 0.1, 0.25), Point(0.75, 0.9, 0.1, 0.75), Point(1.0, 0.6, 0.4, 1.0)]
    rivals = [make_record(i, curve=parts, values=(0.7, 2.0, 1.0)) for i in range(3)]
    assert [ends(running([score]), rivals) for score in (0.65, 0.55)] == [False, True]  # not by 0.9 of their parts


@pytest.mark.parametrize(
    ("curve", "speed", "size_mb", "expected"),
    [
        ([0.52, 0.53, 0.53], 0.5, 100.0, False),  # the fastest
        ([0.52, 0.53, 0.53], 100.0, 0.5, False),  # the smallest
        ([0.52, 0.53, 0.53], 1.0, 1.0, True),  # as fast and small as trial 0, and less accurate
        ([0.50, 0.51], 0.01, 0.01, True),  # below the skill threshold
    ],
)
def test_a_skilled_trial_ends_only_if_one_trial_dominates_it(curve, speed, size_mb, expected):
    assert ends(running(curve, speed=speed, size_mb=size_mb), RIVALS) == expected


@pytest.mark.parametrize(("speed", "expected"), [(2.0, False), (3.0, True)])
def test_two_rivals_together_do_not_dominate(speed, expected):
    """One is faster, the other smaller, both are more accurate."""
    rivals = [complete(0, [0.9] * 6, speed=1, size_mb=2.0), complete(1, [0.9] * 6, speed=3, size_mb=1.0)]
    assert ends(running([0.52, 0.53], speed=speed, size_mb=1.5), rivals) == expected


def test_rivals_are_compared_at_the_same_epoch_by_score_and_seconds():
    late = [complete(i, [0.52, 0.52, 0.9], speed=1 + i, size_mb=2.0 - i) for i in (0, 1)]  # better only at their end
    others = [*late, *(complete(i, [0.7, 0.7, 0.7], speed=500, size_mb=0.9) for i in (2, 3, 4))]
    assert not ends(running([0.55, 0.55]), others)
    assert ends(running([0.515, 0.515]), others)
    assert ends(running([0.6, 0.6], speed=2.5), [complete(0, [0.8] * 4, speed=2)])
    assert not ends(running([0.6, 0.6], speed=1.9), [complete(0, [0.8] * 4, speed=2)])


def test_a_shorter_rival_counts_with_its_last_score():
    others = [complete(i, [0.7, 0.8]) for i in range(3)]
    assert [ends(running([score] * 5), others) for score in (0.75, 0.85)] == [True, False]


def test_unskilled_rivals_dominate_no_skilled_trial():
    skill = SkillThreshold(0.5, 100)  # needs 0.60
    others = [make_record(i, curve=[0.65, 0.65, 0.55], values=(0.55, 1, 0.1), size_mb=0.1) for i in range(3)]
    assert [ends(running([score] * 2), others, skill) for score in (0.61, 0.55)] == [False, True]
