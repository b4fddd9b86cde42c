"""What holds of every pruner: which there are, who is exempt, and what a study does with a pruner's word."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.progress import Action, ProgressReport
from cnn_lstm_hyperopt.search import Cost, SkillThreshold, State, Study, StudyStorage, Values
from cnn_lstm_hyperopt.search.pruners import EXEMPT, PRUNERS, is_exempt
from cnn_lstm_hyperopt.search.pruners.base import extreme_in

every_pruner = pytest.mark.parametrize("name", PRUNERS)
ACTIVE = [name for name in PRUNERS if name != "none"]


def test_none_never_prunes(make_plan, make_record):
    pruner = PRUNERS["none"](make_plan(pruner={"type": "none"}, n_trials=1, max_epochs=1))
    others = [make_record(i, curve=[0.9] * 5, values=(0.9, 5.0, 1.0)) for i in range(50)]
    trial = make_record(99, state=State.RUNNING, curve=[0.0] * 5, size_mb=100.0)
    assert pruner.reason_to_prune(trial, others) is None
    assert not pruner.acts(trial.curve)
    assert pruner.inactive_because() is None


@every_pruner
def test_a_first_trial_is_never_pruned(make_plan, make_record, name):
    pruner = PRUNERS[name](make_plan(pruner={"type": name, "n_startup_trials": 0, "n_warmup_steps": 0}, max_epochs=20))
    for epochs in range(1, 20):
        trial = make_record(0, state=State.RUNNING, curve=[0.9] * epochs)
        assert pruner.reason_to_prune(trial, []) is None


@pytest.mark.parametrize(("accuracy", "n", "overlap", "margin"), [(0.5, 100, 1, 0.025), (0.9, 100, 4, 0.03)])
def test_the_margin_is_half_a_standard_error(make_plan, accuracy, n, overlap, margin):
    pruner = PRUNERS["none"](make_plan(skill=SkillThreshold(0.5, n, overlap)))
    assert pruner.margin(accuracy) == pytest.approx(margin)


number = st.integers(0, 3).map(float)
losses = st.tuples(number, number, number)


@given(losses, st.lists(losses, max_size=5))
def test_an_extreme_is_better_than_all_others_in_some_objective(mine, others):
    columns = list(zip(*others, strict=True)) or [(math.inf,)] * 3
    assert extreme_in(mine, others) == any(a < min(b) for a, b in zip(mine, columns, strict=True))


# ---------------------------------------------------------------------- the exempt


def test_one_trial_in_twelve_is_exempt_and_which_depends_on_seed_and_number_alone():
    share = 1 / EXEMPT
    for seed in (0, 1, 2**31):
        drawn = [is_exempt(seed, number) for number in range(4000)]
        assert drawn == [is_exempt(seed, number) for number in range(4000)]
        assert abs(np.mean(drawn) - share) < 4 * math.sqrt(share * (1 - share) / 4000)
    sets = [{number for number in range(4000) if is_exempt(seed, number)} for seed in (0, 1)]
    expected = 4000 * share**2
    assert abs(len(sets[0] & sets[1]) - expected) < 4 * math.sqrt(expected)


EPOCHS, GOOD = 20, 15


def run_to_its_end(study, assignment):
    """The first trials are good, each better than the last; all later ones are worse in everything. Returns the decisions."""
    number, actions = assignment.number, []
    good = number < GOOD
    accuracy, speed = (0.8 + number / 1000, 1.0 + number * 7 % GOOD / 2) if good else (0.7, 9.0)
    for epoch in range(1, EPOCHS + 1):
        report = ProgressReport(epoch, speed * epoch, speed * EPOCHS, accuracy, 1 - accuracy, epoch == EPOCHS)
        decision = study.report(assignment, report)
        actions.append(decision.action)
        if decision.action is Action.PRUNE:
            study.finish(assignment, State.PRUNED, None, {"reason": decision.reason})
            return actions
    study.finish(assignment, State.COMPLETE, Values(accuracy, speed * EPOCHS, assignment.cost.size_mb), {})
    return actions


@pytest.mark.parametrize("name", ACTIVE)
def test_an_exempt_trial_is_noted_once_and_runs_on(make_plan, name):
    settings = {"type": name, "n_startup_trials": 12, "n_warmup_steps": 0, "reduction_factor": 10}
    plan = make_plan(
        pruner=settings, max_epochs=EPOCHS, skill=SkillThreshold(0.5, 2000), cost=lambda params: Cost(9.0, 1.0), seed=11
    )
    study = Study(StudyStorage.in_memory("x"), plan)
    for number in range(60):
        actions = run_to_its_end(study, study.next_assignment())
        record = study.records()[number]
        note = record.attributes.get("would_have_ended")
        if number < GOOD:
            assert (record.state, note) == (State.COMPLETE, None)
        elif is_exempt(plan.seed, number):
            assert record.state is State.COMPLETE
            assert set(actions) == {Action.CONTINUE}
            assert note["epoch"] == 1
            assert note["reason"].startswith(f"{name}: ")
            assert study.timings.decisions[number] == 1  # nobody is asked again
        else:
            assert (record.state, note) == (State.PRUNED, None)
            assert record.reason.startswith(f"{name}: ")
    assert sum("would_have_ended" in record.attributes for record in study.records()) == 6


@pytest.mark.parametrize("name", ACTIVE)
def test_the_last_report_of_a_trial_prunes_nothing(make_plan, name):
    """There is nothing left to save, also where patience is exhausted at an epoch at which the pruner decides."""
    settings = {"type": name, "n_startup_trials": 12, "n_warmup_steps": 0, "reduction_factor": 10}
    plan = make_plan(
        pruner=settings, max_epochs=EPOCHS, skill=SkillThreshold(0.5, 2000), cost=lambda params: Cost(9.0, 1.0)
    )
    study = Study(StudyStorage.in_memory("x"), plan)
    for _ in range(GOOD):
        run_to_its_end(study, study.next_assignment())
    epoch = {"median": 1, "successive_halving": 1, "front": 3}[name]
    for last in (True, False):
        assignment = study.next_assignment()
        assert not is_exempt(plan.seed, assignment.number)
        for before in range(1, epoch):
            study.report(assignment, ProgressReport(before, 9.0 * before, 180.0, 0.7, 0.3))
        decision = study.report(assignment, ProgressReport(epoch, 9.0 * epoch, 180.0, 0.7, 0.3, last))
        assert decision.action is (Action.CONTINUE if last else Action.PRUNE)
        study.finish(assignment, State.PRUNED, None, {"reason": "x"})
