"""The study: counting, retries, no duplicates, limits, failures in a row, workers."""

import threading
import time
from dataclasses import replace
from unittest.mock import MagicMock

import pytest

from builders.errors import raises
from cnn_lstm_hyperopt.errors import StudyFailedError
from cnn_lstm_hyperopt.progress import Action, ProgressReport
from cnn_lstm_hyperopt.search import DIED, KILLED, LACKED_MEMORY, Limits, NoTrial, State, Values, levels_of
from cnn_lstm_hyperopt.search.orphans import fail_interrupted, fail_worker, pause_orphans
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from cnn_lstm_hyperopt.search.study import RESTARTS

SMALL = {"cnn": {"num_filters": [4, 8]}, "lstm": {"hidden_dim": [8, 16]}, "fusion": {"dim": [16]}}


def report(epoch, accuracy=0.7, seconds=None, projected=10.0, *, last=False):
    loss = None if accuracy is None else 1 - accuracy
    return ProgressReport(epoch, float(epoch) if seconds is None else seconds, projected, accuracy, loss, last)


def complete(study, assignment=None, accuracy=0.7, seconds=1.0):
    assignment = assignment or study.next_assignment()
    values = Values(accuracy, seconds, assignment.cost.size_mb)
    return study.finish(assignment, State.COMPLETE, values, {"seconds": seconds})


def prune(study, assignment=None, **attributes):
    return study.finish(assignment or study.next_assignment(), State.PRUNED, None, {"reason": "x", **attributes})


def fail(study, assignment=None, reason="boom"):
    return study.finish(assignment or study.next_assignment(), State.FAIL, None, {"reason": reason})


def key(params):
    return tuple(sorted(params.items()))


def states(study):
    return [record.state.value for record in study.records()]


def test_while_others_run_the_last_trials_there_is_none_until_one_of_them_fails(make_study):
    mine = make_study(n_trials=2, worker=1, disk=True)
    theirs = make_study(n_trials=2, worker=2, disk=True, beside=True)
    complete(mine)
    last = theirs.next_assignment()
    assert mine.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    assert fail_worker(mine.storage, 1, "not this one", DIED) == []
    assert mine.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    fail(theirs, last)
    again = mine.next_assignment()
    assert (again.retry_of, again.params) == (last.number, last.params)
    assert theirs.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    complete(mine, again)
    assert mine.next_assignment() is theirs.next_assignment() is NoTrial.ENOUGH
    ends = [(r.state.value, r.attributes["worker"]) for r in mine.records()]
    assert ends == [("COMPLETE", 1), ("FAIL", 2), ("COMPLETE", 1)]


def test_the_claim_is_held_while_a_trial_is_inserted_and_while_its_end_is_stored(make_study):
    """It is released after an error, too."""
    count = lambda *_: held.append(len(study.storage.records()))  # noqa: E731
    held, claim = [], MagicMock(__enter__=count, __exit__=count)
    study = make_study(claim=claim)
    assignment = study.next_assignment()
    study.report(assignment, report(1))
    assert held == [0, 1]
    complete(study, assignment)
    assert held == [0, 1, 1, 1]
    held.clear()
    study = make_study(claim=claim, cost=lambda params: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        study.next_assignment()
    assert held == [1, 1]


def in_threads(work, *arguments):
    """Run ``work`` in one thread for each argument."""
    threads = [threading.Thread(target=work, args=(argument,)) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("sampler", list(SAMPLERS))
def test_workers_never_overshoot_nor_run_a_configuration_twice(make_study, sampler):
    """Two threads on two studies, one lock; every fifth trial fails once, so retries are claimed too."""
    claim, n_trials = threading.Lock(), 16
    options = {"sampler": {"type": sampler, "n_startup_trials": 4}, "claim": claim, "n_trials": n_trials, "disk": True}
    studies = [make_study(SMALL, worker=n, beside=n > 1, **options) for n in (1, 2)]
    together = threading.Barrier(2)
    counts, ended = [], []

    def work(study):
        first = True
        while (assignment := study.next_assignment()) is not NoTrial.ENOUGH:
            if first:
                together.wait(60)  # each thread has a trial before either continues
                first = False
            if assignment is NoTrial.OTHERS_RUN_THE_REST:
                time.sleep(0.002)
                continue
            counts.append(sum(r.finished or r.state is State.RUNNING for r in study.records()))
            if assignment.number % 5 == 2 and assignment.retry_of is None:
                fail(study, assignment)
            else:
                complete(study, assignment, 0.6 + 0.01 * (len(counts) % 7), 1.0 + len(counts) % 3)
        ended.append(study)

    in_threads(work, *studies)
    records = studies[0].records()
    assert (len(ended), sum(r.finished for r in records)) == (2, n_trials)
    assert max(counts) <= n_trials
    assert "RUNNING" not in states(studies[0])
    assert [r.number for r in records] == list(range(len(records)))
    fresh = [key(r.params) for r in records if r.retry_of is None]
    assert len(set(fresh)) == len(fresh)
    retried = [r.retry_of for r in records if r.retry_of is not None]
    assert sorted(retried) == [r.number for r in records if r.state is State.FAIL]
    assert {r.attributes["worker"] for r in records} == {1, 2}


def test_failed_trials_are_retried_once_in_order_with_the_same_configuration(make_study):
    study = make_study()
    first, second, third = (study.next_assignment() for _ in range(3))
    fail(study, third)
    fail(study, first)
    again = study.next_assignment()
    assert (again.number, again.retry_of, again.params) == (3, 0, first.params)
    fail(study, again)
    again = study.next_assignment()
    assert (again.retry_of, again.params) == (2, third.params)
    complete(study, again)
    fresh = study.next_assignment()
    assert fresh.retry_of is None
    assert fresh.params not in (first.params, second.params, third.params)


def test_interrupted_trials_continue_under_their_number_however_often(make_study):
    study = make_study()
    first = assignment = study.next_assignment()
    for _ in range(2 * RESTARTS):
        study.report(assignment, report(1))
        study.pause(assignment)
        assert states(study) == ["WAITING"]
        assignment = study.next_assignment()
        assert (assignment.number, assignment.params, assignment.retry_of) == (first.number, first.params, None)
        assert study.reason_to_give_up(assignment, 0) is None
    complete(study, assignment)
    assert states(study) == ["COMPLETE"]


def test_interrupted_trials_come_before_failed_ones_and_new_ones_and_do_not_overshoot(make_study):
    study = make_study(n_trials=6)
    first, *_ = (study.next_assignment() for _ in range(4))
    fail(study, first)
    assert pause_orphans(study.storage) == [1, 2, 3]
    assert [study.next_assignment().number for _ in range(3)] == [1, 2, 3]
    assert study.next_assignment().retry_of == 0
    pause_orphans(study.storage)
    study.plan = replace(study.plan, n_trials=1)  # fewer trials than wait
    assert study.next_assignment().number == 1
    assert study.next_assignment() is NoTrial.OTHERS_RUN_THE_REST
    assert fail_interrupted(study.storage, "not needed") == [1, 2, 3, 4]


def test_a_trial_whose_worker_died_is_repeated_once_with_the_same_streams(make_study):
    study = make_study(worker=3)
    first = study.next_assignment()
    assert study.needed_states() == {0}
    fail_worker(study.storage, 3, "its worker 3 died (exit code 1)", DIED)
    assert study.needed_states() == {first.number}
    again = study.next_assignment()
    assert (again.params, again.seeded_as, again.memory_level) == (first.params, first.number, 0)
    assert (again.number, again.retry_of) == (1, 0)
    fail_worker(study.storage, 3, "its worker 3 died (exit code 1)", DIED)
    assert study.needed_states() == set()  # it is not run a third time
    fail(study)
    assert study.needed_states() == set()  # a trial that failed by itself is run again from its beginning
    assert [record.retry_of for record in study.records()] == [None, 0, None]


def test_a_killed_trial_is_repeated_with_less_and_less_memory(make_study):
    study = make_study(worker=3)
    first = study.next_assignment()
    for level in range(1, len(levels_of(first.params))):
        fail_worker(study.storage, 3, "its worker 3 died (signal 9)", KILLED)
        assignment = study.next_assignment()
        assert (assignment.params, assignment.seeded_as, assignment.memory_level) == (first.params, first.number, level)
        assert assignment.retry_of == assignment.number - 1
    fail_worker(study.storage, 3, "its worker 3 died (signal 9)", KILLED)
    assert study.next_assignment().retry_of is None


def test_a_trial_is_given_up_after_too_many_starts_at_the_same_epoch(make_study):
    study = make_study()
    study.next_assignment()
    for epoch in [*[0] * RESTARTS, *[1] * RESTARTS, *[2] * RESTARTS]:
        pause_orphans(study.storage)
        assignment = study.next_assignment()
        assert study.reason_to_give_up(assignment, epoch) is None
        assert assignment.memory_level == 0
    pause_orphans(study.storage)
    assert "epoch 2" in study.reason_to_give_up(study.next_assignment(), 2)


def test_a_trial_that_may_have_lacked_memory_continues_with_less_and_less(make_study):
    study = make_study()
    first = study.next_assignment()
    study.note_memory_level(first, 1)
    study.pause(first)
    assert study.next_assignment().memory_level == 1
    for level in range(2, len(levels_of(first.params))):
        assert pause_orphans(study.storage, lacked_memory=True) == [0]
        assignment = study.next_assignment()
        assert (assignment.number, assignment.params, assignment.memory_level) == (0, first.params, level)
        assert study.reason_to_give_up(assignment, level) is None
    pause_orphans(study.storage, lacked_memory=True)
    assert study.reason_to_give_up(study.next_assignment(), 7) == LACKED_MEMORY


def test_a_trial_of_a_killed_process_continues_after_reopening(make_study):
    lost = make_study("tiny", disk=True).next_assignment()
    study = make_study("tiny", disk=True)
    assert pause_orphans(study.storage) == [lost.number]
    again = study.next_assignment()
    assert again == replace(lost, trial_id=again.trial_id, cut_off=(-1, 0))
    assert states(study) == ["RUNNING"]


@pytest.mark.parametrize(("pruner", "seen"), [("none", 0), ("median", 0), ("front", 0), ("successive_halving", 2)])
def test_the_curve_of_a_running_trial_is_stored_at_the_rungs_and_at_its_end(make_study, pruner, seen):
    settings = {"type": pruner, "n_startup_trials": 0, "n_warmup_steps": 0}
    study = make_study(pruner=settings, max_epochs=20)
    assignment = study.next_assignment()
    lengths = []
    assert study.report(assignment, report(0.25, None)).action is Action.CONTINUE  # within an epoch: not stored
    for epoch in (0.5, 1, 2, 3, 4, 5):
        study.report(assignment, report(epoch, 0.7))
        lengths.append(len(study.records()[0].curve))
    assert lengths == ([0, 2, 2, 2, 5, 5] if seen else [0] * 6)
    curve = [(p.epoch, p.score, p.seconds) for p in fail(study, assignment).curve]
    assert curve == [(epoch, 0.7, epoch) for epoch in (0.5, 1, 2, 3, 4, 5)]


@pytest.mark.parametrize("accuracy", [None, 0.7])
@pytest.mark.parametrize(("projected", "pruned"), [(60.0, False), (75.0, False), (76.0, True), (None, False)])
def test_a_projection_beyond_the_limit_prunes(make_study, accuracy, projected, pruned):
    study = make_study(limits=Limits(seconds=60.0))
    assignment = study.next_assignment()
    early = report(0.01, accuracy, seconds=2.9, projected=projected)  # another process can slow the first steps
    assert study.report(assignment, early).action is Action.CONTINUE
    decision = study.report(assignment, report(0.25, accuracy, seconds=3.0, projected=projected))
    assert decision.action is (Action.PRUNE if pruned else Action.CONTINUE)
    assert decision.reason.startswith("limit:") is pruned
    last = report(1, 0.7, seconds=3.0, projected=projected, last=True)
    assert study.report(assignment, last).action is Action.CONTINUE
    unlimited = make_study(file="unlimited")
    assert unlimited.report(unlimited.next_assignment(), report(1, projected=1e9)).action is Action.CONTINUE


def test_ten_failures_in_a_row_end_the_study_with_the_last_reason(make_study):
    """Each process counts its own failures."""
    study, other = make_study(worker=1), make_study(worker=2)
    for _ in range(9):
        fail(study)
        study.check_failures()
    fail(study, None, "out of memory")
    with raises(StudyFailedError, "failures-in-a-row") as text:
        study.check_failures()
    assert text[0].endswith("out of memory")
    for end in (complete, prune):
        end(other)
        for _ in range(9):
            fail(other)
        other.check_failures()
