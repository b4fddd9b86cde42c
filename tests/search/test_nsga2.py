"""NSGA-II on told trials: who becomes a parent, what a child is, and that nothing but the history decides it."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.config import Choices, FloatRange, IntRange, SearchSpace
from cnn_lstm_hyperopt.config.search_space import ParameterSpec
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.observations import Kind, Told
from cnn_lstm_hyperopt.search.samplers import nsga2
from cnn_lstm_hyperopt.search.samplers.base import Question
from cnn_lstm_hyperopt.search.samplers.encoding import Axis
from cnn_lstm_hyperopt.search.samplers.nsga2 import Nsga2Sampler, crowding_distances
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler
from cnn_lstm_hyperopt.search.skill_threshold import SkillGate
from rehearsal import assert_legal, plan_of, simulate, volume

SPACE = SearchSpace.of(
    {
        "rate": ParameterSpec("log_float", FloatRange(1e-5, 1e-1, log=True)),
        "width": ParameterSpec("int", IntRange(4, 512, log=True)),
        "layers": ParameterSpec("int", IntRange(1, 5)),
        "activation": ParameterSpec("choice", Choices(("relu", "gelu", "swish"))),
        "attention": ParameterSpec("flag", Choices((False, True))),
        "heads": ParameterSpec("int", IntRange(1, 8), when={"attention": (True,)}),
        "temperature": ParameterSpec("float", FloatRange(0.0, 1.0), when={"attention": (True,)}),
    }
)
GATE = SkillGate(0.5, 2000)


def objective(p):
    """(−accuracy, ln seconds, ln MB)."""
    size = math.log(p["width"] * p["layers"])
    error = 0.3 * math.exp(-size / 2) + 0.05 * (math.log10(p["rate"]) + 2.5) ** 2
    error += {"relu": 0.02, "gelu": 0.0, "swish": 0.01}[p["activation"]]
    seconds = size + 0.5 * p["layers"]
    if p["attention"]:
        error += 0.004 * abs(p["heads"] - 4) + 0.1 * (p["temperature"] - 0.2) ** 2 - 0.03
        seconds += 0.1 * p["heads"]
    return -0.5 - 0.4 * math.exp(-5 * max(error, 0.0)), seconds, size


def new(space=SPACE, *, cls=Nsga2Sampler, **changed):
    return cls(plan_of(space, "nsga2", gate=GATE, **changed))


@pytest.fixture(scope="module")
def history():
    return simulate(new(), 120, objective)


# ---------------------------------------------------------------------- proposals


def test_proposals_are_active_values_of_the_space_in_its_types(history):
    for row in history:
        assert_legal(SPACE, row.params)
    assert {row.params["attention"] for row in history[50:]} == {False, True}
    assert len({tuple(sorted(row.params.items())) for row in history}) == len(history)


def test_it_is_random_search_until_n_startup_trials_are_known(history):
    for known in (0, 1, 49):
        question = Question(known, history[:known], attempt=1)
        assert new().propose(question) == new(cls=RandomSampler).propose(question)
    for startup, known in (("auto", 50), (3, 3)):
        question = Question(known, history[:known])
        assert new(startup=startup).propose(question) != new(cls=RandomSampler).propose(question)
    assert_legal(SPACE, new(startup=0).propose(Question(0, [])).params)


def test_beats_random_search():
    """Median over seeds of the hypervolume after 150 trials, 50 of which are the same random ones."""
    seeds = range(5)
    bred = np.median([volume(simulate(new(seed=seed), 150, objective)) for seed in seeds])
    random = np.median([volume(simulate(new(seed=seed, cls=RandomSampler), 150, objective)) for seed in seeds])
    assert bred > random + 0.04


def test_limits_are_kept(history):
    limited = {"limits": Limits(size_mb=8.0), "cost": lambda p: Cost(1.0, p["width"] * p["layers"] / 10)}
    sampler = new(**limited)
    assert np.mean([sampler.plan.allows(row.params) for row in history[:60]]) < 0.8
    for number in range(60, 80):
        assert sampler.plan.allows(sampler.propose(Question(number, history[:60])).params)


def test_limits_that_nothing_keeps_do_not_hang_it(history):
    asked = []
    nothing = {"limits": Limits(size_mb=1.0), "cost": lambda p: asked.append(1) or Cost(1.0, 2.0)}
    assert_legal(SPACE, new(**nothing).propose(Question(60, history[:60])).params)
    assert 0 < len(asked) < 100


# ---------------------------------------------------------------------- one question, one answer


def test_a_question_asked_twice_has_one_answer_whatever_was_asked_in_between(history):
    sampler = new()
    question = Question(100, history[:100])
    first = sampler.propose(question)
    for other in (Question(101, history[:100]), Question(100, history[:100], attempt=1), Question(100, history[:60])):
        assert sampler.propose(other) != first
        assert sampler.propose(question) == first


def test_a_sampler_built_anew_goes_on_as_the_old_one_would_at_every_prefix(history):
    for known, row in enumerate(history):
        assert new().propose(Question(known, history[:known])).params == row.params


def test_number_attempt_and_seed_change_the_proposal(history):
    answers = [new().propose(Question(n, history, attempt=a)) for n in (140, 141, 142) for a in (0, 1, 2)]
    answers.append(new(seed=1).propose(Question(140, history)))
    assert len({json.dumps(answer.params) for answer in answers}) == len(answers)


def test_what_other_workers_run_is_not_proposed(history):
    question = Question(120, history)
    taken = new().propose(question).params
    assert new().propose(Question(120, history, [taken])).params != taken


def test_revised_losses_of_pruned_trials_are_believed(history):
    pruned = [row._replace(kind=Kind.PRUNED) if row.number % 3 == 0 else row for row in history]
    revised = [r._replace(losses=(-0.55, 9.0, 9.0)) if r.kind is Kind.PRUNED else r for r in pruned]
    sampler = new()
    first, second = (sampler.propose(Question(120, rows)) for rows in (pruned, revised))
    assert first != second
    assert second == new().propose(Question(120, revised))
    assert sampler.propose(Question(120, pruned)) == first


# ---------------------------------------------------------------------- who becomes a parent


def told(number, accuracy, seconds, size, kind=Kind.COMPLETE):
    params = {"rate": 1e-3, "width": 100 + number, "layers": 2, "activation": "relu", "attention": False}
    return Told(number, params, (-accuracy, seconds, size), kind)


def best(rows):
    return [rows[i].number for i in new()._best(rows)]


def test_parents_are_ranked_by_front_and_then_by_room():
    front = [told(0, 0.90, 4.0, 4.0), told(1, 0.80, 2.0, 2.0), told(2, 0.79, 1.9, 1.9), told(3, 0.70, 1.0, 1.0)]
    second, third = told(4, 0.69, 1.1, 1.1), told(5, 0.68, 1.2, 1.2)
    assert best([third, second, *front]) == [0, 3, 1, 2, 4, 5]


def test_trials_without_skill_come_after_all_others_by_accuracy_and_diverged_ones_last():
    """However small and fast they are: nothing dominates them."""
    bare = GATE.threshold
    rows = [
        told(0, 0.5, 0.0, 0.0, Kind.DIVERGED),
        told(1, bare, 0.0, 0.0),
        told(2, 0.4, -1.0, -1.0),
        told(3, bare + 1e-6, 9.0, 9.0),
        told(4, 0.8, 8.0, 8.0),
        told(5, 0.9, 0.5, 0.5, Kind.DIVERGED),
    ]
    assert best(rows) == [4, 3, 1, 2, 0, 5]


def test_as_many_parents_as_the_population_has():
    rows = [told(k, 0.6 + k / 1000, float(k), 1.0) for k in range(200)]
    assert len(best(rows)) == nsga2.POPULATION
    assert len(best(rows[:7])) == 7


def test_crowding_distances_of_a_worked_example():
    """Neighbours' distance in each loss over its range, summed; the ends are infinitely far from any (Deb et al. 2002)."""
    losses = np.array([[0.0, 10.0], [4.0, 0.0], [1.0, 6.0], [2.0, 3.0]])
    assert crowding_distances(losses) == pytest.approx([math.inf, math.inf, 2 / 4 + 7 / 10, 3 / 4 + 6 / 10])
    assert crowding_distances(np.ones((3, 2))).tolist() == [math.inf, 0.0, math.inf]
    assert crowding_distances(np.ones((1, 3))).tolist() == [math.inf]


# ---------------------------------------------------------------------- what a child is


def children(rows, n=300):
    return [new(startup=0).propose(Question(number, rows)).params for number in range(n)]


def test_children_mix_their_parents_and_change_little():
    one = {
        "rate": 1e-4,
        "width": 20,
        "layers": 1,
        "activation": "relu",
        "attention": True,
        "heads": 2,
        "temperature": 0.1,
    }
    other = {"rate": 1e-2, "width": 200, "layers": 5, "activation": "swish", "attention": False}
    rows = [Told(0, one, (-0.8, 1.0, 2.0)), Told(1, other, (-0.8, 2.0, 1.0))]
    born = children(rows)
    inherited = [
        np.mean([child.get(name) in (one.get(name), other.get(name)) for name in SPACE.domains]) for child in born
    ]
    assert 0.75 < np.mean(inherited) < 0.95  # one axis in d is mutated
    assert 0.5 < np.mean([child["width"] < 60 for child in born]) < 0.85  # of equals, the older one wins tournaments
    both = [child for child in born if child["activation"] == "swish" and child.get("heads") == 2]
    assert both, "a child has the switch and what hangs on it from one, the rest from the other"


def test_what_a_switch_turns_on_comes_from_a_parent_that_had_it_or_from_anywhere():
    without = {"rate": 1e-3, "width": 64, "layers": 2, "activation": "relu", "attention": False}
    rows = [Told(0, without, (-0.8, 1.0, 1.0))]
    turned_on = [child for child in children(rows, 600) if child["attention"]]
    assert {child["heads"] for child in turned_on} == set(range(1, 9))


@given(st.integers(1, 4), st.integers(0, 40), st.booleans(), st.data())
def test_a_mutated_whole_number_is_another_one_of_its_range(low, steps, log, data):
    axis = Axis("n", IntRange(low, low + steps, log), slice(0, 1))
    value = data.draw(st.integers(low, low + steps))
    moved = nsga2._mutated(axis, axis.position(value), np.random.default_rng(data.draw(st.integers(0, 2**32))))
    assert axis.domain.contains(axis.value(moved))
    assert (axis.value(moved) != value) == (steps > 0)


@given(st.floats(0, 1), st.integers(0, 2**32))
def test_a_mutated_real_number_stays_in_its_range_and_near(position, seed):
    moved = nsga2._polynomial(position, np.random.default_rng(seed))
    assert 0 <= moved <= 1
    assert abs(moved - position) < 0.8


def test_mutation_is_the_published_one():
    """Away from the bounds |step| has the distribution 1 − (1 − step)^(η + 1), to either side (Deb & Goyal 1996)."""
    generator = np.random.default_rng(0)
    steps = np.array([nsga2._polynomial(0.5, generator) - 0.5 for _ in range(4000)])
    for step in (0.02, 0.05, 0.1):
        assert np.mean(np.abs(steps) < step) == pytest.approx(1 - (1 - step) ** (nsga2.ETA + 1), abs=0.025)
    assert np.mean(steps > 0) == pytest.approx(0.5, abs=0.025)


@given(st.integers(2, 6), st.integers(0, 2**32), st.data())
def test_a_mutated_choice_is_another_one(n, seed, data):
    index = data.draw(st.integers(0, n - 1))
    moved = nsga2._mutated(Axis("c", Choices(tuple(range(n))), slice(0, n)), index, np.random.default_rng(seed))
    assert moved != index
    assert moved in range(n)


def test_with_nothing_to_search_there_is_nothing_to_propose(history):
    fixed = SPACE.fixing({**history[0].params, "attention": False})
    for startup in (0, 2):
        assert new(fixed, startup=startup).propose(Question(5, [Told(0, {}, (-0.6, 1.0, 1.0))] * 5)).params == {}
