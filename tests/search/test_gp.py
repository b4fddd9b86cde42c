"""The sampler gp: start, box, parents, costs, stored hyperparameters, and that it finds more than random search."""

import math
from dataclasses import replace

import numpy as np
import pytest

from builders.records import CHEAP, make_plan
from cnn_lstm_hyperopt.config import Choices, FloatRange, SearchSpace
from cnn_lstm_hyperopt.errors import StudyFailedError
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pareto import non_dominated
from cnn_lstm_hyperopt.search import Cost, ProposalRequest, SkillThreshold, State, Study, StudyStorage, optimise
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers import RandomSampler
from cnn_lstm_hyperopt.search.samplers.gp import acquisition
from cnn_lstm_hyperopt.search.samplers.gp.sampler import GpSampler
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

SKILL = SkillThreshold(0.5, 2000)  # needs 0.5224
FIELD = SearchSpace.of(
    {
        "size": ParameterSpec("log_float", FloatRange(1.0, 1000.0, log=True)),
        "tuning": ParameterSpec("float", FloatRange(0.0, 1.0)),
    }
)
"""Larger is more accurate and slower; the best tuning is 0.5."""
both_costs = pytest.mark.parametrize("cheap_cost", [True, False])


def losses_of(params):
    accuracy = 0.5 + 0.12 * math.log10(params["size"] + 1) * math.exp(-4 * abs(params["tuning"] - 0.5))
    return (-accuracy, math.log(params["size"]), math.log(params["size"]) - 1)


def losses_at_chance(params):
    generator = np.random.default_rng(int(1e6 * params["tuning"]))
    return (-0.5 - 0.01 * generator.random(), *losses_of(params)[1:])


def field_cost(params):
    return Cost(params["size"], params["size"] / math.e)


def field_plan(**changed):
    fields = {"space": FIELD, "sampler": {"type": "gp", "n_startup_trials": 10}, "skill": SKILL, "max_epochs": 10}
    return make_plan(**{**fields, "cost": field_cost, **changed})


def configurations(seed, n, low=(0.0, 0.0), high=(6.907, 1.0)):
    """Random configurations; bounds are (ln size, tuning)."""
    drawn = np.random.default_rng(seed).uniform(low, high, (n, 2))
    return [{"size": float(np.exp(log_size)), "tuning": float(tuning)} for log_size, tuning in drawn]


def rows_of(many, kind=Kind.COMPLETE, first=0):
    return [Observation(first + number, params, losses_of(params), kind) for number, params in enumerate(many)]


def followed(plan, history, trials=30, losses=losses_of):
    """Proposals when the result of each is known to the next."""
    sampler, rows = GpSampler(plan), list(history)
    for number in range(100, 100 + trials):
        params, note, *_ = sampler.propose(ProposalRequest(number, rows))
        rows.append(Observation(number, params, losses(params), note=note))
    return [row.params for row in rows[len(history) :]]


def run(plan, evaluate):
    study = Study(StudyStorage.in_memory("x"), plan)
    optimise(study, evaluate)
    return study.records()


@pytest.fixture
def small_front():
    """Well-tuned small models are the front; larger ones are skilled, but badly tuned and dominated."""
    small = configurations(1, 20, (math.log(5), 0.42), (math.log(20), 0.58))
    rows = rows_of([*small, *configurations(2, 20, (math.log(30), 0.85), (math.log(300), 1.0))])
    assert not non_dominated([row.losses for row in rows])[20:].any()
    assert all(SKILL.passes(-row.losses[0]) for row in rows)
    return rows


@pytest.fixture
def nothing_learnt():
    """Eight trials at chance, of all sizes, and twelve pruned before the first score."""
    rows = [Observation(number, each, losses_at_chance(each)) for number, each in enumerate(configurations(4, 20))]
    return [row if row.number < 8 else row._replace(kind=Kind.PRUNED, variance=math.inf) for row in rows]


def test_with_predicted_seconds_the_start_goes_through_the_cheap_end_of_the_space():
    plan = CHEAP.plan({"type": "gp", "n_startup_trials": 60}, n_trials=200)
    sampler, random = GpSampler(plan), RandomSampler(plan)
    seconds = [plan.cost(sampler.propose(ProposalRequest(number, [])).params).seconds for number in range(60)]
    usual = [plan.cost(random.propose(ProposalRequest(number, [])).params).seconds for number in range(2000)]
    assert np.median(seconds[:20]) < np.quantile(usual, 0.1)
    assert np.median(seconds[:20]) < np.median(seconds[20:40]) < np.median(seconds[40:])
    assert max(seconds) < np.quantile(usual, 0.5)
    assert sampler.n_blind == 60
    unpriced, request = replace(plan, cheap_cost=False), ProposalRequest(7, [])
    assert GpSampler(unpriced).propose(request) == RandomSampler(unpriced).propose(request)


@both_costs
def test_a_front_of_small_models_does_not_make_larger_ones_worthless(small_front, cheap_cost):
    found = followed(field_plan(cheap_cost=cheap_cost, n_trials=len(small_front)), small_front)
    larger = [params for params in found if params["size"] > 30]
    assert len(larger) >= 6
    assert max(-losses_of(params)[0] for params in larger) > 0.72  # the best in the history has 0.66
    assert min(params["size"] for params in found) < 5


@both_costs
def test_tiny_models_at_chance_do_not_attract_proposals(cheap_cost):
    """They are the smallest and fastest, and non-dominated."""
    skilled = configurations(3, 15, (math.log(20), 0.3), (math.log(300), 0.7))
    rows = rows_of([*configurations(2, 25, (0.0, 0.0), (0.2, 0.2)), *skilled])
    assert [SKILL.passes(-row.losses[0]) for row in rows] == [False] * 25 + [True] * 15
    found = followed(field_plan(cheap_cost=cheap_cost), rows)
    assert sum(not SKILL.passes(-losses_of(params)[0]) for params in found) <= 8
    assert np.median([params["size"] for params in found]) > 3


@pytest.mark.parametrize("skilled", [0, 1, 2, 3])
def test_with_few_skilled_trials_some_proposals_are_random(nothing_learnt, skilled):
    plan = field_plan()
    rows = [*nothing_learnt, *rows_of(configurations(5, skilled, (3.0, 0.4), (4.0, 0.6)))]
    requests = [ProposalRequest(number, rows) for number in range(99, 111)]
    as_random = [GpSampler(plan).propose(q).params == RandomSampler(plan).propose(q).params for q in requests]
    assert as_random == [number % 3 >= skilled for number in range(12)]


@both_costs
def test_from_a_start_at_chance_it_finds_skill(nothing_learnt, cheap_cost):
    plans = [field_plan(cheap_cost=cheap_cost, seed=seed) for seed in range(4)]
    best = [max(-losses_of(each)[0] for each in followed(plan, nothing_learnt, 60)) for plan in plans]
    assert np.median(best) > 0.65  # by the model alone 0.55


@pytest.mark.parametrize("metric", METRICS)
def test_if_scores_hardly_pass_the_threshold_the_box_has_a_small_gain_of_the_metric(metric):
    skill = SkillThreshold.on(metric, [np.arange(2000) % 2])
    scores = [skill.threshold + share * skill.small_gain for share in (-1.0, 0.1, 0.4)]
    params = [{"size": 10.0 + i, "tuning": 0.5} for i in range(3)]
    history = [Observation(i, params[i], (-score, 1.0 + i, 1.0)) for i, score in enumerate(scores)]
    sampler = GpSampler(field_plan(skill=skill))
    rows = sampler._history.rows(history)
    low, width = sampler._box(rows, sampler._costs(rows, sampler._history.predicted_log_seconds(history)))
    best = skill.threshold + skill.small_gain
    floor = max(skill.threshold, skill.chance + 0.25 * (best - skill.chance))
    assert (low[0], low[0] + acquisition.REFERENCE * width[0]) == (pytest.approx(-best), pytest.approx(-floor))


def test_running_trials_repel_proposals(small_front):
    """A twin of the proposal runs already, so its gain is not available any more."""
    sampler, far = GpSampler(field_plan()), 0
    for number in range(100, 120):
        first = sampler.propose(ProposalRequest(number, small_front)).params
        twin = {"size": min(first["size"] * 1.001, 1000.0), "tuning": min(first["tuning"] + 1e-4, 1.0)}
        second = sampler.propose(ProposalRequest(number, small_front, [twin])).params
        moved = abs(math.log(first["size"] / second["size"])) / math.log(1000)
        far += max(moved, abs(first["tuning"] - second["tuning"])) > 0.05
    assert far >= 5  # not always: only the expected result is subtracted


def test_neither_finished_nor_running_configurations_are_proposed():
    space = SearchSpace.of({"size": ParameterSpec("choice", Choices((1.0, 10.0, 100.0, 1000.0, 30.0)))})
    rows = [Observation(i, {"size": 10.0**i}, losses_of({"size": 10.0**i, "tuning": 0.5})) for i in range(3)]
    sampler = GpSampler(field_plan(space=space))
    for number in range(100, 124):
        assert sampler.propose(ProposalRequest(number, rows, [{"size": 1000.0}])).params == {"size": 30.0}


def test_expected_losses_of_pruned_trials_attract_and_repel_proposals(small_front):
    """Large models of two tunings were pruned; the better tuning is followed up."""
    better = configurations(7, 6, (math.log(150), 0.45), (math.log(250), 0.55))
    worse = configurations(8, 6, (math.log(150), 0.1), (math.log(250), 0.2))
    pruned = [row._replace(variance=1e-4) for row in rows_of(better + worse, Kind.PRUNED, first=200)]
    found = followed(field_plan(cheap_cost=False), [*small_front, *pruned])
    tunings = [params["tuning"] for params in found if params["size"] > 60]
    assert len(tunings) >= 4
    assert sum(tuning > 0.3 for tuning in tunings) > 2 * sum(tuning < 0.3 for tuning in tunings)


def test_predicted_costs_are_used_and_not_extrapolated(small_front):
    """Models of one tuning, which no trial had, are a hundred times as large."""

    def is_trap(params):
        return 0.45 < params["tuning"] < 0.5

    def cost(params):
        return field_cost({"size": params["size"] * (100.0 if is_trap(params) else 1.0)})

    def traps(cheap_cost):
        sampler = GpSampler(field_plan(cost=cost, cheap_cost=cheap_cost))
        return sum(is_trap(sampler.propose(ProposalRequest(number, rows)).params) for number in range(100, 140))

    rows = [row._replace(params={**row.params, "tuning": 0.44}) if is_trap(row.params) else row for row in small_front]
    assert traps(cheap_cost=False) >= 5
    assert traps(cheap_cost=True) <= 1


def test_the_discount_of_a_gain_in_closed_form():
    log_seconds, typical = np.log([1.0, 3.0, 9.0]), np.log([1.0, 2.0, 3.0, 4.0, 5.0])
    for quantile, affordable in ((0.0, 1.0), (0.5, 3.0), (1.0, 5.0)):
        expected = 1 / (1 + np.exp(log_seconds) / affordable)
        np.testing.assert_allclose(acquisition.cost_discount(log_seconds, typical, quantile), expected)


def test_hyperparameters_are_stored_when_the_history_has_grown_by_a_tenth_and_five():
    records = run(CHEAP.plan({"type": "gp", "n_startup_trials": 12}, n_trials=70), CHEAP.evaluate)
    notes = {r.number: r.attributes["note"] for r in records if r.attributes.get("note") is not None}
    sizes = [note["size"] for note in notes.values()]
    assert next(iter(notes)) == sizes[0] == 12
    assert sizes[1:] == [math.ceil(1.1 * before + 5) for before in sizes[:-1]]
    assert {(*map(len, note["lengths"]), len(note["noise"])) for note in notes.values()} == {(7, 7, 7, 3)}


def test_the_predicted_score_is_stored_with_the_trial_and_its_repetition():
    plan = CHEAP.plan({"type": "gp", "n_startup_trials": 12}, n_trials=90)
    records = run(plan, CHEAP.evaluate)
    assert all(record.expected_score is None for record in records[:12])
    pairs = [(r.expected_score, r.values.score) for r in records[40:] if r.expected_score]
    assert len(pairs) >= 45
    assert np.std([a - b for a, b in pairs]) < 0.7 * np.std([b for _, b in pairs])

    def failing(params, seed):
        return (1 / 0 for _ in range(1))

    study = Study(StudyStorage.in_memory("x"), replace(plan, n_trials=30, begun_with=90))
    optimise(study, CHEAP.evaluate)
    with pytest.raises(StudyFailedError):
        optimise(Study(study.storage, replace(plan, n_trials=31, begun_with=90)), failing)
    first, *_ = failed = [record for record in study.records() if record.state is State.FAIL]
    again = next(record for record in failed if record.retry_of == first.number)
    assert again.expected_score == first.expected_score is not None


def test_stored_hyperparameters_are_used_and_notes_of_other_samplers_ignored(small_front):
    """Without a new fit there is nothing to store; other hyperparameters give other proposals."""

    def with_note(note, numbers=range(101, 102)):
        history = [*small_front[:-1], small_front[-1]._replace(note=note)]
        return [GpSampler(field_plan()).propose(ProposalRequest(number, history)) for number in numbers]

    (proposal,) = with_note(None)
    assert proposal.note is not None
    assert [with_note(note) for note in ({"cmaes": [0, 0]}, [1, 2], "text")] == [[proposal]] * 3
    many = range(101, 113)
    again = with_note(proposal.note, many)
    assert again[0].params == proposal.params
    assert all(each.note is None for each in again)
    other = {**proposal.note, "lengths": [[-3.0, -3.0]] * 3, "noise": [-0.1] * 3}
    assert [each.params for each in with_note(other, many)] != [each.params for each in again]


@pytest.mark.parametrize("n", [3, 60, 500])
def test_parents_are_the_front_within_the_box_and_not_diverged(n):
    generator = np.random.default_rng(5)
    z, diverged = generator.uniform(0, 1.5, (n, 3)), np.arange(n) % 20 == 7
    found = acquisition.parents(z, diverged)
    assert (
        len(found)
        == len(set(found))
        == min((~diverged).sum(), acquisition.MAX_GOOD, max(acquisition.MIN_GOOD, math.ceil(0.15 * n)))
    )
    others = np.flatnonzero(~diverged)
    front = {int(i) for i in others[non_dominated(z[others])] if (z[i] < acquisition.REFERENCE).all()}
    assert set(found) <= set(others)
    assert set(found) <= front or front <= set(found)


def test_rows_beside_the_front_are_the_nearest_to_it():
    """Of a front of one point, the distance of a dominated row is its smallest difference (by hand)."""
    generator = np.random.default_rng(5)
    z = np.vstack([np.full(3, 0.05), generator.uniform(0.1, 1.0, (299, 3))])
    nearest = np.argsort((z - z[0]).min(axis=1))[:45]
    assert set(acquisition.parents(z, np.zeros(300, dtype=bool))) == set(nearest)


def test_a_crowded_front_is_thinned_where_it_is_crowded():
    """Half of a line of 80 points lie within its first tenth."""
    share = np.concatenate([np.linspace(0, 0.1, 40), np.linspace(0.11, 1, 40)])
    found = acquisition.thin(np.column_stack([share, 1 - share, np.zeros(80)]), 40)
    assert len(set(found)) == 40
    assert {0, 79} <= set(found)
    assert (found < 40).sum() < 10
    rows = acquisition.subsample(80, found, 50, np.random.default_rng(0))
    assert (len(set(rows)), set(found) <= set(rows)) == (50, True)


def test_the_rows_nearest_to_the_front_are_those_of_a_brute_force_search():
    z = np.random.default_rng(9).uniform(0, 1.3, (200, 3)).round(2)
    inside = [i for i in range(200) if max(z[i, 1:]) < acquisition.REFERENCE]
    distance = {i: max(z[i, 0] - z[j, 0] for j in inside if (z[j, 1:] <= z[i, 1:]).all()) for i in inside}
    expected = sorted(inside, key=lambda i: (distance[i], i))[:60]
    assert acquisition.nearest_to_front(z, 60).tolist() == sorted(expected)
    assert acquisition.nearest_to_front(z, 200).tolist() == inside


NO_GAIN = [[1.5, -9.0, -9.0], [1.3, 0.9, 0.9], [1.4, 0.2, 0.2]]
GAINS = [[0.4, 0.5, 0.5], [0.4, 0.5, 0.5], [0.2, 0.5, 0.5]]


@pytest.mark.parametrize(
    ("mean", "sd", "discount", "expected"),
    [
        ([[0.6] * 3, [0.1] * 3, [0.4] * 3, [0.9] * 3], 1e-6, [1, 1, 1, 1], [1, 2]),
        (GAINS, 1e-6, [0.9, 1.0, 0.1], [1, 0, 2]),
        (GAINS, 1e-6, [0.9, 1.0, 0.5], [2, 1, 0]),
        (NO_GAIN, 0.01, [1, 1, 1], [1, 2, 0]),  # by distance from the box
        (NO_GAIN, [[0.01] * 3, [0.01] * 3, [0.2, 0, 0]], [1, 1, 1], [2, 1, 0]),  # then by optimistic losses
        ([[0.9, 0.9, 0.9], [0.6, 0.6, 0.6], [0.8, 0.8, 0.7]], 1e-3, [1, 1, 1], [1, 2, 0]),
    ],
)
def test_candidates_are_ranked_by_discounted_gain(mean, sd, discount, expected):
    front, generator = np.array([[0.5, 0.5, 0.5]]), np.random.default_rng(0)
    mean = np.array(mean)
    order = acquisition.ranked_by_gain(mean, np.broadcast_to(sd, mean.shape), front, np.array(discount), generator)
    assert order[: len(expected)].tolist() == expected


def volume(sampler, pruner, seed):
    """Hypervolume of the true values of 60 trials."""
    settings = {"type": pruner, "n_startup_trials": 15, "n_warmup_steps": 2}
    return CHEAP.volume(run(CHEAP.plan(sampler, settings, n_trials=60, seed=seed), CHEAP.evaluate))


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("pruner", ["none", "front"])
def test_it_finds_more_than_random_search_in_the_same_number_of_trials(pruner):
    gp, random = ([volume(sampler, pruner, seed) for seed in range(5)] for sampler in ("gp", "random"))
    assert np.median(gp) > np.median(random) + 0.1
    assert sum(a > b for a, b in zip(gp, random, strict=True)) >= 4
