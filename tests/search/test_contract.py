"""One contract for every sampler with every pruner, on a function that takes microseconds."""

import functools
import itertools
import math
from collections import Counter
from dataclasses import replace
from typing import get_args

import pytest

from builders.errors import raises
from builders.records import CHEAP
from cnn_lstm_hyperopt.config import Choices, Fixed, IntRange, PrunerSettings, SamplerSettings, SearchSpace
from cnn_lstm_hyperopt.errors import StudyFailedError
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    State,
    Study,
    StudyStorage,
    finish_order,
    front_hypervolume,
    hypervolume_history,
    with_fixed,
)
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.pruning_audit import is_control
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from cnn_lstm_hyperopt.search.simulate import optimise
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

SEED, N_TRIALS = 3, 46
STARTUP = 12
SAMPLER_KINDS = {
    **{name: {"type": name} for name in SAMPLERS},
    "tpe-multivariate": {"type": "tpe", "multivariate": True},
    "gp-dear-cost": {"type": "gp"},
}
PRUNER_KINDS = {
    "none": {},
    "median": {"n_startup_trials": STARTUP, "n_warmup_steps": 1},
    "successive_halving": {"reduction_factor": 3},
    "front": {"n_startup_trials": STARTUP},
}
PAIRS = [(sampler, pruner) for sampler in SAMPLER_KINDS for pruner in PRUNER_KINDS]
DIAGONAL = [(sampler, list(PRUNER_KINDS)[1 + i % 3]) for i, sampler in enumerate(SAMPLER_KINDS)]
FEW_PAIRS = [*DIAGONAL, ("random", "none")]
"""Each sampler and each pruner."""
MORE_PAIRS = [pair for pair in PAIRS if pair in FEW_PAIRS or pair[0] in ("random", "gp-dear-cost")]
"""The same, and all of the pairs that differ most."""


def marks_of(pair):
    """None of the few; slow of some more; thorough of all others."""
    return () if pair in FEW_PAIRS else pytest.mark.slow if pair in MORE_PAIRS else pytest.mark.thorough


every_pair = pytest.mark.parametrize(
    ("sampler", "pruner"), [pytest.param(*pair, marks=marks_of(pair)) for pair in PAIRS]
)
every_sampler = pytest.mark.parametrize("sampler", SAMPLER_KINDS)


def plan_of(sampler, pruner="none", **changed):
    """The plan of a pair."""
    return CHEAP.plan(
        {"n_startup_trials": STARTUP, **SAMPLER_KINDS[sampler]},
        {"type": pruner, **PRUNER_KINDS[pruner]},
        **{"seed": SEED, "n_trials": N_TRIALS, "cheap_cost": sampler != "gp-dear-cost", **changed},
    )


def faulty(params, seed):
    """The cheap function; one in nine runs raises, one in eleven yields NaN, both after a few epochs."""
    for epoch, accuracy, *rest in CHEAP.evaluate(params, seed):
        if seed % 9 == 0 and epoch == 3:
            raise ArithmeticError("one in nine")
        yield (epoch, math.nan if seed % 11 == 0 and epoch == 4 else accuracy, *rest)


def run(plan, evaluate, *, every=None, workers=1, storage=None):
    """Run a study that is rebuilt after every ``every`` finished trials; return all records."""
    storage = storage or StudyStorage.in_memory("x")
    every = every or plan.n_trials
    for n_trials in [*range(every, plan.n_trials, every), plan.n_trials]:
        part = replace(plan, n_trials=n_trials, begun_with=plan.begun_with or plan.n_trials)
        optimise(Study(storage, part), evaluate, workers=workers)
    return storage.records()


def comparable(record):
    """Everything in a record that must be equal in a repeated run."""
    names = ("note", "expected_score", "would_have_ended", "finish_order")
    stored = [record.attributes.get(name) for name in names]
    end = (record.state, record.values, record.reason, record.retry_of, record.curve)
    return record.number, dict(record.params), end, stored


def key(params):
    return tuple(sorted(params.items()))


def twice(records):
    """Numbers of trials that repeat a configuration without being a retry."""
    seen, found = {}, []
    for record in records:
        earlier = seen.setdefault(key(record.params), [])
        if earlier and record.retry_of not in earlier:
            found.append(record.number)
        earlier.append(record.number)
    return found


def assert_sound(records, plan):
    """Assert the properties of every study."""
    assert [record.number for record in records] == list(range(len(records)))
    assert all(record.state.ended for record in records)
    assert twice(records) == []
    for record in records:
        whole = with_fixed(plan.space, record.params)
        assert list(whole) == list(plan.space.active(whole))
        assert set(record.params) == set(whole) & set(plan.space.searched())
        assert all(plan.space.domains[name].contains(value) for name, value in record.params.items())
        assert plan.allows(record.params)
        assert (record.values is not None) == (record.state is State.COMPLETE)
        assert record.seconds >= 0
        if record.state is State.COMPLETE:
            assert all(map(math.isfinite, record.values))
    orders = [record.finish_order[0] for record in finish_order(records)]
    assert orders == list(range(len(records)))
    front_hypervolume(records, plan.skill)
    volumes = [milestone.hypervolume for milestone in hypervolume_history(records, plan.skill)]
    assert volumes == sorted(volumes)


def test_the_contract_covers_all_samplers_and_pruners_of_the_settings():
    samplers, pruners = (
        set(get_args(section.model_fields["type"].annotation)) for section in (SamplerSettings, PrunerSettings)
    )
    assert {*SAMPLERS, "auto"} == samplers
    assert {*PRUNERS, "auto"} == pruners == {*PRUNER_KINDS, "auto"}
    assert {sampler for sampler, _ in FEW_PAIRS} == set(SAMPLER_KINDS)


@functools.cache
def uninterrupted(sampler, pruner):
    """The records of a pair's study that was never stopped."""
    return run(plan_of(sampler, pruner), faulty)


@every_pair
def test_a_study_does_all_that_it_is_made_of(sampler, pruner):
    """So that the tests of resuming say something: trials fail, are pruned and exempt."""
    records, plan = uninterrupted(sampler, pruner), plan_of(sampler, pruner)
    assert_sound(records, plan)
    assert sum(record.finished for record in records) == N_TRIALS
    reasons = Counter(record.reason.split(":")[0] for record in records)
    decided = reasons[pruner] + sum("would_have_ended" in record.attributes for record in records)
    assert (decided > 1) == (pruner != "none")
    assert any(record.state is State.FAIL for record in records)
    assert any(record.retry_of is not None for record in records)
    exempt = [record for record in records if "would_have_ended" in record.attributes]
    assert all(is_control(record, SEED) for record in exempt)


@pytest.mark.slow
def test_some_trials_are_exempt_and_run_on_with_every_pruner():
    for pruner in set(PRUNER_KINDS) - {"none"}:
        pairs = [pair for pair in MORE_PAIRS if pair[1] == pruner]
        records = [record for pair in pairs for record in uninterrupted(*pair)]
        noted = [record for record in records if "would_have_ended" in record.attributes]
        assert len(noted) >= 2
        assert {State.COMPLETE} <= {record.state for record in noted} <= {State.COMPLETE, State.FAIL}


@pytest.mark.parametrize("every", [9, pytest.param(1, marks=pytest.mark.thorough)])
@every_pair
def test_a_study_rebuilt_after_every_kth_trial_is_the_uninterrupted_one(sampler, pruner, every):
    again = run(plan_of(sampler, pruner), faulty, every=every)
    assert list(map(comparable, again)) == list(map(comparable, uninterrupted(sampler, pruner)))


@pytest.mark.slow
@pytest.mark.mostly_thorough(1)
@pytest.mark.parametrize(("sampler", "pruner"), [("gp", "front"), ("cmaes", "successive_halving"), ("tpe", "median")])
def test_a_study_on_disk_that_is_opened_again_and_again_is_the_one_in_memory(sampler, pruner, tmp_path):
    plan, path = plan_of(sampler, pruner, n_trials=42, begun_with=N_TRIALS), tmp_path / "study.db"
    for n_trials in (14, 30, 42):
        storage = StudyStorage(path, create=None if path.exists() else "x")
        try:
            records = run(replace(plan, n_trials=n_trials), faulty, storage=storage)
        finally:
            storage.close()
    assert list(map(comparable, records)) == list(map(comparable, uninterrupted(sampler, pruner)))[: len(records)]


@every_pair
def test_another_seed_is_another_study(sampler, pruner):
    others = run(plan_of(sampler, pruner, seed=SEED + 1, n_trials=20), faulty)
    mine = {key(record.params) for record in uninterrupted(sampler, pruner)}
    assert not mine & {key(record.params) for record in others}


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2", "gp"])
def test_a_study_with_more_trials_later_keeps_its_number_of_startup_trials(sampler):
    """By default it is a third of the trials that the study began with."""
    plan = plan_of(sampler, n_trials=40, begun_with=18)
    plan = replace(plan, sampler=plan.sampler.model_copy(update={"n_startup_trials": "auto"}))
    storage = StudyStorage.in_memory("x")
    run(replace(plan, n_trials=18, begun_with=None), faulty, storage=storage)
    extended = run(plan, faulty, storage=storage)
    assert list(map(comparable, extended)) == list(map(comparable, run(plan, faulty)))


@pytest.mark.mostly_slow(4)
@every_pair
def test_two_workers_make_exactly_the_trials_and_the_same_ones_each_time(sampler, pruner):
    plan = plan_of(sampler, pruner, n_trials=32)
    records = run(plan, faulty, workers=2)
    assert_sound(records, plan)
    assert sum(record.finished for record in records) == 32
    numbers = [record.number for record in finish_order(records)]
    assert numbers != sorted(numbers)  # they did run side by side
    assert list(map(comparable, run(plan, faulty, workers=2))) == list(map(comparable, records))


@every_sampler
def test_more_workers_than_trials_make_exactly_the_trials(sampler):
    plan = plan_of(sampler, n_trials=5)
    records = run(plan, CHEAP.evaluate, workers=8)
    assert_sound(records, plan)
    assert len(records) == 5


@every_pair
@pytest.mark.parametrize("make", [lambda: (1 / 0 for _ in "x"), lambda: iter(())], ids=["raises", "yields nothing"])
def test_a_function_that_always_fails_ends_the_study_after_ten_trials(sampler, pruner, make):
    storage = StudyStorage.in_memory("x")
    with raises(StudyFailedError, "failures-in-a-row"):
        optimise(Study(storage, plan_of(sampler, pruner)), lambda params, seed: make())
    assert [record.state for record in storage.records()] == [State.FAIL] * 10
    assert [record.retry_of for record in storage.records()] == [None, 0, None, 2, None, 4, None, 6, None, 8]


def not_finite(seed, *values):
    """Spoil one of the four numbers, from the first epoch on or later."""
    spoilt = seed % 4 == 0 and values[0] >= 1 + seed // 4 % 5
    value = (math.nan, math.inf, -math.inf)[seed % 3]
    return tuple(value if spoilt and i == seed // 12 % 4 else each for i, each in enumerate(values))


def few_values(seed, epoch, accuracy, seconds, size_mb):
    """Ties everywhere: accuracies in steps of 0.1, seconds and MB in powers of ten."""
    rounded = 10.0 ** round(math.log10(seconds / epoch)), 10.0 ** round(math.log10(size_mb))
    return epoch, round(accuracy, 1), epoch * rounded[0], rounded[1]


def parts_of_the_first_epoch(params, seed):
    for values in CHEAP.evaluate(params, seed):
        if values[0] == 1:
            yield from ((share, 0.5 + 0.01 * share, share * values[2], values[3]) for share in (0.25, 0.5, 0.75))
        yield values


def changed(change):
    """The cheap function with each of its values changed by ``change(seed, epoch, accuracy, seconds, size_mb)``."""
    return lambda params, seed: (change(seed, *values) for values in CHEAP.evaluate(params, seed))


def ends_early(params, seed):
    """As a training does after its patience."""
    return itertools.islice(CHEAP.evaluate(params, seed), 2 + seed % 9)


ODD = {
    "sometimes raises": lambda params, seed: CHEAP.evaluate(params, seed) if seed % 3 else (1 / 0 for _ in "x"),
    "sometimes yields nothing": lambda params, seed: CHEAP.evaluate(params, seed) if seed % 3 else iter(()),
    "sometimes not finite": changed(not_finite),
    "ends early": ends_early,
    "at chance": changed(lambda seed, e, a, *rest: (e, CHEAP.skill.chance + 0.02 * math.sin(seed + e), *rest)),
    "constant accuracy": changed(lambda seed, epoch, accuracy, *rest: (epoch, 0.75, *rest)),
    "constant seconds": changed(lambda seed, epoch, accuracy, seconds, size_mb: (epoch, accuracy, epoch, size_mb)),
    "all constant": changed(lambda seed, epoch, *rest: (epoch, 0.75, epoch, 1.0)),
    "no seconds": changed(lambda seed, epoch, accuracy, seconds, size_mb: (epoch, accuracy, 0.0, size_mb)),
    "few values": changed(few_values),
    "parts of the first epoch": parts_of_the_first_epoch,
}


def odd_pairs():
    """Each odd function with a sampler and a pruner; in slow tests, with every sampler; in thorough ones, with all pairs."""
    samplers, pruners = list(SAMPLER_KINDS), list(PRUNER_KINDS)
    for i, odd in enumerate(ODD):
        for j, sampler in enumerate(samplers):
            for pruner in pruners:
                fast = j == i % len(samplers)
                marks = () if fast else pytest.mark.slow
                if pruner != pruners[(i + j) % len(pruners)]:
                    marks = pytest.mark.thorough
                yield pytest.param(odd, sampler, pruner, marks=marks)


@pytest.mark.parametrize(("odd", "sampler", "pruner"), list(odd_pairs()))
def test_an_odd_function_has_its_trials_and_can_be_resumed(sampler, pruner, odd):
    cost = (lambda params: Cost(9.0, 1.0)) if odd == "all constant" else CHEAP.cost
    plan = plan_of(sampler, pruner, n_trials=22, cost=cost)
    records = run(plan, ODD[odd])
    assert_sound(records, plan)
    assert sum(record.finished for record in records) == 22
    assert list(map(comparable, run(plan, ODD[odd], every=6))) == list(map(comparable, records))


@every_pair
def test_non_finite_values_are_failures_marked_as_diverged(sampler, pruner):
    """With this seed trial 1 is spoilt at its first value, before any pruner may end it; without pruning, ten trials are."""
    records = run(plan_of(sampler, pruner, seed=SEED + 1, n_trials=32), ODD["sometimes not finite"])
    failed = [record for record in records if record.state is State.FAIL]
    assert failed
    for record in failed:
        assert record.attributes["diverged"] is True
        assert all(math.isfinite(value) for point in record.curve for value in point)


TINY = SearchSpace.of(
    {
        "width": ParameterSpec("int", IntRange(4, 6)),
        "layers": ParameterSpec("int", Fixed(1)),
        "rate": ParameterSpec("log_float", Fixed(1e-2)),
        "kind": ParameterSpec("choice", Choices(("a", "b"))),
        "attention": ParameterSpec("flag", Choices((False, True)), when={"kind": ("b",)}),
        "heads": ParameterSpec("int", IntRange(1, 2), when={"attention": (True,)}),
        "unused": ParameterSpec("int", Fixed(1)),
    }
)
"""Twelve configurations: of each width one of kind a, and of kind b one without attention and two with."""


@pytest.mark.mostly_slow(8)
@every_sampler
@pytest.mark.parametrize("startup", [2, "auto"])
def test_a_finite_space_is_used_up_and_each_configuration_is_tried_to_its_end(sampler, startup):
    """Also where the start has more trials than there are configurations."""
    plan = plan_of(sampler, space=TINY, n_trials=50)
    plan = replace(plan, sampler=plan.sampler.model_copy(update={"n_startup_trials": startup}))
    records = run(plan, CHEAP.evaluate)
    assert_sound(records, plan)
    assert len({key(record.params) for record in records}) == 12
    assert sum(record.state is State.COMPLETE for record in records) == 12


@pytest.mark.mostly_slow(4)
@every_sampler
def test_limits_are_kept_also_where_they_leave_little(sampler):
    """They leave a twentieth of the space; better configurations are beyond."""
    limits = Limits(seconds=0.4, size_mb=0.25)
    plan = plan_of(sampler, limits=limits, n_trials=40)
    records = run(plan, CHEAP.evaluate)
    assert_sound(records, plan)
    assert sum(record.finished for record in records) == 40
    assert all(limits.allow(CHEAP.cost(with_fixed(plan.space, record.params))) for record in records)


@every_sampler
@pytest.mark.parametrize(("name", "n"), [("width", 20), ("rate", 20), ("kind", 3), ("attention", 2), (None, 1)])
def test_a_space_of_one_parameter_or_none_is_searched(sampler, name, n):
    default = {"width": 8, "layers": 1, "rate": 1e-2, "kind": "a", "attention": False}
    space = CHEAP.space.fixing({other: value for other, value in default.items() if other != name})
    space = space.fixing({"mix": 0.5, "heads": 3})
    plan = plan_of(sampler, space=space, n_trials=20)
    records = run(plan, CHEAP.evaluate)
    assert_sound(records, plan)
    assert len({key(record.params) for record in records}) == n


@every_pair
def test_with_one_epoch_nothing_is_pruned(sampler, pruner):
    def evaluate(params, seed):
        yield next(iter(CHEAP.evaluate(params, seed)))

    plan = plan_of(sampler, pruner, max_epochs=1, n_trials=30)
    records = run(plan, evaluate)
    assert_sound(records, plan)
    assert [record.state for record in records] == [State.COMPLETE] * 30
