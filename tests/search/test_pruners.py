"""Contract of every pruner, and control trials in a study."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.progress import Action, ProgressReport
from cnn_lstm_hyperopt.search import Cost, SkillThreshold, State, Study, StudyStorage, optimise
from cnn_lstm_hyperopt.search.pruners import EXEMPT, PRUNERS, is_exempt
from cnn_lstm_hyperopt.search.pruners.base import extreme_in

EPOCHS, GOOD = 20, 15
every_immediate_pruner = pytest.mark.parametrize("name", sorted({*PRUNERS} - {"none", "front"}))
"""The pruner ``front`` first needs an audit, see ``test_front_pruner.py``."""


@pytest.mark.parametrize(
    ("settings", "plan", "inactive"),
    [
        ({"type": "median", "n_startup_trials": 20, "n_warmup_steps": 19}, {"max_epochs": 20}, True),
        ({"type": "median", "n_startup_trials": 20, "n_warmup_steps": 18}, {"max_epochs": 20}, False),
        ({"type": "median", "n_startup_trials": 20, "n_warmup_steps": 10}, {"n_trials": 20, "max_epochs": 20}, True),
        ({"type": "successive_halving"}, {"max_epochs": 2}, False),
        ({"type": "successive_halving"}, {"max_epochs": 1}, True),
        ({"type": "successive_halving", "min_resource": 0.25}, {"max_epochs": 1}, False),
        ({"type": "successive_halving", "min_early_stopping_rate": 2}, {"max_epochs": 9}, True),
        ({"type": "front", "n_startup_trials": 10}, {"max_epochs": 1}, True),
        ({"type": "front", "n_startup_trials": 0}, {"n_trials": 10}, True),
        ({"type": "front", "n_startup_trials": 0}, {"n_trials": 11}, False),
        ({"type": "none"}, {"n_trials": 1, "max_epochs": 1}, False),
    ],
)
def test_studies_in_which_a_pruner_is_inactive(settings, plan, inactive):
    pruner = PRUNERS[settings["type"]](make_plan(pruner=settings, **plan))
    assert (pruner.inactive_because() is not None) == inactive
    assert pruner.reason_to_prune(make_record(state=State.RUNNING, curve=[0.9]), []) is None  # a first trial


number = st.integers(0, 3).map(float)
losses = st.tuples(number, number, number)


@given(losses, st.lists(losses, max_size=5))
def test_an_extreme_is_better_than_all_others_in_some_objective(mine, others):
    columns = list(zip(*others, strict=True)) or [(math.inf,)] * 3
    assert extreme_in(mine, others) == any(a < min(b) for a, b in zip(mine, columns, strict=True))


def test_one_trial_in_twelve_is_exempt_by_seed_and_number_alone():
    share, sets = 1 / EXEMPT, []
    for seed in (0, 1, 2**31):
        sets.append({number for number in range(4000) if is_exempt(seed, number)})
        assert sets[-1] == {number for number in range(4000) if is_exempt(seed, number)}
        assert abs(len(sets[-1]) / 4000 - share) < 4 * math.sqrt(share * (1 - share) / 4000)
    expected = 4000 * share**2
    assert abs(len(sets[0] & sets[1]) - expected) < 4 * math.sqrt(expected)


def study_of(name, n_trials, seed=0):
    """A finished study; the first trials are good, all later ones worse in every objective."""
    settings = {"type": name, "n_startup_trials": 12, "n_warmup_steps": 0, "reduction_factor": 10}
    plan = {"n_trials": n_trials, "max_epochs": EPOCHS, "skill": SkillThreshold(0.5, 2000), "seed": seed}
    plan = make_plan(pruner=settings, cost=lambda params: Cost(9.0, 1.0), **plan)
    study, numbers = Study(StudyStorage.in_memory("x"), plan), itertools.count()

    def evaluate(params, seed):
        number = next(numbers)
        score, speed = (0.8 + number / 1000, 1.0 + number * 7 % GOOD / 2) if number < GOOD else (0.7, 9.0)
        return ((epoch, score, speed * epoch, 1.0) for epoch in range(1, EPOCHS + 1))

    optimise(study, evaluate)
    return study


@every_immediate_pruner
def test_a_control_trial_is_noted_once_and_runs_to_its_end(name):
    study = study_of(name, 60, seed=11)
    for number, record in enumerate(study.records()):
        note = record.attributes.get("would_have_ended")
        if number < GOOD:
            assert (record.state, note) == (State.COMPLETE, None)
        elif is_exempt(11, number):
            assert (record.state, len(record.curve), note["epoch"]) == (State.COMPLETE, EPOCHS, 1)
            assert note["reason"].startswith(f"{name}: ")
            assert study.timings.decisions[number] == 1  # no further decision
        else:
            assert (record.state, note, record.ended_by) == (State.PRUNED, None, name)
            assert record.reason.startswith(f"{name}: ")
    assert sum("would_have_ended" in record.attributes for record in study.records()) == 6


@every_immediate_pruner
def test_the_last_report_of_a_trial_prunes_nothing(name):
    study = study_of(name, GOOD)
    study = Study(study.storage, replace(study.plan, n_trials=100))
    for is_last in (True, False):
        assignment = study.next_assignment()
        assert not is_exempt(0, assignment.number)
        decision = study.report(assignment, ProgressReport(1, 9.0, 180.0, 0.7, 0.3, is_last))
        assert decision.action is (Action.CONTINUE if is_last else Action.PRUNE)
        study.finish(assignment, State.PRUNED, None, {"reason": "x"})
