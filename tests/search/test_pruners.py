"""Contract of every pruner, and control trials in a study."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.records import make_plan, make_record
from cnn_lstm_hyperopt.progress import Action, ProgressReport
from cnn_lstm_hyperopt.search import Cost, SkillThreshold, State, Study, StudyStorage, Values
from cnn_lstm_hyperopt.search.pruners import EXEMPT, PRUNERS, is_exempt
from cnn_lstm_hyperopt.search.pruners.base import extreme_in

EPOCHS, GOOD = 20, 15
every_active_pruner = pytest.mark.parametrize("name", [name for name in PRUNERS if name != "none"])


def test_none_never_prunes():
    pruner = PRUNERS["none"](make_plan(pruner={"type": "none"}, n_trials=1, max_epochs=1))
    others = [make_record(i, curve=[0.9] * 5, values=(0.9, 5.0, 1.0)) for i in range(50)]
    trial = make_record(99, state=State.RUNNING, curve=[0.0] * 5, size_mb=100.0)
    assert pruner.reason_to_prune(trial, others) is pruner.inactive_because() is None
    assert not pruner.acts(trial.curve)


@pytest.mark.parametrize("name", PRUNERS)
def test_a_first_trial_is_never_pruned(name):
    pruner = PRUNERS[name](make_plan(pruner={"type": name, "n_startup_trials": 0, "n_warmup_steps": 0}, max_epochs=20))
    for epochs in range(1, 20):
        assert pruner.reason_to_prune(make_record(0, state=State.RUNNING, curve=[0.9] * epochs), []) is None


@pytest.mark.parametrize(("accuracy", "n", "overlap", "margin"), [(0.5, 100, 1, 0.025), (0.9, 100, 4, 0.03)])
def test_the_margin_is_half_a_standard_error(accuracy, n, overlap, margin):
    assert PRUNERS["none"](make_plan(skill=SkillThreshold(0.5, n, overlap))).margin(accuracy) == pytest.approx(margin)


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


def study_with(name, **changed):
    settings = {"type": name, "n_startup_trials": 12, "n_warmup_steps": 0, "reduction_factor": 10}
    plan = {"max_epochs": EPOCHS, "skill": SkillThreshold(0.5, 2000), "cost": lambda params: Cost(9.0, 1.0), **changed}
    return Study(StudyStorage.in_memory("x"), make_plan(pruner=settings, **plan))


def run_to_its_end(study, assignment):
    """Run a trial and return the decisions; the first trials are good, all later ones worse in every objective."""
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


@every_active_pruner
def test_a_control_trial_is_noted_once_and_runs_to_its_end(name):
    study = study_with(name, seed=11)
    for number in range(60):
        actions = run_to_its_end(study, study.next_assignment())
        record = study.records()[number]
        note = record.attributes.get("would_have_ended")
        if number < GOOD:
            assert (record.state, note) == (State.COMPLETE, None)
        elif is_exempt(11, number):
            assert (record.state, set(actions), note["epoch"]) == (State.COMPLETE, {Action.CONTINUE}, 1)
            assert note["reason"].startswith(f"{name}: ")
            assert study.timings.decisions[number] == 1  # no further decision
        else:
            assert (record.state, note) == (State.PRUNED, None)
            assert record.reason.startswith(f"{name}: ")
            assert record.ended_by == name
    assert sum("would_have_ended" in record.attributes for record in study.records()) == 6


@every_active_pruner
def test_the_last_report_of_a_trial_prunes_nothing(name):
    study, epoch = study_with(name), {"median": 1, "successive_halving": 1, "front": 3}[name]
    for _ in range(GOOD):
        run_to_its_end(study, study.next_assignment())
    for is_last in (True, False):
        assignment = study.next_assignment()
        assert not is_exempt(0, assignment.number)
        for before in range(1, epoch):
            study.report(assignment, ProgressReport(before, 9.0 * before, 180.0, 0.7, 0.3))
        decision = study.report(assignment, ProgressReport(epoch, 9.0 * epoch, 180.0, 0.7, 0.3, is_last))
        assert decision.action is (Action.CONTINUE if is_last else Action.PRUNE)
        study.finish(assignment, State.PRUNED, None, {"reason": "x"})


@pytest.mark.wording
@pytest.mark.parametrize(
    ("settings", "score", "expected"),
    [
        (
            {"type": "median", "n_startup_trials": 1, "n_warmup_steps": 0},
            0.6,
            "median: best accuracy so far 0.6000 is below the median 0.8000 at epoch 3, and trial 0 is no worse in any"
            " objective",
        ),
        (
            {"type": "median", "n_startup_trials": 1, "n_warmup_steps": 0},
            0.5,
            "median: best accuracy so far 0.5000 is below the median 0.8000 at epoch 3 and not above chance (needs 0.5100)",
        ),
        (
            {"type": "successive_halving", "reduction_factor": 3},
            0.6,
            "successive_halving: at the rung of epoch 3, 4 of 13 trials continue, and at least 12 are better than this one",
        ),
    ],
)
def test_reasons_of_pruned_trials(settings, score, expected):
    pruner = PRUNERS[settings["type"]](make_plan(pruner=settings, skill=SkillThreshold(0.5, 10_000), max_epochs=EPOCHS))
    others = [make_record(i, curve=[0.8] * EPOCHS, values=(0.8, 20.0, 1.0)) for i in range(12)]
    points = make_record(99, state=State.RUNNING, curve=[score] * 3, speed=2.0, size_mb=2.0)
    trial = (
        points
        if settings["type"] == "median"
        else make_record(99, state=State.RUNNING, curve=points.curve[2:], size_mb=2.0)
    )
    assert pruner.reason_to_prune(trial, others) == expected
