"""Any function optimised: what becomes of its readings, workers in simulated time, starts."""

import math

import pytest

from cnn_lstm_hyperopt.config import FloatRange, SearchSpace
from cnn_lstm_hyperopt.errors import StudyFailedError
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    SkillThreshold,
    Start,
    State,
    Study,
    StudyStorage,
    finish_order,
    optimise,
)
from cnn_lstm_hyperopt.space.parameters import ParameterSpec
from cnn_lstm_hyperopt.utils.rng import stream_seed

EPOCHS = 4
LINE = SearchSpace.of({"x": ParameterSpec("float", FloatRange(0.0, 1.0))})


@pytest.fixture(scope="module")
def study_of(make_plan):
    """A study of one number, in memory."""

    def make(sampler="random", pruner="none", **changed):
        plan = {"space": LINE, "max_epochs": EPOCHS, "n_trials": 5, "skill": SkillThreshold(0.5, 100)}
        plan["cost"] = lambda params: Cost(1.0, 0.5 + params["x"])
        sampler = sampler if isinstance(sampler, dict) else {"type": sampler}
        pruner = pruner if isinstance(pruner, dict) else {"type": pruner}
        return Study(StudyStorage.in_memory("x"), make_plan(sampler=sampler, pruner=pruner, **{**plan, **changed}))

    return make


def line(params, seed):
    """Accuracy rises to x, at a second an epoch."""
    for epoch in range(1, EPOCHS + 1):
        yield epoch, 0.5 + params["x"] * epoch / (2 * EPOCHS), float(epoch), 0.5 + params["x"]


# ---------------------------------------------------------------------- readings


def test_a_trial_that_yields_all_epochs_is_complete_with_its_last_reading(study_of):
    study = study_of()
    optimise(study, line)
    assert [record.state for record in study.records()] == [State.COMPLETE] * 5
    for record in study.records():
        x = record.params["x"]
        assert record.values == pytest.approx((0.5 + x / 2, 4.0, 0.5 + x))
        assert [point.epoch for point in record.curve] == [1, 2, 3, 4]
        assert (record.seconds, record.projected_seconds, record.attributes["epochs"]) == (4.0, 4.0, 4)


def test_what_comes_after_the_last_epoch_is_not_asked_for(study_of):
    asked = []

    def endless(params, seed):
        for epoch in range(1, 100):
            asked.append(epoch)
            yield epoch, 0.7, float(epoch), 1.0

    optimise(study_of(n_trials=2), endless)
    assert asked == [1, 2, 3, 4] * 2


def test_a_function_that_ends_early_is_complete_with_its_last_reading(study_of):
    """As a training is whose patience is exhausted."""

    def short(params, seed):
        yield 1, 0.6, 1.0, 1.0
        yield 2, 0.7, 3.0, 1.0

    study = study_of(n_trials=1)
    optimise(study, short)
    (record,) = study.records()
    assert (record.state, record.values, record.projected_seconds) == (State.COMPLETE, (0.7, 3.0, 1.0), 7.0)


def test_the_function_is_given_the_whole_configuration_and_a_seed_of_study_and_number(study_of):
    given = []

    def listening(params, seed):
        given.append((params, seed))
        yield from line(params, seed)

    study = study_of(seed=3, n_trials=3)
    optimise(study, listening)
    assert [params for params, _ in given] == [record.params for record in study.records()]
    assert [seed for _, seed in given] == [stream_seed(3, number, "evaluation") % 2**31 for number in range(3)]


# ---------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("second", "reason", "diverged"),
    [
        (ValueError("boom"), "ValueError: boom", False),
        ((2, math.nan, 2.0, 1.0), "the reading of epoch 2 is not finite: (2, nan, 2.0, 1.0)", True),
        ((2, 0.7, math.inf, 1.0), "the reading of epoch 2 is not finite: (2, 0.7, inf, 1.0)", True),
        ((2, 0.7, 2.0, 0.0), "the size in the reading of epoch 2 is not above 0: 0.0", False),
        ((2, 0.7), "TypeError: ", False),
    ],
)
def test_a_trial_that_yields_no_numbers_or_raises_has_failed_and_is_tried_once_more(study_of, second, reason, diverged):
    seeds = []

    def fails_once(params, seed):
        seeds.append(seed)
        yield 1, 0.6, 1.0, 1.0
        if len(seeds) == 1:
            if isinstance(second, Exception):
                raise second
            yield second
        yield 4, 0.8, 4.0, 1.0

    study = study_of(n_trials=1)
    optimise(study, fails_once)
    failed, again = study.records()
    assert (failed.state, failed.values, failed.seconds) == (State.FAIL, None, 1.0)
    assert failed.reason.startswith(reason)
    assert failed.attributes.get("diverged", False) is diverged
    assert [point.epoch for point in failed.curve] == [1]
    assert (again.state, again.retry_of, again.params) == (State.COMPLETE, 0, failed.params)
    assert len(set(seeds)) == 2


def test_a_function_that_yields_nothing_has_failed(study_of):
    with pytest.raises(
        StudyFailedError, match="10 trials failed in a row, the last with: the function yielded nothing"
    ):
        optimise(study_of(n_trials=99), lambda params, seed: iter(()))


def test_an_interruption_is_not_taken_for_a_failure(study_of):
    def interrupted(params, seed):
        raise KeyboardInterrupt
        yield

    study = study_of()
    with pytest.raises(KeyboardInterrupt):
        optimise(study, interrupted)
    assert [record.state for record in study.records()] == [State.RUNNING]


def failing_once():
    """A function whose first trial raises."""
    calls = []

    def evaluate(params, seed):
        calls.append(seed)
        if len(calls) == 1:
            raise OSError("boom")
        yield from line(params, seed)

    return evaluate


# ---------------------------------------------------------------------- simulated time


def timed(seconds_of, warm_up=0.0):
    """A function whose epochs take so long, and the first one so many times more."""

    def evaluate(params, seed):
        for epoch in range(1, EPOCHS + 1):
            yield epoch, 0.7, (epoch + warm_up) * seconds_of(params), 1.0

    return evaluate


def test_workers_are_served_in_the_order_of_simulated_time(study_of):
    """Trials end as a simulation of two workers by hand has it."""
    study = study_of(n_trials=30)
    optimise(study, timed(lambda params: params["x"], warm_up=9.0), workers=2)
    free, ends = [0.0, 0.0], []
    for record in study.records():
        worker = free.index(min(free))
        free[worker] += record.seconds
        ends.append((free[worker], record.number))
    assert [record.number for record in finish_order(study.records())] == [number for _, number in sorted(ends)]
    assert [number for _, number in sorted(ends)] != list(range(30))


def test_one_worker_ends_one_trial_before_it_begins_the_next(study_of):
    study = study_of(n_trials=10)
    optimise(study, timed(lambda params: params["x"]))
    assert [record.number for record in finish_order(study.records())] == list(range(10))


def test_a_worker_without_a_trial_waits_and_takes_what_another_fails_at(study_of):
    calls = []

    def last_fails_once(params, seed):
        calls.append(params["x"])
        if len(calls) == 3:
            yield 1, 0.7, 50.0, 1.0
            raise OSError("boom")
        yield from line(params, seed)

    study = study_of(n_trials=3)
    optimise(study, last_fails_once, workers=2)
    assert [record.state for record in study.records()] == [State.COMPLETE] * 2 + [State.FAIL, State.COMPLETE]
    assert study.records()[3].retry_of == 2


# ---------------------------------------------------------------------- limits and starts


def test_a_trial_that_turns_out_slower_than_its_limit_ends(study_of):
    study = study_of(limits=Limits(seconds=4.0), n_trials=10)
    optimise(study, timed(lambda params: 4 * params["x"]))
    for record in study.records():
        total = 16 * record.params["x"]
        assert (record.state is State.PRUNED) == (total > 1.25 * 4.0)
        if record.state is State.PRUNED:
            assert record.reason == f"limit: projected {total:.0f} s exceed limits.trial_seconds=4"
            assert len(record.curve) == 1


def test_configurations_to_begin_with_are_tried_first_once_and_as_they_are(study_of):
    starts = tuple(Start({"x": x}, origin) for x, origin in ((0.25, "small"), (0.75, "enqueued"), (0.25, "again")))
    study = study_of({"type": "gp", "n_startup_trials": 6}, starts=starts, n_trials=9)
    optimise(study, line)
    records = study.records()
    assert [record.params["x"] for record in records[:2]] == [0.25, 0.75]
    assert [record.attributes["origin"] for record in records[:2]] == ["small", "enqueued"]
    assert [record.state for record in records[:2]] == [State.COMPLETE] * 2
    assert not any("origin" in record.attributes for record in records[2:])


def test_a_start_that_fails_is_tried_again_with_its_origin(study_of):
    study = study_of(starts=(Start({"x": 0.5}, "mine"),), n_trials=2)
    optimise(study, failing_once())
    assert [(r.state, r.params["x"]) for r in study.records()[:2]] == [(State.FAIL, 0.5), (State.COMPLETE, 0.5)]
    assert [record.attributes.get("origin") for record in study.records()] == ["mine", "mine", None]
