"""NSGA-II on observations: who becomes a parent, and that nothing but the history decides it."""

import json
import math

import numpy as np
import pytest

from builders.rehearsal import assert_legal, plan_of, simulate, volume
from cnn_lstm_hyperopt.config import Choices, FloatRange, IntRange, SearchSpace
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers import nsga2
from cnn_lstm_hyperopt.search.samplers.base import ProposalRequest
from cnn_lstm_hyperopt.search.samplers.nsga2 import Nsga2Sampler
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

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
SKILL = SkillThreshold(0.5, 2000)


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
    return cls(plan_of(space, "nsga2", skill=SKILL, **changed))


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
        question = ProposalRequest(known, history[:known], attempt=1)
        assert new().propose(question) == new(cls=RandomSampler).propose(question)
    for startup, known in (("auto", 50), (3, 3)):
        question = ProposalRequest(known, history[:known])
        assert new(startup=startup).propose(question) != new(cls=RandomSampler).propose(question)
    assert_legal(SPACE, new(startup=0).propose(ProposalRequest(0, [])).params)


def test_beats_random_search():
    """Median over seeds of the hypervolume after 150 trials, 50 of which are the same random ones."""
    seeds = range(5)
    bred = np.median([volume(simulate(new(seed=seed), 150, objective)) for seed in seeds])
    random = np.median([volume(simulate(new(seed=seed, cls=RandomSampler), 150, objective)) for seed in seeds])
    assert bred > random + 0.02


def test_limits_are_kept(history):
    limited = {"limits": Limits(size_mb=8.0), "cost": lambda p: Cost(1.0, p["width"] * p["layers"] / 10)}
    sampler = new(**limited)
    assert np.mean([sampler.plan.allows(row.params) for row in history[:60]]) < 0.8
    for number in range(60, 80):
        assert sampler.plan.allows(sampler.propose(ProposalRequest(number, history[:60])).params)


def test_limits_that_nothing_keeps_do_not_hang_it(history):
    asked = []
    nothing = {"limits": Limits(size_mb=1.0), "cost": lambda p: asked.append(1) or Cost(1.0, 2.0)}
    assert_legal(SPACE, new(**nothing).propose(ProposalRequest(60, history[:60])).params)
    assert 0 < len(asked) < 100


# ---------------------------------------------------------------------- one question, one answer


def test_a_question_asked_twice_has_one_answer_whatever_was_asked_in_between(history):
    sampler = new()
    question = ProposalRequest(100, history[:100])
    first = sampler.propose(question)
    for other in (
        ProposalRequest(101, history[:100]),
        ProposalRequest(100, history[:100], attempt=1),
        ProposalRequest(100, history[:60]),
    ):
        assert sampler.propose(other) != first
        assert sampler.propose(question) == first


def test_a_sampler_built_anew_goes_on_as_the_old_one_would_at_every_prefix(history):
    for known, row in enumerate(history):
        assert new().propose(ProposalRequest(known, history[:known])).params == row.params


def test_number_attempt_and_seed_change_the_proposal(history):
    answers = [new().propose(ProposalRequest(n, history, attempt=a)) for n in (140, 141, 142) for a in (0, 1, 2)]
    answers.append(new(seed=1).propose(ProposalRequest(140, history)))
    assert len({json.dumps(answer.params) for answer in answers}) == len(answers)


def test_what_other_workers_run_is_not_proposed(history):
    question = ProposalRequest(120, history)
    taken = new().propose(question).params
    assert new().propose(ProposalRequest(120, history, [taken])).params != taken


def test_revised_losses_of_pruned_trials_are_believed(history):
    pruned = [row._replace(kind=Kind.PRUNED) if row.number % 3 == 0 else row for row in history]
    revised = [r._replace(losses=(-0.55, 9.0, 9.0)) if r.kind is Kind.PRUNED else r for r in pruned]
    sampler = new()
    first, second = (sampler.propose(ProposalRequest(120, rows)) for rows in (pruned, revised))
    assert first != second
    assert second == new().propose(ProposalRequest(120, revised))
    assert sampler.propose(ProposalRequest(120, pruned)) == first


# ---------------------------------------------------------------------- who becomes a parent


def told(number, accuracy, seconds, size, kind=Kind.COMPLETE):
    params = {"rate": 1e-3, "width": 100 + number, "layers": 2, "activation": "relu", "attention": False}
    return Observation(number, params, (-accuracy, seconds, size), kind)


# ---------------------------------------------------------------------- what a child is


def test_parents_are_the_best_that_have_learnt_something():
    """However small and fast the others are: nothing dominates them."""
    skilled = [told(k, 0.8 + k / 1000, 5.0, 5.0) for k in range(nsga2.POPULATION)]
    bare = [told(100 + k, SKILL.threshold, 0.0, 0.0) for k in range(20)]
    diverged = [told(200 + k, 0.9, 0.5, 0.5, Kind.DIVERGED) for k in range(20)]
    widths = {child["width"] for child in children([*bare, *skilled, *diverged])}
    inherited = widths & {row.params["width"] for row in [*skilled, *bare, *diverged]}
    assert inherited <= {row.params["width"] for row in skilled}
    assert len(inherited) > 10


def children(rows, n=100):
    return [new(startup=0).propose(ProposalRequest(number, rows)).params for number in range(n)]


def test_with_nothing_to_search_there_is_nothing_to_propose(history):
    fixed = SPACE.fixing({**history[0].params, "attention": False})
    for startup in (0, 2):
        assert (
            new(fixed, startup=startup).propose(ProposalRequest(5, [Observation(0, {}, (-0.6, 1.0, 1.0))] * 5)).params
            == {}
        )
