"""Optimising any function: its values, failures, workers in simulated time, initial trials."""

import math

import pytest

from builders.records import make_plan
from cnn_lstm_hyperopt.config import FloatRange, SearchSpace
from cnn_lstm_hyperopt.search import Cost, InitialTrial, State, Study, StudyStorage, finish_order, optimise
from cnn_lstm_hyperopt.space.parameters import ParameterSpec
from cnn_lstm_hyperopt.utils.rng import stream_seed

EPOCHS = 4
LINE = SearchSpace.of({"x": ParameterSpec("float", FloatRange(0.0, 1.0))})


def study_of(sampler="random", **changed):
    """A study of one number, in memory."""
    plan = {"max_epochs": EPOCHS, "n_trials": 5, "cost": lambda params: Cost(1.0, 0.5 + params["x"])}
    sampler = sampler if isinstance(sampler, dict) else {"type": sampler}
    return Study(StudyStorage.in_memory("x"), make_plan(LINE, sampler=sampler, **{**plan, **changed}))


def line(params, seed):
    """Accuracy rises to x, at one second an epoch."""
    for epoch in range(1, EPOCHS + 1):
        yield epoch, 0.5 + params["x"] * epoch / (2 * EPOCHS), float(epoch), 0.5 + params["x"]


def timed(seconds_of, warm_up=0.0):
    """Epochs take ``seconds_of(params)``, the first one ``warm_up`` times as much in addition."""

    def evaluate(params, seed):
        for epoch in range(1, EPOCHS + 1):
            yield epoch, 0.7, (epoch + warm_up) * seconds_of(params), 1.0

    return evaluate


def states(study):
    return [record.state for record in study.records()]


def test_the_function_gets_configuration_and_seed_and_is_not_asked_after_the_last_epoch():
    calls, epochs = [], []

    def evaluate(params, seed):
        calls.append((params, seed))
        for epoch in range(1, 100):
            epochs.append(epoch)
            yield epoch, 0.7, float(epoch), 1.0

    study = study_of(seed=3, n_trials=3)
    optimise(study, evaluate)
    assert [params for params, _ in calls] == [record.params for record in study.records()]
    assert [seed for _, seed in calls] == [stream_seed(3, number, "evaluation") % 2**31 for number in range(3)]
    assert epochs == [1, 2, 3, 4] * 3


@pytest.mark.parametrize(
    ("second", "reason", "diverged"),
    [
        (ValueError("boom"), "ValueError: boom", False),
        ((2, math.nan, 2.0, 1.0), "(2, nan, 2.0, 1.0)", True),
        ((2, 0.7, math.inf, 1.0), "(2, 0.7, inf, 1.0)", True),
        ((2, 0.7, 2.0, 0.0), "0.0", False),
        ((2, 0.7), "TypeError: ", False),
    ],
)
def test_a_trial_that_raises_or_yields_wrong_values_fails_and_is_retried_once(second, reason, diverged):
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
    assert reason in failed.reason
    assert failed.attributes.get("diverged", False) is diverged
    assert [point.epoch for point in failed.curve] == [1]
    assert (again.state, again.retry_of, again.params) == (State.COMPLETE, 0, failed.params)
    assert len(set(seeds)) == 2


def test_an_interruption_is_not_a_failure():
    def interrupted(params, seed):
        raise KeyboardInterrupt
        yield

    study = study_of()
    with pytest.raises(KeyboardInterrupt):
        optimise(study, interrupted)
    assert states(study) == [State.RUNNING]


def test_workers_are_served_in_the_order_of_simulated_time():
    """Trials end as in a simulation of two workers by hand; with one worker, in order."""
    study = study_of(n_trials=30)
    optimise(study, timed(lambda params: params["x"], warm_up=9.0), workers=2)
    free, ends = [0.0, 0.0], []
    for record in study.records():
        worker = free.index(min(free))
        free[worker] += record.seconds
        ends.append((free[worker], record.number))
    order = [number for _, number in sorted(ends)]
    assert [record.number for record in finish_order(study.records())] == order != list(range(30))
    study = study_of(n_trials=10)
    optimise(study, timed(lambda params: params["x"]))
    assert [record.number for record in finish_order(study.records())] == list(range(10))


def test_initial_trials_are_tried_first_once_and_retried_with_their_origin():
    starts = tuple(
        InitialTrial({"x": x}, origin) for x, origin in ((0.25, "small"), (0.75, "enqueued"), (0.25, "again"))
    )
    study = study_of({"type": "gp", "n_startup_trials": 6}, starts=starts, n_trials=9)
    calls = []

    def first_fails(params, seed):
        calls.append(seed)
        if len(calls) == 1:
            raise OSError("boom")
        yield from line(params, seed)

    optimise(study, first_fails)
    origins = [(record.attributes.get("origin"), record.params["x"]) for record in study.records()]
    assert origins[:3] == [("small", 0.25), ("small", 0.25), ("enqueued", 0.75)]
    assert states(study) == [State.FAIL] + [State.COMPLETE] * 9
    assert {origin for origin, _ in origins[3:]} == {None}
