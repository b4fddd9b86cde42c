"""CatCMA with margin: what it proposes, and that its state is a function of the history."""

import json
import math
from collections import Counter

import numpy as np
import pytest

from builders.rehearsal import assert_legal, finished, plan_of, simulate, volume
from cnn_lstm_hyperopt.config import Choices, FloatRange, IntRange, SearchSpace
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers.base import ProposalRequest
from cnn_lstm_hyperopt.search.samplers.cmaes import catcma
from cnn_lstm_hyperopt.search.samplers.cmaes.catcma import Draw, Run, Variables
from cnn_lstm_hyperopt.search.samplers.cmaes.sampler import CmaEsSampler
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.search.samplers.random import RandomSampler
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

SPACE = SearchSpace.of(
    {
        "rate": ParameterSpec("log_float", FloatRange(1e-5, 1e-1, log=True)),
        "width": ParameterSpec("int", IntRange(4, 512, log=True)),
        "layers": ParameterSpec("int", IntRange(1, 5)),
        "stages": ParameterSpec("int", IntRange(1, 2)),
        "activation": ParameterSpec("choice", Choices(("relu", "gelu", "swish"))),
        "attention": ParameterSpec("flag", Choices((False, True))),
        "heads": ParameterSpec("int", IntRange(1, 8), when={"attention": (True,)}),
        "temperature": ParameterSpec("float", FloatRange(0.0, 1.0), when={"attention": (True,)}),
    }
)
"""Every kind of variable: real numbers, whole ones that are too many, few or two, and choices; some conditional."""
SMALL = SPACE.fixing({"width": 64, "stages": 1, "activation": "relu"})
"""Used up within 160 trials, so that runs end."""


def objective(params):
    """(−accuracy, ln seconds, ln MB), in steps: once a step can't be gained, nothing is."""
    p = {"width": 64, "stages": 1, "activation": "relu", **params}
    size = math.log(p["width"] * p["layers"] * p["stages"])
    error = 0.3 * math.exp(-size / 2) + 0.05 * (math.log10(p["rate"]) + 2.5) ** 2
    error += {"relu": 0.02, "gelu": 0.0, "swish": 0.01}[p["activation"]]
    seconds = size + 0.5 * p["layers"]
    if p["attention"]:
        error += 0.004 * abs(p["heads"] - 4) + 0.1 * (p["temperature"] - 0.2) ** 2 - 0.03
        seconds += 0.1 * p["heads"]
    return -round(0.5 + 0.4 * math.exp(-5 * max(error, 0.0)), 2), round(seconds, 1), round(size, 1)


def new(space=SPACE, *, cls=CmaEsSampler, **changed):
    return cls(plan_of(space, "cmaes", **changed))


def simulate_workers(sampler, n, workers, seed=0):
    """So many trials run at a time; which of them finishes next is chance."""
    chance = np.random.default_rng(seed)
    rows, running = [], []
    for number in range(n):
        proposal = sampler.propose(ProposalRequest(number, list(rows), [p.params for _, p in running]))
        running.append((number, proposal))
        if len(running) == workers:
            rows.append(finished(*running.pop(int(chance.integers(workers))), objective))
    return rows


@pytest.fixture(scope="module")
def mixed():
    return simulate(new(), 140, objective)


@pytest.fixture(scope="module")
def restarted():
    return simulate(new(SMALL, seed=3), 150, objective)


def runs_of(rows):
    return [None if row.note is None else row.note["cmaes"][0] for row in rows]


# ---------------------------------------------------------------------- proposals


def test_proposals_are_active_values_of_the_space_in_its_types(mixed):
    for row in mixed:
        assert_legal(SPACE, row.params)
    modelled = mixed[24:]
    assert {row.params["layers"] for row in modelled} >= {1, 2, 3, 4}
    assert {row.params["stages"] for row in modelled} == {1, 2}
    assert {row.params["activation"] for row in modelled} == {"relu", "gelu", "swish"}


def test_no_configuration_is_tried_twice_while_there_are_others(mixed):
    assert len({tuple(sorted(row.params.items())) for row in mixed}) == len(mixed)


def test_what_other_workers_run_is_not_proposed(mixed):
    space = SearchSpace.of({name: SPACE.specs[name] for name in ("layers", "stages", "activation")})
    rows = simulate(new(space, startup=4), 20, lambda p: objective({"rate": 1e-3, "attention": False, **p}))
    question = ProposalRequest(20, rows)
    running = new(space, startup=4).propose(question).params
    assert len({tuple(row.params.items()) for row in rows}) == len(rows)
    assert new(space, startup=4).propose(ProposalRequest(20, rows, [running])).params != running


def test_it_is_random_search_until_n_startup_trials_are_known(mixed):
    sampler, random = new(), new(cls=RandomSampler)
    for known in (0, 1, 23):
        question = ProposalRequest(known, mixed[:known], attempt=1)
        assert sampler.propose(question) == random.propose(question)
    assert runs_of(mixed[:24]) == [None] * 24
    assert sampler.propose(ProposalRequest(24, mixed[:24])).note["cmaes"] == [0, 0]
    assert new(startup=3).propose(ProposalRequest(3, mixed[:3])).note is not None
    assert new(startup=0).propose(ProposalRequest(0, [])).note is not None


def test_beats_random_search():
    """Median over seeds of the hypervolume after 120 trials, 24 of which are random."""
    seeds = range(5)
    cmaes = np.median([volume(simulate(new(seed=seed), 120, objective)) for seed in seeds])
    random = np.median([volume(simulate(new(seed=seed, cls=RandomSampler), 120, objective)) for seed in seeds])
    assert cmaes > random + 0.05


def test_it_leaves_where_trials_diverge():
    """Diverged trials would be the best by their losses: quick, and no larger than others."""
    sampler, rows = new(), []
    for number in range(120):
        proposal = sampler.propose(ProposalRequest(number, rows))
        diverges = proposal.params["rate"] > 1e-3
        losses = (lambda _: (-0.5, 0.0, 0.0)) if diverges else objective
        rows.append(finished(number, proposal, losses, Kind.DIVERGED if diverges else Kind.COMPLETE))
    share = [np.mean([row.kind is Kind.DIVERGED for row in part]) for part in (rows[:24], rows[-48:])]
    assert share[0] > 0.3
    assert share[1] < 0.6 * share[0]


def test_limits_are_kept():
    limited = {"limits": Limits(size_mb=8.0), "cost": lambda p: Cost(1.0, p["width"] * p["layers"] / 10)}
    rows = simulate(new(), 60, objective)  # many of which are too large
    sampler = new(**limited)
    assert np.mean([sampler.plan.allows(row.params) for row in rows]) < 0.7
    for number in range(60, 80):
        assert sampler.plan.allows(sampler.propose(ProposalRequest(number, rows)).params)


def test_limits_that_nothing_keeps_do_not_hang_it(mixed):
    asked = []
    nothing = {"limits": Limits(size_mb=1.0), "cost": lambda p: asked.append(1) or Cost(1.0, 2.0)}
    assert_legal(SPACE, new(**nothing).propose(ProposalRequest(30, mixed[:30])).params)
    assert 0 < len(asked) < 100


# ---------------------------------------------------------------------- one question, one answer


def test_a_question_asked_twice_has_one_answer_whatever_was_asked_in_between(mixed):
    sampler = new()
    question = ProposalRequest(100, mixed[:100])
    first = sampler.propose(question)
    for other in (
        ProposalRequest(101, mixed[:100]),
        ProposalRequest(100, mixed[:100], attempt=1),
        ProposalRequest(60, mixed[:60]),
    ):
        assert sampler.propose(other) != first
        assert sampler.propose(question) == first
    assert sampler.propose(ProposalRequest(130, mixed[:130])) != first
    assert sampler.propose(question) == first


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize(("history", "space", "seed"), [("mixed", SPACE, 0), ("restarted", SMALL, 3)])
def test_a_sampler_built_anew_goes_on_as_the_old_one_would_at_every_prefix(request, history, space, seed):
    rows = request.getfixturevalue(history)
    for known, row in enumerate(rows):
        answer = new(space, seed=seed).propose(ProposalRequest(known, rows[:known]))
        assert (answer.params, answer.note) == (row.params, row.note)


def test_number_attempt_and_seed_change_the_proposal(mixed):
    answers = [new().propose(ProposalRequest(n, mixed, attempt=a)) for n in (140, 141, 142) for a in (0, 1, 2)]
    answers.append(new(seed=1).propose(ProposalRequest(140, mixed)))
    assert len({json.dumps(answer.params) for answer in answers}) == len(answers)


# ---------------------------------------------------------------------- runs and generations


def test_generations_follow_each_other_and_a_restart_doubles_the_population(restarted):
    drawn = Counter(tuple(row.note["cmaes"]) for row in restarted if row.note)
    runs = [run for run in runs_of(restarted) if run is not None]
    assert max(runs) == 1
    assert runs == sorted(runs)
    first = [drawn[key] for key in sorted(drawn) if key[0] == 0]
    assert first == [8] * len(first)  # 4 + ⌊3 ln 5⌋
    assert len(first) >= 5
    assert drawn[1, 0] == 16


def test_a_run_ends_once_its_real_numbers_have_collapsed():
    variables = Variables(Encoding(SearchSpace.of({"rate": SPACE.specs["rate"]})))
    run = Run(variables, 0, np.array([0.5]), variables.shares(np.empty((0, 1))))
    for generation in range(60):
        run.reseed(generation)
        draws = [run.ask()[0] for _ in range(run.population)]
        run.tell(draws, np.array([1.0 - abs(draw.numbers[0] - 0.3) for draw in draws]))  # each enlarges a front
        if run.over:
            break
    assert run.over
    assert 3 < run.generation < 50
    assert np.ptp([run.ask()[0].numbers[0] for _ in range(50)]) < 0.3


def test_a_run_ends_once_nothing_enlarges_the_front():
    variables = Variables(Encoding(SPACE))
    run = Run(variables, 0, variables.mean(np.empty((0, 8))), variables.shares(np.empty((0, 8))))
    quiet = 0
    while not run.over:
        draws = [run.ask()[0] for _ in range(run.population)]
        run.tell(draws, -np.arange(1.0, 1 + run.population))
        quiet += 1
    assert quiet * run.population >= catcma.STALLED_DRAWS
    assert quiet == max(catcma.STALLED_GENERATIONS, math.ceil(catcma.STALLED_DRAWS / run.population))


def test_all_but_its_own_draws_only_tell_of_the_front(mixed):
    """Enqueued trials and those of another sampler count as start-up does: without a note, or with one that it can't read."""
    others = [None, {"gp": 1}, "x", {"cmaes": [0, 0], "numbers": [0.5], "choices": [0]}, {"cmaes": "?"}]
    others.append({**mixed[30].note, "choices": [99] * len(mixed[30].note["choices"])})
    rows = [row._replace(note=None) for row in mixed[:60]]
    answers = [
        new().propose(ProposalRequest(60, [row._replace(note=note if i > 23 else None) for i, row in enumerate(rows)]))
        for note in others
    ]
    assert answers == [answers[0]] * len(answers)
    assert answers[0].note["cmaes"] == [0, 0]
    assert new().propose(ProposalRequest(60, mixed[:60])).note["cmaes"] == [0, 3]


# ---------------------------------------------------------------------- several workers, revised losses


def test_late_finishers_count_for_the_generation_at_hand():
    rows = simulate_workers(new(), 130, 8)
    late = 0
    told = 0
    sampler = new()
    for known, row in enumerate(rows):
        if row.note is None:
            continue
        generation = sampler.propose(ProposalRequest(row.number, rows[:known])).note["cmaes"][1]
        assert generation == told // 10  # 4 + ⌊3 ln 8⌋
        late += row.note["cmaes"][1] < generation
        told += 1
    assert late > 10
    assert len({tuple(sorted(row.params.items())) for row in rows}) == len(rows)


def test_workers_that_know_the_same_propose_different_points(mixed):
    answers = [new().propose(ProposalRequest(number, mixed[:80])) for number in range(80, 90)]
    assert len({json.dumps(answer.params) for answer in answers}) == 10


def test_after_a_restart_draws_of_the_run_before_are_not_told(restarted):
    began = runs_of(restarted).index(1)
    late = restarted[began - 1]._replace(number=900)  # drawn from the last generation of run 0
    rows = [*restarted[: began + 15], late]
    answer = new(SMALL, seed=3).propose(ProposalRequest(200, rows))
    assert answer.note["cmaes"] == [1, 0]
    assert new(SMALL, seed=3).propose(ProposalRequest(200, [*rows, restarted[began + 15]])).note["cmaes"] == [1, 1]


def revised(rows, every, change):
    """Some were pruned, and something else is expected of them now."""
    pruned = [row._replace(kind=Kind.PRUNED) if i % every == 0 else row for i, row in enumerate(rows)]
    again = [row._replace(losses=change(row.losses)) if row.kind is Kind.PRUNED else row for row in pruned]
    return pruned, again


def test_revised_losses_of_pruned_trials_are_replayed(mixed):
    before, after = revised(mixed, 3, lambda losses: (losses[0] / 2 - 0.25, losses[1] + 1.0, losses[2]))
    sampler = new()
    first = sampler.propose(ProposalRequest(140, before))
    changed = sampler.propose(ProposalRequest(140, after))
    assert changed != first
    assert changed == new().propose(ProposalRequest(140, after))
    assert sampler.propose(ProposalRequest(140, before)) == first


def test_runs_end_where_they_did_although_revised_losses_would_have_them_end_elsewhere(restarted):
    began = runs_of(restarted).index(1)
    # Now nothing after two generations would have been worth anything, and run 0 would have ended earlier.
    worthless = [
        row._replace(kind=Kind.PRUNED, losses=(-0.5, 9.0, 9.0)) if 40 < i < began else row
        for i, row in enumerate(restarted)
    ]
    runs = [new(SMALL, seed=3).propose(ProposalRequest(200, worthless[:n])).note["cmaes"][0] for n in range(100, began)]
    assert runs[:10] != [0] * 10
    assert runs.count(1) < 5  # one more draw of run 0 tells each time that it went on
    assert new(SMALL, seed=3).propose(ProposalRequest(200, worthless[: began + 16])).note["cmaes"] == [1, 1]
    # Now it would have gone on, since in every generation one enlarged the front.
    better = [
        row._replace(kind=Kind.PRUNED, losses=(-0.9 - i / 1e4, 1.0, 1.0)) if 24 <= i < began and i % 4 == 0 else row
        for i, row in enumerate(restarted)
    ]
    assert new(SMALL, seed=3).propose(ProposalRequest(200, better[:began])).note["cmaes"][0] == 0
    assert new(SMALL, seed=3).propose(ProposalRequest(200, better[: began + 1])).note["cmaes"] == [1, 0]
    assert new(SMALL, seed=3).propose(ProposalRequest(200, better[: began + 16])).note["cmaes"] == [1, 1]


def test_draws_from_far_off_do_not_blow_up_the_distribution():
    """As a replay with revised losses meets them: its mean is elsewhere, and its step size too."""
    variables = Variables(Encoding(SPACE))
    run = Run(variables, 0, variables.mean(np.empty((0, 8))), variables.shares(np.empty((0, 8))))
    run.reseed(0)
    before = np.array([run.ask()[0].numbers for _ in range(100)]).std(axis=0)
    draws = [run.ask()[0] for _ in range(run.population)]
    far = [Draw(0, 0, [10.0 * v for v in draw.numbers], draw.choices) for draw in draws]
    run.tell(far, -np.arange(1.0, 1 + run.population))
    after = np.array([run.ask()[0].numbers for _ in range(100)]).std(axis=0)
    assert (after < 4 * before).all()


# ---------------------------------------------------------------------- spaces


def test_with_nothing_to_search_there_is_nothing_to_propose(mixed):
    fixed = SPACE.fixing({**mixed[0].params, "attention": False})
    for startup in (0, 2):
        assert (
            new(fixed, startup=startup).propose(ProposalRequest(5, [Observation(0, {}, (-0.6, 1.0, 1.0))] * 5)).params
            == {}
        )


def test_a_space_that_is_used_up_is_proposed_again():
    """Whether that ends the search is for the study to say."""
    space = SearchSpace.of({"attention": SPACE.specs["attention"]})
    rows = simulate(new(space, startup=2), 12, lambda p: (-0.6 - 0.1 * p["attention"], 1.0, 1.0))
    assert {row.params["attention"] for row in rows} == {False, True}


def test_which_axes_are_which():
    """More than 32 whole numbers are real ones to it, two are a choice, and one is nothing."""
    specs = {
        "many": ParameterSpec("int", IntRange(1, 33)),
        "few": ParameterSpec("int", IntRange(1, 32)),
        "two": ParameterSpec("int", IntRange(7, 8)),
        "one": ParameterSpec("choice", Choices((5,))),
        "flag": ParameterSpec("flag", Choices((False, True))),
        "real": ParameterSpec("float", FloatRange(0.0, 1.0)),
    }
    variables = Variables(Encoding(SearchSpace.of(specs)))
    names = [axis.name for axis in variables.encoding.axes]
    assert [names[i] for i in variables.reals] == ["many", "real"]
    assert [names[i] for i in variables.wholes] == ["few"]
    assert [names[i] for i in variables.choices] == ["two", "flag"]
    assert variables.spaces["c_space"] == [2, 2]
    assert len(variables.spaces["z_space"][0]) == 32


def test_a_start_is_what_its_trials_have_in_common():
    variables = Variables(Encoding(SPACE))
    base = {"rate": 1e-3, "width": 45, "layers": 3, "stages": 1, "activation": "gelu"}
    vectors = variables.encoding.vectors(
        [{**base, "attention": True, "heads": 8, "temperature": 0.9}, {**base, "attention": False, "stages": 2}]
    )
    assert variables.mean(vectors) == pytest.approx([0.5, 0.5, 0.9, 0.5, 15 / 16], abs=0.02)  # reals, then whole ones
    shares = variables.shares(vectors)
    assert shares.tolist() == [[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]
    nothing = np.empty((0, 8))
    assert variables.mean(nothing).tolist() == [0.5] * 5
    assert variables.shares(nothing)[1] == pytest.approx([1 / 3] * 3)
