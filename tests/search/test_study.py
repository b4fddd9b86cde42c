"""The study: counting, retries, no doubles, limits, failures in a row, workers, resume."""

import threading
import time
from dataclasses import replace

import pytest

from cnn_lstm_hyperopt.errors import StudyFailedError
from cnn_lstm_hyperopt.progress import Action, ProgressReport
from cnn_lstm_hyperopt.search import DIED, KILLED, Assignment, Limits, NoTrial, SkillThreshold, State, Values, levels_of
from cnn_lstm_hyperopt.search.orphans import fail_interrupted, fail_worker, pause_orphans
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from cnn_lstm_hyperopt.search.study import RESTARTS

SMALL = {"cnn": {"num_filters": [4, 8]}, "lstm": {"hidden_dim": [8, 16]}, "fusion": {"dim": [16]}}
SKILL = SkillThreshold(0.5, 100)


def report(epoch, accuracy=0.7, seconds=None, projected=10.0, *, last=False):
    loss = None if accuracy is None else 1 - accuracy
    return ProgressReport(epoch, float(epoch) if seconds is None else seconds, projected, accuracy, loss, last)


def complete(study, assignment, accuracy=0.7, seconds=1.0):
    return study.finish(
        assignment, State.COMPLETE, Values(accuracy, seconds, assignment.cost.size_mb), {"seconds": seconds}
    )


def fail(study, assignment, reason="boom"):
    return study.finish(assignment, State.FAIL, None, {"reason": reason})


def key(params):
    return tuple(sorted(params.items()))


def surrogate(params):
    """Values of a configuration, without training it."""
    rate = float(params["training.learning_rate"])
    return 0.55 + 0.3 / (1 + 1e3 * abs(rate - 1e-3)), 1.0 + int(params["lstm.hidden_dim"]) / 100


# ---------------------------------------------------------------------- counting


def test_complete_and_pruned_trials_count_failed_and_running_ones_do_not(make_study):
    study = make_study()
    assert study.n_finished() == 0
    complete(study, study.next_assignment())
    study.finish(study.next_assignment(), State.PRUNED, None, {"reason": "median: x"})
    fail(study, study.next_assignment())
    study.next_assignment()
    assert study.n_finished() == 2
    assert [r.state.value for r in study.records()] == ["COMPLETE", "PRUNED", "FAIL", "RUNNING"]


def test_an_assignment_is_the_whole_configuration_with_its_size(make_study):
    study = make_study("tiny")
    assignment = study.next_assignment()
    assert list(assignment.params) == list(study.plan.space.active(assignment.params))
    assert assignment.cost.size_mb == pytest.approx(0.008 * assignment.params["lstm.num_layers"])
    (record,) = study.records()
    assert (record.number, record.size_mb, record.retry_of) == (assignment.number, assignment.cost.size_mb, None)
    assert (assignment.seeded_as, assignment.memory_level, assignment.cut_off) == (assignment.number, 0, None)
    assert set(record.params) == set(assignment.params) & set(study.plan.space.searched())


def test_the_front_is_of_skilled_trials_ranked(make_study):
    study = make_study()
    for accuracy, seconds in [(0.55, 0.1), (0.7, 3.0), (0.8, 5.0), (0.7, 4.0)]:
        complete(study, study.next_assignment(), accuracy, seconds)
    numbers = [r.number for r in study.front()]
    assert numbers[:2] == [2, 1]
    assert 0 not in numbers


@pytest.mark.parametrize("ended", [State.COMPLETE, State.PRUNED])
def test_a_study_that_has_its_trials_gives_no_more(make_study, ended):
    study = make_study(n_trials=2)
    for _ in range(2):
        values = Values(0.7, 1.0, 1.0) if ended is State.COMPLETE else None
        study.finish(study.next_assignment(), ended, values, {})
    assert study.next_assignment() is study.next_assignment() is NoTrial.ENOUGH
    assert len(study.records()) == 2


def test_enough_comes_before_a_retry_and_before_a_used_up_space(make_study):
    study = make_study("tiny", n_trials=5)
    assignments = [study.next_assignment() for _ in range(5)]
    fail(study, assignments[0])
    for assignment in assignments[1:]:
        complete(study, assignment)
    complete(study, study.next_assignment())  # the retry is the fifth
    assert study.next_assignment() is NoTrial.ENOUGH


# ---------------------------------------------------------------------- several workers


def test_while_others_run_the_last_trials_there_is_none_until_one_of_them_fails(make_study):
    mine = make_study(n_trials=2, worker=1, disk=True)
    theirs = make_study(n_trials=2, worker=2, disk=True, beside=True)
    complete(mine, mine.next_assignment())
    last = theirs.next_assignment()
    for _ in range(2):
        assert mine.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    fail(theirs, last)
    again = mine.next_assignment()
    assert (again.retry_of, again.params) == (last.number, last.params)
    assert theirs.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    complete(mine, again)
    assert mine.next_assignment() is theirs.next_assignment() is NoTrial.ENOUGH
    assert [(r.state, r.attributes["worker"]) for r in mine.records()] == [
        (State.COMPLETE, 1),
        (State.FAIL, 2),
        (State.COMPLETE, 1),
    ]


def test_the_last_trial_of_a_worker_that_died_is_had_by_another(make_study):
    mine = make_study(n_trials=1, worker=1, disk=True)
    theirs = make_study(n_trials=1, worker=2, disk=True, beside=True)
    lost = theirs.next_assignment()
    assert fail_worker(mine.storage, 1, "not this one", DIED) == []
    assert mine.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    assert fail_worker(mine.storage, 2, "worker 2 died", DIED) == [lost.number]
    assert mine.next_assignment().retry_of == lost.number


def test_without_workers_trials_carry_none(make_study):
    study = make_study()
    fail(study, study.next_assignment())
    study.next_assignment()
    assert ["worker" in record.attributes for record in study.records()] == [False, False]


def test_the_claim_is_held_while_a_trial_is_chosen_and_inserted(make_study):
    """And while its end is stored; and given back, also when that fails."""
    held = []

    class Claim:
        def __enter__(self):
            held.append(len(study.storage.records()))

        def __exit__(self, *_):
            held.append(len(study.storage.records()))

    study = make_study(claim=Claim())
    assignment = study.next_assignment()
    study.report(assignment, report(1))
    assert held == [0, 1]
    complete(study, assignment)
    assert held == [0, 1, 1, 1]

    def cost(params):
        raise ZeroDivisionError

    held.clear()
    study = make_study(claim=Claim(), cost=cost)
    with pytest.raises(ZeroDivisionError):
        study.next_assignment()
    assert held == [1, 1]


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_workers_never_overshoot_nor_run_a_configuration_twice(make_study, sampler):
    """Two threads on two studies, one lock; every fifth trial fails once, so retries are claimed too."""
    claim, n_trials = threading.Lock(), 16
    disk = sampler in ("random", "gp")
    options = {"sampler": {"type": sampler, "n_startup_trials": 4}, "claim": claim, "n_trials": n_trials, "disk": disk}
    studies = [make_study(SMALL, worker=n, beside=n > 1, **options) for n in (1, 2)]
    together = threading.Barrier(2)
    most, ended = [], []

    def work(study):
        together.wait()
        while (assignment := study.next_assignment()) is not NoTrial.ENOUGH:
            if assignment is NoTrial.OTHERS_RUN_THE_REST:
                time.sleep(0.002)
                continue
            records = study.records()
            most.append(sum(r.finished or r.state is State.RUNNING for r in records))
            if assignment.number % 5 == 2 and assignment.retry_of is None:
                fail(study, assignment)
            else:
                complete(study, assignment, *surrogate(assignment.params))
        ended.append(study)

    threads = [threading.Thread(target=work, args=(study,)) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(ended) == 2
    records = studies[0].records()
    assert sum(r.finished for r in records) == n_trials
    assert max(most) <= n_trials
    assert not any(r.state is State.RUNNING for r in records)
    assert [r.number for r in records] == list(range(len(records)))
    fresh = [key(r.params) for r in records if r.retry_of is None]
    assert len(set(fresh)) == len(fresh)
    retried = [r.retry_of for r in records if r.retry_of is not None]
    assert sorted(retried) == [r.number for r in records if r.state is State.FAIL]
    assert {r.attributes["worker"] for r in records} == {1, 2}


def test_two_workers_use_a_finite_space_up_once(make_study):
    claim = threading.Lock()
    studies = [make_study("tiny", worker=n, claim=claim, disk=True, beside=n > 1) for n in (1, 2)]
    found = [[], []]

    def work(study, mine):
        while isinstance(assignment := study.next_assignment(), Assignment):
            mine.append(key(assignment.params))
            complete(study, assignment)
        mine.append(assignment)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(studies, found, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [mine.pop() for mine in found] == [NoTrial.SPACE_USED_UP] * 2
    assert len(found[0] + found[1]) == len(set(found[0] + found[1])) == 6


# ---------------------------------------------------------------------- retries


def test_a_failed_trial_is_retried_once_with_the_same_configuration(make_study):
    study = make_study()
    first = study.next_assignment()
    fail(study, first)
    second = study.next_assignment()
    assert (second.number, second.retry_of) == (1, 0)
    assert second.params == first.params
    fail(study, second)
    third = study.next_assignment()
    assert third.retry_of is None
    assert third.params != first.params
    assert [r.retry_of for r in study.records()] == [None, 0, None]


def test_a_retry_that_succeeds_settles_it(make_study):
    study = make_study()
    fail(study, study.next_assignment())
    complete(study, study.next_assignment())
    assert study.next_assignment().retry_of is None
    assert study.n_finished() == 1


def test_interrupted_trials_go_on_under_their_number_however_often(make_study):
    study = make_study()
    first = study.next_assignment()
    assignment = first
    for _ in range(2 * RESTARTS):
        study.report(assignment, report(1))
        study.pause(assignment)
        assert [record.state.value for record in study.records()] == ["WAITING"]
        assignment = study.next_assignment()
        assert (assignment.number, assignment.params, assignment.retry_of) == (first.number, first.params, None)
        assert study.why_not_again(assignment, 0) is None
    complete(study, assignment)
    assert [record.state.value for record in study.records()] == ["COMPLETE"]


def test_trials_that_were_cut_off_come_before_failed_ones_and_new_ones(make_study):
    study = make_study(n_trials=6)
    assignments = [study.next_assignment() for _ in range(4)]
    fail(study, assignments[0])
    assert pause_orphans(study.storage) == [1, 2, 3]
    assert [study.next_assignment().number for _ in range(3)] == [1, 2, 3]
    assert study.next_assignment().retry_of == 0


def test_a_trial_that_waits_is_not_proposed_again_and_ends_when_nobody_needs_it(make_study):
    study = make_study(n_trials=2)
    cut_off, other = study.next_assignment(), study.next_assignment()
    study.pause(cut_off)
    complete(study, other)
    study.plan = replace(study.plan, n_trials=1)
    assert study.next_assignment() is NoTrial.ENOUGH
    assert fail_interrupted(study.storage, "not needed any more") == [cut_off.number]
    assert [record.state.value for record in study.records()] == ["FAIL", "COMPLETE"]


def test_a_trial_whose_worker_died_is_repeated_once_with_the_same_streams(make_study):
    study = make_study(worker=3)
    first = study.next_assignment()
    for again, of in ((True, first), (False, None)):
        fail_worker(study.storage, 3, "its worker 3 died (exit code 1)", DIED)
        assignment = study.next_assignment()
        assert (assignment.retry_of is not None) is again
        if of is not None:
            assert (assignment.params, assignment.seeded_as, assignment.memory_level) == (of.params, of.number, 0)
            assert assignment.number != of.number


def test_a_trial_that_was_killed_is_repeated_with_less_and_less_memory(make_study):
    study = make_study(worker=3)
    first = study.next_assignment()
    for level in range(1, len(levels_of(first.params))):
        fail_worker(study.storage, 3, "its worker 3 died (signal 9)", KILLED)
        assignment = study.next_assignment()
        assert (assignment.params, assignment.seeded_as, assignment.memory_level) == (first.params, first.number, level)
        assert assignment.retry_of == assignment.number - 1
    fail_worker(study.storage, 3, "its worker 3 died (signal 9)", KILLED)
    assert study.next_assignment().retry_of is None


def test_where_a_trial_stood_counts_when_its_process_ends_again(make_study):
    """Only a trial that gets no further is taken for one that ends its process."""
    study = make_study()
    study.next_assignment()
    for epoch in [*[0] * RESTARTS, *[1] * RESTARTS, *[2] * RESTARTS]:
        pause_orphans(study.storage)
        assignment = study.next_assignment()
        assert study.why_not_again(assignment, epoch) is None
        assert assignment.memory_level == 0
    pause_orphans(study.storage)
    assert study.why_not_again(study.next_assignment(), 2) == "its process ended again and again after epoch 2"


def test_a_trial_that_may_have_lacked_memory_goes_on_with_less_and_less(make_study):
    study = make_study()
    first = study.next_assignment()
    for level in range(1, len(levels_of(first.params))):
        assert pause_orphans(study.storage, lacked_memory=True) == [0]
        assignment = study.next_assignment()
        assert (assignment.number, assignment.params, assignment.memory_level) == (0, first.params, level)
        assert study.why_not_again(assignment, level) is None
    pause_orphans(study.storage, lacked_memory=True)
    reason = study.why_not_again(study.next_assignment(), 7)
    assert reason == "memory did not suffice, with all of it saved that can be"


def test_memory_that_a_trial_had_to_save_is_saved_when_it_goes_on(make_study):
    study = make_study()
    assignment = study.next_assignment()
    study.note_memory_level(assignment, 1)
    study.pause(assignment)
    assert study.next_assignment().memory_level == 1


def test_trials_that_wait_do_not_overshoot_a_lower_total(make_study):
    study = make_study(n_trials=4)
    for _ in range(4):
        study.next_assignment()
    pause_orphans(study.storage)
    study.plan = replace(study.plan, n_trials=1)
    assert isinstance(study.next_assignment(), Assignment)
    assert study.next_assignment() is NoTrial.OTHERS_RUN_THE_REST


def test_states_are_needed_of_trials_that_go_on_and_of_those_that_are_run_again(make_study):
    study = make_study(worker=3)
    running = study.next_assignment()
    assert study.needed_states() == {0}
    fail_worker(study.storage, 3, "its worker 3 died (exit code 1)", DIED)
    assert study.needed_states() == {running.number}
    again = study.next_assignment()
    assert (again.number, again.seeded_as) == (1, 0)
    fail_worker(study.storage, 3, "its worker 3 died (exit code 1)", DIED)
    assert study.needed_states() == set()  # it is not run a third time
    fail(study, study.next_assignment())
    assert study.needed_states() == set()  # what failed of itself is run again from its beginning


def test_several_failed_trials_are_retried_in_order(make_study):
    study = make_study()
    assignments = [study.next_assignment() for _ in range(3)]
    for assignment in (assignments[2], assignments[0]):
        fail(study, assignment)
    assert [study.next_assignment().retry_of for _ in range(3)] == [0, 2, None]


def test_a_trial_cut_off_by_a_killed_process_goes_on_after_reopening(make_study):
    study = make_study("tiny", disk=True)
    lost = study.next_assignment()
    study = make_study("tiny", disk=True)
    assert pause_orphans(study.storage) == [lost.number]
    again = study.next_assignment()
    assert again == replace(lost, trial_id=again.trial_id, cut_off=(-1, 0))
    assert [record.state.value for record in study.records()] == ["RUNNING"]


# ---------------------------------------------------------------------- no configuration twice


@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_a_finite_space_is_proposed_whole_and_once_and_then_it_is_used_up(make_study, sampler):
    study = make_study("tiny", sampler={"type": sampler, "n_startup_trials": 2})
    seen = []
    while isinstance(assignment := study.next_assignment(), Assignment):
        seen.append((assignment.params["lstm.num_layers"], assignment.params.get("cnn.attention_heads")))
        complete(study, assignment, 0.6 + 0.01 * len(seen))
    assert sorted(seen, key=str) == sorted([(n, h) for n in (1, 2) for h in (None, 1, 2)], key=str)
    assert len(study.records()) == 6
    assert assignment is study.next_assignment() is NoTrial.SPACE_USED_UP


def test_a_used_up_space_still_retries_what_failed(make_study):
    study = make_study("tiny")
    assignments = [study.next_assignment() for _ in range(6)]
    assert study.next_assignment() is NoTrial.SPACE_USED_UP
    fail(study, assignments[4])
    assert study.next_assignment().retry_of == 4
    assert study.next_assignment() is NoTrial.SPACE_USED_UP


def test_running_trials_are_not_proposed_again(make_study):
    study = make_study("tiny")
    assert len({key(study.next_assignment().params) for _ in range(6)}) == 6


# ---------------------------------------------------------------------- reports


def test_reports_are_stored_as_a_curve_at_the_trials_end(make_study):
    study = make_study()
    assignment = study.next_assignment()
    for epoch in (1, 2):
        assert study.report(assignment, report(epoch, 0.5 + epoch / 10)).action is Action.CONTINUE
    record = fail(study, assignment)
    assert [(p.epoch, p.score, p.seconds) for p in record.curve] == [(1, 0.6, 1), (2, 0.7, 2)]


@pytest.mark.parametrize(("pruner", "seen"), [("none", 0), ("median", 0), ("front", 0), ("successive_halving", 2)])
def test_the_curve_of_a_running_trial_is_stored_where_others_are_compared_with_it(make_study, pruner, seen):
    """At the rungs, 1 and 4, and with nothing that came before them left out."""
    settings = {"type": pruner, "n_startup_trials": 0, "n_warmup_steps": 0}
    study = make_study(pruner=settings, max_epochs=20)
    assignment = study.next_assignment()
    lengths = []
    for epoch in (0.5, 1, 2, 3, 4, 5):
        study.report(assignment, report(epoch, 0.7))
        lengths.append(len(study.records()[0].curve))
    assert lengths == ([0, 2, 2, 2, 5, 5] if seen else [0] * 6)


def test_a_running_trials_curve_is_stored_now_and_then_for_those_who_look_on(make_study, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("cnn_lstm_hyperopt.search.study.time.monotonic", lambda: now[0])
    study = make_study()
    assignment = study.next_assignment()
    lengths = []
    for epoch in range(1, 7):
        now[0] += 0.9
        study.report(assignment, report(epoch, 0.7))
        lengths.append(len(study.records()[0].curve))
    assert lengths == [0, 0, 3, 3, 3, 6]


def test_a_report_within_an_epoch_is_not_stored(make_study):
    study = make_study()
    assignment = study.next_assignment()
    assert study.report(assignment, report(0.25, None)).action is Action.CONTINUE
    assert study.records()[0].curve == ()


@pytest.mark.parametrize("accuracy", [None, 0.7])
@pytest.mark.parametrize(("projected", "pruned"), [(60.0, False), (75.0, False), (76.0, True), (None, False)])
def test_a_projection_beyond_the_limit_prunes_with_the_reason(make_study, accuracy, projected, pruned):
    study = make_study(limits=Limits(seconds=60.0))
    assignment = study.next_assignment()
    early = report(0.01, accuracy, seconds=2.9, projected=projected)
    assert (
        study.report(assignment, early).action is Action.CONTINUE
    )  # a neighbour can slow the first steps by any factor
    decision = study.report(assignment, report(1, accuracy, seconds=3.0, projected=projected))
    assert decision.action is (Action.PRUNE if pruned else Action.CONTINUE)
    if pruned:
        assert decision.reason == "limit: projected 76 s exceed limits.trial_seconds=60"


def test_without_a_limit_no_projection_prunes(make_study):
    study = make_study()
    assert study.report(study.next_assignment(), report(1, projected=1e9)).action is Action.CONTINUE


def pruning_study(make_study):
    study = make_study(pruner={"n_startup_trials": 2, "n_warmup_steps": 0})
    for _ in range(3):
        assignment = study.next_assignment()
        for epoch in (1, 2, 3):
            study.report(assignment, report(epoch, 0.8, seconds=0.001 * epoch))
        complete(study, assignment, 0.8, 0.003)
    return study


def test_the_pruner_decides_by_stored_trials(make_study):
    study = pruning_study(make_study)
    decision = study.report(study.next_assignment(), report(1, 0.55))
    assert decision.action is Action.PRUNE
    assert decision.reason.startswith("median: best accuracy so far 0.5500 is below the median 0.8000 at epoch 1")


@pytest.mark.parametrize("epoch", [2, 3])
def test_the_last_report_is_not_pruned(make_study, epoch):
    """There is nothing left to save, whether all epochs are done or patience is exhausted."""
    study = pruning_study(make_study)
    assignment = study.next_assignment()
    assert study.report(assignment, report(epoch, 0.55)).action is Action.PRUNE
    assert study.report(assignment, report(epoch, 0.55, last=True)).action is Action.CONTINUE
    assert len(complete(study, assignment).curve) == 2  # it is stored all the same


def test_the_last_report_is_not_over_the_limit(make_study):
    study = make_study(limits=Limits(seconds=60.0))
    assignment = study.next_assignment()
    assert study.report(assignment, report(3, projected=76.0)).action is Action.PRUNE
    assert study.report(assignment, report(3, projected=76.0, last=True)).action is Action.CONTINUE


def test_pruner_warning_is_the_pruners(make_study):
    assert "n_warmup_steps=10" in make_study(pruner={"type": "median"}).pruner_warning()
    assert make_study(pruner={"type": "none"}).pruner_warning() is None


# ---------------------------------------------------------------------- failures in a row


def test_ten_failures_in_a_row_end_the_study_with_the_last_reason(make_study):
    study = make_study()
    study.check_failures()
    for _ in range(9):
        fail(study, study.next_assignment())
        study.check_failures()
    tenth = fail(study, study.next_assignment(), "out of memory")
    assert (tenth.number, tenth.state, tenth.reason) == (9, State.FAIL, "out of memory")
    for _ in range(2):
        with pytest.raises(StudyFailedError, match=r"^10 trials failed in a row, the last with: out of memory$"):
            study.check_failures()
    assert [r.state for r in study.records()] == [State.FAIL] * 10  # the tenth is stored too


def test_failures_of_others_do_not_end_this_process(make_study):
    """Each process counts its own: one with a broken GPU gives up, the others go on."""
    mine, theirs = make_study(worker=1), make_study(worker=2)
    for _ in range(10):
        fail(theirs, theirs.next_assignment())
        mine.check_failures()
    with pytest.raises(StudyFailedError):
        theirs.check_failures()
    complete(mine, mine.next_assignment())
    mine.check_failures()


@pytest.mark.parametrize("outcome", ["complete", "pruned"])
def test_anything_but_a_failure_starts_the_count_again(make_study, outcome):
    study = make_study()
    for _ in range(2):
        for _ in range(9):
            fail(study, study.next_assignment())
        assignment = study.next_assignment()
        if outcome == "complete":
            complete(study, assignment)
        else:
            study.finish(assignment, State.PRUNED, None, {"reason": "x"})
        study.check_failures()


# ---------------------------------------------------------------------- resume


def outcome(study, assignment):
    """What becomes of a trial depends on its configuration and its retry alone."""
    if assignment.number % 5 == 2 and assignment.retry_of is None:
        return fail(study, assignment)
    accuracy, seconds = surrogate(assignment.params)
    study.report(assignment, report(1, accuracy, seconds=seconds / 3))
    if assignment.number % 4 == 3:
        return study.finish(assignment, State.PRUNED, None, {"reason": "x", "projected_seconds": seconds})
    return complete(study, assignment, accuracy, seconds)


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(
    ("sampler", "every", "disk"),
    [
        ({"type": "random"}, 1, False),
        ({"type": "tpe", "n_startup_trials": 4}, 1, False),
        ({"type": "tpe", "n_startup_trials": 4}, 4, True),
        ({"type": "tpe", "n_startup_trials": 4, "multivariate": True}, 1, False),
    ],
)
def test_a_study_rebuilt_after_every_kth_trial_proposes_what_an_uninterrupted_one_does(
    make_study, sampler, every, disk
):
    """See test_contract.py for all samplers and pruners, on a cheaper space."""

    def run(file, rebuild):
        study = make_study(SMALL, sampler=sampler, file=file, disk=disk)
        proposals = []
        for n in range(14):
            if rebuild and n % every == 0:
                study = make_study(SMALL, sampler=sampler, file=file, disk=disk)
            assignment = study.next_assignment()
            proposals.append((assignment.number, assignment.retry_of, key(assignment.params)))
            outcome(study, assignment)
        return proposals

    assert run("interrupted.db", True) == run("whole.db", False)


def test_another_seed_is_another_study(make_study):
    first = make_study(file="a.db", seed=0).next_assignment().params
    assert make_study(file="b.db", seed=1).next_assignment().params != first
    assert make_study(file="c.db", seed=0).next_assignment().params == first


def test_a_pruned_trial_teaches_the_sampler(make_study):
    """Pruned trials count as startup trials and carry losses."""
    sampler = {"type": "tpe", "n_startup_trials": 3}

    def fifth(file, accuracy):
        study = make_study(SMALL, sampler=sampler, file=file)
        for number in range(6):
            assignment = study.next_assignment()
            study.report(assignment, report(1, accuracy[number % 2]))
            study.finish(assignment, State.PRUNED, None, {"reason": "x", "projected_seconds": 5.0})
        return [key(study.next_assignment().params) for _ in range(3)]

    assert fifth("a.db", (0.5, 0.9)) != fifth("b.db", (0.9, 0.5))
