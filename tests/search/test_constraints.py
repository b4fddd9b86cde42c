"""Constraints: the probability of feasibility, the front of feasible trials, and searches that learn a constraint."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from builders.records import CHEAP, make_record
from cnn_lstm_hyperopt.errors import RunError, StudyFailedError
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    State,
    Study,
    StudyStorage,
    confirmation_candidates,
    front_hypervolume,
    hypervolume_history,
    named_picks,
    optimise,
    ranked_front,
    reported_front,
)
from cnn_lstm_hyperopt.search.constraints import constraint_attribute, nearest_infeasible, no_feasible_text
from cnn_lstm_hyperopt.search.narrowing import good_trials
from cnn_lstm_hyperopt.search.observations import Observation
from cnn_lstm_hyperopt.search.pruners.front import FrontPruner
from cnn_lstm_hyperopt.search.pruning_audit import CONTROL, WOULD_HAVE_ENDED, audit
from cnn_lstm_hyperopt.search.samplers.gp.feasibility import (
    excesses,
    feasibility,
    no_parents,
    probability_of_feasibility,
)
from cnn_lstm_hyperopt.search.samplers.gp.regression import Hyperparameters, Posterior

SKILL = SkillThreshold(0.5, 100)  # needs 0.60
BOUNDS = {"latency_ms": 5.0, "calibration_error": 0.05}
costs = st.integers(1, 5).map(float)
trials = st.tuples(
    st.integers(55, 70).map(lambda k: k / 100),
    costs,
    costs,
    st.sampled_from([4.0, 5.0, 6.0]),
    st.sampled_from([0.01, 0.2]),
)


def measured(latency, error):
    return constraint_attribute({"latency_ms": latency, "calibration_error": error}, BOUNDS)


def records_of(rows):
    return [make_record(i, values=row[:3], attributes=measured(*row[3:])) for i, row in enumerate(rows)]


def keeps(row):
    return row[3] <= 5.0 and row[4] <= 0.05


# ------------------------------------------------------------------ probability of feasibility


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.1, 3), st.floats(-3, 3)), min_size=1, max_size=4))
def test_probability_of_feasibility_is_the_product_of_normal_probabilities(constraints):
    mean, sd, bounds = (np.array(each) for each in zip(*constraints, strict=True))
    expected = math.prod(stats.norm.cdf(b, loc=m, scale=s) for m, s, b in constraints)
    assert probability_of_feasibility(mean[None], sd[None], bounds) == pytest.approx([expected], rel=1e-9)


def test_probability_of_feasibility_agrees_with_random_draws():
    mean, sd, bounds = np.array([[1.0, -0.5], [0.0, 0.0]]), np.array([[0.5, 1.0], [1.0, 2.0]]), np.array([1.2, 0.0])
    drawn = mean + sd * np.random.default_rng(0).standard_normal((200_000, 2, 2))
    shares = (drawn <= bounds).all(axis=2).mean(axis=0)
    assert probability_of_feasibility(mean, sd, bounds) == pytest.approx(shares, abs=0.005)


def test_feasibility_is_one_without_models_and_follows_the_measured_values():
    assert feasibility([], np.zeros((3, 1))).tolist() == [1.0] * 3
    x = np.linspace(0, 1, 30)[:, None]
    model = Posterior(x, x[:, 0] - 0.5, np.zeros(30), np.array([0]), Hyperparameters(np.array([-0.5]), -6.0))
    found = feasibility([model, model], np.array([[0.1], [0.5], [0.9]]))
    assert found[0] > 0.95
    assert found[1] == pytest.approx(0.25, abs=0.1)  # both constraints are at their bounds
    assert found[2] < 0.05


def test_excesses_are_zero_at_the_bound_monotonic_and_unknown_without_a_measurement():
    rows = [
        make_record(i, values=(0.7, 1, 1), attributes=measured(latency, 0.05))
        for i, latency in enumerate((1, 5, 6, 500))
    ]
    observed = [_observation(record) for record in [*rows, make_record(4, state=State.PRUNED)]]
    found = excesses(observed, BOUNDS)
    assert found[:4, 0].tolist() == sorted(found[:4, 0].tolist())
    assert found[1, 0] == 0.0
    assert (found[:4, 1] == 0.0).all()
    assert np.isnan(found[4]).all()


def _observation(record):
    values = {name: value for name, (value, _) in record.constraints.items()}
    return Observation(record.number, {}, (0.0, 0.0, 0.0), constraints=values)


def test_parents_are_feasible_unless_too_few_are():
    excess = np.array([[0.5], [-0.1], [np.nan], [0.1], [-0.2], [-0.1], [-0.3], [0.2]])
    diverged = np.zeros(8, dtype=bool)
    assert (~no_parents(excess, diverged)).nonzero()[0].tolist() == [1, 2, 4, 5, 6]
    few = np.where(np.arange(8)[:, None] > 4, 0.7, excess)
    assert (~no_parents(few, diverged)).nonzero()[0].tolist() == [0, 1, 2, 3, 4]  # the nearest ones


# ------------------------------------------------------------------ the front of feasible trials


@settings(deadline=None, max_examples=40)
@given(st.lists(trials, max_size=12))
def test_front_of_feasible_trials_equals_brute_force(rows):
    kept = [(i, row) for i, row in enumerate(rows) if keeps(row) and row[0] > 0.6]

    def dominated(v):
        return any(w[0] >= v[0] and w[1] <= v[1] and w[2] <= v[2] and w[:3] != v[:3] for _, w in kept)

    expected = sorted((-v[0], v[1], v[2], i) for i, v in kept if not dominated(v))
    assert [record.number for record in ranked_front(records_of(rows), SKILL)] == [row[3] for row in expected]


@settings(deadline=None, max_examples=40)
@given(st.lists(trials, min_size=1, max_size=12))
def test_no_infeasible_trial_is_on_a_front_a_pick_or_a_candidate(rows):
    records = records_of(rows)
    front = reported_front(records, SKILL)
    chosen = [
        *front,
        *ranked_front(records, SKILL),
        *confirmation_candidates(records, SKILL, 2),
        *(named_picks(front) or ()),
    ]
    assert all(keeps(rows[record.number]) for record in chosen)
    assert bool(front) == any(keeps(row) for row in rows)
    volume, _ = front_hypervolume(records, SKILL)
    history = hypervolume_history(records, SKILL)
    assert (history[-1].hypervolume if history else 0.0) == pytest.approx(volume, abs=1e-6)
    nearest = nearest_infeasible(records)
    if front:
        assert nearest is None
        assert no_feasible_text(records) is None
    else:
        worst = [max(row[3] / 5.0, row[4] / 0.05) for row in rows]
        assert worst[nearest.number] == min(worst)
        assert f"trial {nearest.number}:" in no_feasible_text(records)


def test_narrowing_counts_feasible_trials_only():
    rows = [(0.7, 1.0, 1.0, 4.0, 0.01)] * 8 + [(0.9, 1.0, 1.0, 6.0, 0.01)] * 5
    assert [record.number for record in good_trials(records_of(rows), SKILL, "more")] == list(range(8))
    with pytest.raises(RunError):
        good_trials(records_of(rows[1:]), SKILL, "more")


def test_front_pruner_and_audit_ignore_infeasible_trials():
    """An infeasible trial dominates all others: with it, the front would be this trial alone."""

    def trial(number, score, size, latency):
        facts = {"curve": [score] * 3, "attributes": measured(latency, 0.01)}
        return make_record(number, values=(score, 9.0, size), **facts)

    fine, best = [trial(i, 0.70 + 0.01 * i, 9.0 + i, 4.0) for i in range(6)], trial(9, 0.95, 1.0, 50.0)
    pruner = FrontPruner(CHEAP.plan("random", "front", skill=SKILL, constraints=BOUNDS))
    with_it, without = pruner.progress_of([*fine, best]), FrontPruner(pruner.plan).progress_of(fine)
    assert (with_it.best, with_it.gain) == (without.best, without.gain)
    assert FrontPruner(pruner.plan).progress_of([*fine, replace(best, attributes={})]).best > 0.9

    def marked(record, number, more):
        facts = {CONTROL: True, "finish_order": number, **more}
        return replace(record, number=number, attributes={**record.attributes, **facts})

    ends = {WOULD_HAVE_ENDED: {"epoch": 1, "reason": "front"}}
    control = [marked(record, i, ends if i % 2 else {}) for i, record in enumerate([*fine, *fine[:4]])]
    broken = [*control[:-1], marked(best, 9, ends)]
    found = audit(broken, SKILL, 0)
    assert found.on_front == found.controls - 1


# ------------------------------------------------------------------ searches


def misses(params):
    """A value that the search must learn, and that only large networks keep low: the best cheap networks are infeasible."""
    return 300 / (params["width"] * params["layers"])


def evaluate(params, seed):
    for epoch in CHEAP.evaluate(params, seed):
        yield *epoch, {"misses": misses(params)}


def searched(sampler, bound=3.0, n_trials=40, storage=None, seed=0, **more):
    plan = CHEAP.plan(sampler, n_trials=n_trials, begun_with=40, constraints={"misses": bound}, seed=seed, **more)
    study = Study(storage or StudyStorage.in_memory("x"), plan)
    optimise(study, evaluate)
    return study


@pytest.mark.parametrize("sampler", ["gp", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tpe", "nsga2"))])
def test_samplers_learn_a_constraint(sampler):
    """A bound that 3 in 10 random configurations keep."""
    named = {"type": sampler, "n_startup_trials": 10}
    records = searched(named).records()
    free = Study(StudyStorage.in_memory("y"), CHEAP.plan(named))
    optimise(free, evaluate)
    with_it = np.mean([record.feasible for record in records[20:]])
    without = np.mean([misses(record.params) <= 3.0 for record in free.records()[20:]])
    assert with_it > without
    if sampler == "gp":
        assert with_it >= 0.8


def test_interrupted_search_with_a_constraint_proposes_the_same_configurations():
    whole = searched("gp", n_trials=24).records()
    storage = StudyStorage.in_memory("x")
    searched("gp", n_trials=17, storage=storage)
    resumed = searched("gp", n_trials=24, storage=storage).records()
    assert [record.params for record in resumed] == [record.params for record in whole]
    assert [record.constraints for record in resumed] == [record.constraints for record in whole]


def test_optuna_sees_the_same_front():
    study = searched("random")
    front = {record.number for record in ranked_front(study.records(), study.plan.skill)}
    assert {trial.number for trial in study.storage.study.best_trials} == front
    assert any(not record.feasible for record in study.records())


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_own_function_without_a_finite_value_of_a_constraint_fails_its_trials(value):
    def missing(params, seed):
        for epoch in CHEAP.evaluate(params, seed):
            yield (*epoch, {} if value is None else {"ms": value})

    study = Study(StudyStorage.in_memory("x"), CHEAP.plan("random", constraints={"ms": 1.0}))
    with pytest.raises(StudyFailedError):
        optimise(study, missing)
    assert all("the constraint ms" in record.reason for record in study.records())


def test_search_without_a_feasible_trial_ends_with_an_empty_front():
    study = searched("gp", bound=1e-6, n_trials=20)
    assert study.n_finished() == 20
    assert study.front() == []
    assert confirmation_candidates(study.records(), study.plan.skill, 3) == []
    assert no_feasible_text(study.records()) is not None
