"""The Gaussian process sampler: its start, its box, its parents, what it stores, and that it finds more than random search."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from cnn_lstm_hyperopt.config import Choices, FloatRange, SearchSpace
from cnn_lstm_hyperopt.errors import StudyFailedError
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pareto import non_dominated
from cnn_lstm_hyperopt.search import Cost, Limits, ProposalRequest, SkillThreshold, State, Study, StudyStorage, optimise
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers import RandomSampler
from cnn_lstm_hyperopt.search.samplers.gp.acquisition import REFERENCE, by_gain, chosen_rows, thin
from cnn_lstm_hyperopt.search.samplers.gp.regression import Hyperparameters
from cnn_lstm_hyperopt.search.samplers.gp.sampler import (
    MAX_GOOD,
    MIN_GOOD,
    ROWS,
    GpSampler,
)
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

SKILL = SkillThreshold(0.5, 2000)  # needs 0.5224


def run(plan, evaluate, workers=1):
    study = Study(StudyStorage.in_memory("x"), plan)
    optimise(study, evaluate, workers=workers)
    return study.records()


# ---------------------------------------------------------------------- the start


def test_where_seconds_are_predicted_the_start_goes_through_the_cheap_end_of_the_space(cheap):
    """From the cheapest on; without a cost to go by it is as random as can be."""
    plan = cheap.plan({"type": "gp", "n_startup_trials": 60}, n_trials=200)
    sampler = GpSampler(plan)
    seconds = [plan.cost(sampler.propose(ProposalRequest(number, [])).params).seconds for number in range(60)]
    random = [
        plan.cost(RandomSampler(plan).propose(ProposalRequest(number, [])).params).seconds for number in range(2000)
    ]
    assert np.median(seconds[:20]) < np.quantile(random, 0.1)
    assert np.median(seconds[:20]) < np.median(seconds[20:40]) < np.median(seconds[40:])
    assert max(seconds) < np.quantile(random, 0.5)
    assert sampler.n_blind == 60
    unpriced = cheap.plan({"type": "gp", "n_startup_trials": 60}, n_trials=200, cheap_cost=False)
    assert GpSampler(unpriced).propose(ProposalRequest(7, [])) == RandomSampler(unpriced).propose(
        ProposalRequest(7, [])
    )


def test_a_refused_proposal_of_the_start_is_followed_by_another_one(cheap):
    sampler = GpSampler(cheap.plan("gp", n_trials=200))
    asked = [sampler.propose(ProposalRequest(3, [], attempt=attempt)).params for attempt in range(6)]
    assert all(a != b for a, b in itertools.combinations(asked, 2))


# ---------------------------------------------------------------------- what it makes of a history


FIELD = SearchSpace.of(
    {
        "size": ParameterSpec("log_float", FloatRange(1.0, 1000.0, log=True)),
        "tuning": ParameterSpec("float", FloatRange(0.0, 1.0)),
    }
)
"""Larger is more accurate, and slower; the tuning is best at one half."""


def losses_of(params):
    missed = abs(params["tuning"] - 0.5)
    accuracy = 0.5 + 0.12 * math.log10(params["size"] + 1) * math.exp(-4 * missed)
    return (-accuracy, math.log(params["size"]), math.log(params["size"]) - 1)


def field_plan(make_plan, **changed):
    defaults = {
        "space": FIELD,
        "sampler": {"type": "gp", "n_startup_trials": 10},
        "skill": SKILL,
        "max_epochs": 10,
        "cost": lambda params: Cost(params["size"], params["size"] / math.e),
    }
    return make_plan(**{**defaults, **changed})


def scattered(n, *, seed):
    """Random configurations of the field."""
    points = np.random.default_rng(seed).uniform([0, 0], [math.log(1000), 1], (n, 2))
    return [{"size": float(np.exp(s)), "tuning": float(t)} for s, t in points]


def rows_of(many, kind=Kind.COMPLETE):
    return [Observation(number, params, losses_of(params), kind) for number, params in enumerate(many)]


def proposed(plan, history, numbers=24, running=()):
    """What it proposes, one number after the other, to the same history."""
    sampler = GpSampler(plan)
    return [sampler.propose(ProposalRequest(number, history, running)).params for number in range(100, 100 + numbers)]


def followed(plan, history, trials=30, losses=losses_of):
    """What it proposes when it is told what became of each."""
    sampler, known = GpSampler(plan), list(history)
    for number in range(100, 100 + trials):
        params, note, *_ = sampler.propose(ProposalRequest(number, known))
        known.append(Observation(number, params, losses(params), note=note))
    return [row.params for row in known[len(history) :]]


def box_of(sampler, history):
    """Lowest losses and range that a history is measured by."""
    rows = sampler._history.rows(history)
    return sampler._box(rows, sampler._costs(rows, sampler._history.predicted_log_seconds(history)))


both_costs = pytest.mark.parametrize("cheap_cost", [True, False])


EVERYWHERE = (0.0, 0.0), (math.log(1000), 1.0)


def random_configurations(seed, n, low=EVERYWHERE[0], high=EVERYWHERE[1]):
    """Of so many ln sizes and tunings."""
    drawn = np.random.default_rng(seed).uniform(low, high, (n, 2))
    return [{"size": float(np.exp(log_size)), "tuning": float(tuning)} for log_size, tuning in drawn]


@pytest.fixture
def small_front():
    """The front is of well-tuned small models; the larger ones that were tried are useful, but badly tuned and beaten."""
    small = random_configurations(1, 20, (math.log(5), 0.42), (math.log(20), 0.58))
    large = random_configurations(2, 20, (math.log(30), 0.85), (math.log(300), 1.0))
    rows = rows_of([*small, *large])
    assert not non_dominated([row.losses for row in rows])[20:].any()
    assert all(SKILL.passes(-row.losses[0]) for row in rows)
    return rows


@both_costs
def test_a_front_of_small_models_does_not_make_larger_ones_worthless(make_plan, small_front, cheap_cost):
    """Measured by the range of the front alone, whatever is larger than its largest lies beyond the reference."""
    plan = field_plan(make_plan, cheap_cost=cheap_cost, n_trials=len(small_front))  # so that they are affordable
    found = followed(plan, small_front)
    larger = [params for params in found if params["size"] > 30]
    assert len(larger) >= 6
    assert max(-losses_of(params)[0] for params in larger) > 0.72  # the best that was known had 0.66
    assert min(params["size"] for params in found) < 5  # at the other end, too


@both_costs
def test_tiny_models_at_chance_attract_nobody(make_plan, cheap_cost):
    """They are the smallest and the fastest that there are, and none of them is beaten."""
    tiny = random_configurations(2, 25, (0.0, 0.0), (0.2, 0.2))
    skilled = random_configurations(3, 15, (math.log(20), 0.3), (math.log(300), 0.7))
    rows = rows_of([*tiny, *skilled])
    assert [SKILL.passes(-row.losses[0]) for row in rows] == [False] * 25 + [True] * 15
    found = followed(field_plan(make_plan, cheap_cost=cheap_cost), rows)
    assert sum(not SKILL.passes(-losses_of(params)[0]) for params in found) <= 8
    assert np.median([params["size"] for params in found]) > 3


def at_chance(params):
    """Readings of one that learns nothing, whatever it is."""
    generator = np.random.default_rng(int(1e6 * params["tuning"]))
    return (-0.5 - 0.01 * generator.random(), *losses_of(params)[1:])


@pytest.fixture
def nothing_learnt():
    """Eight at chance, of all sizes, and twelve pruned before they told a score."""
    many = random_configurations(4, 20)
    rows = [Observation(number, params, at_chance(params)) for number, params in enumerate(many)]
    return [row if row.number < 8 else row._replace(kind=Kind.PRUNED, variance=math.inf) for row in rows]


def test_where_nothing_was_learnt_it_looks_everywhere(make_plan, nothing_learnt):
    """And not at the tiniest, which would be worth most if they had learnt anything."""
    plan = field_plan(make_plan)
    found = followed(plan, nothing_learnt, losses=at_chance)
    assert found == [RandomSampler(plan).propose(ProposalRequest(number, [])).params for number in range(100, 130)]


@pytest.mark.parametrize("skilled", [1, 2, 3])
def test_where_little_was_learnt_some_proposals_are_random(make_plan, nothing_learnt, skilled):
    plan = field_plan(make_plan)
    rows = [*nothing_learnt, *rows_of(random_configurations(5, skilled, (3.0, 0.4), (4.0, 0.6)))]
    asked = [ProposalRequest(number, rows) for number in range(99, 111)]
    as_random = [GpSampler(plan).propose(q).params == RandomSampler(plan).propose(q).params for q in asked]
    assert as_random == [number % 3 >= skilled for number in range(12)]


@both_costs
def test_from_a_start_at_chance_it_finds_what_can_be_learnt(make_plan, nothing_learnt, cheap_cost):
    best = []
    for seed in range(4):
        plan = field_plan(make_plan, cheap_cost=cheap_cost, seed=seed)
        best.append(max(-losses_of(params)[0] for params in followed(plan, nothing_learnt, 60)))
    assert np.median(best) > 0.65  # by the model alone, which looked at the tiniest only, 0.55


def test_one_useful_trial_is_no_range_to_measure_by(make_plan):
    """All others would lie beyond it."""
    one = {"size": 30.0, "tuning": 0.5}
    rows = [
        Observation(0, one, losses_of(one)),
        *(Observation(i + 1, p, at_chance(p)) for i, p in enumerate(random_configurations(6, 20))),
    ]
    sampler = GpSampler(field_plan(make_plan))
    low, width = box_of(sampler, rows)
    z = (np.array([row.losses for row in rows]) - low) / width
    assert ((z[:, 1:] >= 0) & (z[:, 1:] <= 1)).all()
    assert z[0, 0] == 0.0
    assert (z[1:, 0] > REFERENCE).all()


@pytest.mark.parametrize("metric", METRICS)
def test_where_scores_hardly_pass_the_gate_a_small_gain_of_the_metric_is_hoped_for(make_plan, metric):
    skill = SkillThreshold.on(metric, [np.arange(2000) % 2])
    scores = [skill.threshold + share * skill.small_gain for share in (-1.0, 0.1, 0.4)]
    rows = [Observation(i, {"size": 10.0 + i, "tuning": 0.5}, (-score, 1.0 + i, 1.0)) for i, score in enumerate(scores)]
    sampler = GpSampler(field_plan(make_plan, skill=skill))
    low, width = box_of(sampler, rows)
    best = skill.threshold + skill.small_gain
    floor = max(skill.threshold, skill.chance + 0.25 * (best - skill.chance))
    assert low[0] == pytest.approx(-best)
    assert low[0] + REFERENCE * width[0] == pytest.approx(-floor)


def test_running_trials_repel_proposals(make_plan, small_front):
    """What would have been proposed runs already, all but to the last digit: what it will show is no longer to be gained."""
    sampler = GpSampler(field_plan(make_plan))
    moved = []
    for number in range(100, 120):
        first = sampler.propose(ProposalRequest(number, small_front)).params
        twin = {"size": min(first["size"] * 1.001, 1000.0), "tuning": min(first["tuning"] + 1e-4, 1.0)}
        second = sampler.propose(ProposalRequest(number, small_front, [twin])).params
        far = max(
            abs(math.log(first["size"] / second["size"])) / math.log(1000), abs(first["tuning"] - second["tuning"])
        )
        moved.append(far)
    # Not always: only what is expected of a running trial is taken off, and where nobody knows much there is more to hope for.
    assert sum(far > 0.05 for far in moved) >= 5


def test_neither_finished_nor_running_configurations_are_proposed(make_plan):
    space = SearchSpace.of({"size": ParameterSpec("choice", Choices((1.0, 10.0, 100.0, 1000.0, 30.0)))})
    plan = field_plan(make_plan, space=space)
    rows = [
        Observation(i, {"size": size}, losses_of({"size": size, "tuning": 0.5}))
        for i, size in enumerate((1.0, 10.0, 100.0))
    ]
    found = {params["size"] for params in proposed(plan, rows, running=[{"size": 1000.0}])}
    assert found == {30.0}


@pytest.mark.parametrize("kind", [Kind.PRUNED, Kind.DIVERGED])
def test_only_complete_trials_are_measured_by(make_plan, small_front, kind):
    """An accuracy of 0.99 that was only expected is no front that real trials must beat, nor the top of the box."""
    dream = Observation(99, {"size": 9.0, "tuning": 0.5}, (-0.99, *losses_of({"size": 9.0, "tuning": 0.5})[1:]), kind)
    dream = dream._replace(variance={Kind.PRUNED: 1.0, Kind.DIVERGED: 0.0}[kind])
    sampler = GpSampler(field_plan(make_plan))
    boxes, fronts = [], []
    for rows in (sampler._history.rows(small_front), sampler._history.rows([*small_front, dream])):
        boxes.append(sampler._box(rows, sampler._costs(rows, np.zeros(len(rows.losses)))))
        posterior = sampler._posterior(0, rows, np.arange(len(small_front)), Hyperparameters.initial(2), None)
        fronts.append(sampler._front(posterior, rows, *boxes[-1]))
    np.testing.assert_array_equal(boxes[0], boxes[1])
    np.testing.assert_array_equal(fronts[0], fronts[1])


def test_what_is_expected_of_pruned_trials_draws_and_repels(make_plan, small_front):
    """Two kinds of large models were pruned; the better are followed up."""
    better = random_configurations(7, 6, (math.log(150), 0.45), (math.log(250), 0.55))
    worse = random_configurations(8, 6, (math.log(150), 0.1), (math.log(250), 0.2))
    pruned = [
        Observation(200 + i, params, losses_of(params), Kind.PRUNED, 1e-4) for i, params in enumerate(better + worse)
    ]
    plan = field_plan(make_plan, cheap_cost=False)  # so that seconds do not count
    found = [p["tuning"] for p in followed(plan, [*small_front, *pruned]) if p["size"] > 60]
    assert len(found) >= 4
    assert sum(tuning > 0.3 for tuning in found) > 2 * sum(tuning < 0.3 for tuning in found)


# ---------------------------------------------------------------------- costs


def test_what_a_configuration_costs_is_asked_for_and_not_guessed(make_plan, small_front):
    """One tuning makes the network a hundred times as large: no trial has had it, so nobody who guesses can know."""

    def cost(params):
        size = params["size"] * (100.0 if 0.45 < params["tuning"] < 0.5 else 1.0)
        return Cost(size, size / math.e)

    rows = [
        row if not 0.45 < row.params["tuning"] < 0.5 else row._replace(params={**row.params, "tuning": 0.44})
        for row in small_front
    ]

    def trapped(cheap_cost):
        found = proposed(field_plan(make_plan, cost=cost, cheap_cost=cheap_cost), rows, numbers=40)
        return sum(0.45 < params["tuning"] < 0.5 for params in found)

    assert trapped(False) >= 5
    assert trapped(True) <= 1


def test_a_cost_that_is_dear_to_ask_for_is_asked_for_proposals_only(make_plan, small_front):
    asked = []

    def cost(params):
        asked.append(params)
        return Cost(params["size"], params["size"] / math.e)

    limits = Limits(seconds=500.0)
    proposed(field_plan(make_plan, cost=cost, cheap_cost=False, limits=limits), small_front, numbers=10)
    assert 10 <= len(asked) <= 60
    asked.clear()
    proposed(field_plan(make_plan, cost=cost, cheap_cost=True, limits=limits), small_front, numbers=10)
    assert len(asked) > 1000


@both_costs
def test_no_proposal_breaks_a_limit_also_when_the_best_lie_beyond_it(make_plan, small_front, cheap_cost):
    plan = field_plan(make_plan, cheap_cost=cheap_cost, limits=Limits(seconds=25.0))
    found = followed(plan, small_front)
    assert all(plan.allows(params) for params in found)
    assert max(params["size"] for params in found) > 15


def test_a_cost_model_that_is_off_by_a_factor_is_learnt(make_plan):
    """Trials take ten times what was predicted; what is proposed is the same, since everything does."""
    many = scattered(25, seed=4)
    rows = rows_of(many)
    slower = [row._replace(losses=(row.losses[0], row.losses[1] + math.log(10), row.losses[2])) for row in rows]
    plan = field_plan(make_plan)
    found, again = (proposed(plan, history, numbers=6) for history in (rows, slower))
    for a, b in zip(found, again, strict=True):
        assert a["size"] == pytest.approx(b["size"], rel=0.05)


def test_a_gain_is_divided_by_seconds_and_less_and_less_so(make_plan):
    """What is affordable grows from what the cheapest configurations take to what three quarters of them take."""
    sampler = GpSampler(field_plan(make_plan, n_trials=300))
    seconds = np.array([0.01, 1.0, 30.0, 1000.0])
    for done, level in ((0, 0.0), (100, 0.25), (300, 0.75), (900, 0.75)):
        worth = sampler._worth(sampler._typical, np.log(seconds), done)
        affordable = math.exp(level * math.log(1000))  # seconds are the size, even in its logarithm
        np.testing.assert_allclose(worth, 1 / (1 + seconds / affordable), rtol=0.7)
        np.testing.assert_allclose(seconds[-1] * worth[-1], (1 / worth[1] - 1) ** -1, rtol=0.7)


def test_of_equal_gains_that_which_counts_most_is_proposed():
    """And a larger one makes up for it."""
    front = np.array([[0.5, 0.5, 0.5]])
    mean = np.array([[0.4, 0.5, 0.5], [0.4, 0.5, 0.5], [0.2, 0.5, 0.5]])
    sd = np.full((3, 3), 1e-6)
    orders = [
        by_gain(mean, sd, front, np.array(worth), np.random.default_rng(0)).tolist()
        for worth in ([0.9, 1.0, 0.1], [1.0, 0.9, 0.1], [0.9, 1.0, 0.5])
    ]
    assert orders == [[1, 0, 2], [0, 1, 2], [2, 1, 0]]


def test_what_counts_as_dear_is_what_the_space_costs_and_not_what_was_tried(make_plan):
    """After a start of small models a large one is worth something, also where all took twice what was predicted."""
    tried = random_configurations(1, 20, (math.log(1), 0.3), (math.log(20), 0.7))
    slower = (0.0, math.log(2), 0.0)
    rows = [row._replace(losses=tuple(np.add(row.losses, slower))) for row in rows_of(tried)]
    sampler = GpSampler(field_plan(make_plan))
    low, width = box_of(sampler, rows)
    reached = np.quantile(np.log([p["size"] for p in scattered(5000, seed=1)]), 0.75)
    assert low[1] + width[1] == pytest.approx(reached + math.log(2), abs=0.5)
    assert low[2] + width[2] == pytest.approx(reached - 1, abs=0.5)


# ---------------------------------------------------------------------- hyperparameters


def fits(records):
    return {r.number: r.attributes["note"] for r in records if r.attributes.get("note") is not None}


def test_hyperparameters_are_stored_when_the_history_has_grown_by_a_tenth_and_five(cheap):
    plan = cheap.plan({"type": "gp", "n_startup_trials": 12}, n_trials=70)
    noted = fits(run(plan, cheap.evaluate))
    sizes = [note["size"] for note in noted.values()]
    assert next(iter(noted)) == sizes[0] == 12
    for before, after in itertools.pairwise(sizes):
        assert after == math.ceil(1.1 * before + 5)
    for note in noted.values():
        assert [len(lengths) for lengths in note["lengths"]] == [7] * 3
        assert len(note["noise"]) == 3


def test_what_the_model_expects_of_a_trial_is_stored_with_it(cheap):
    """None of the trials of the start; of the others it is about what becomes of them, and a repetition keeps it."""
    records = run(cheap.plan({"type": "gp", "n_startup_trials": 12}, n_trials=90), cheap.evaluate)
    assert all(record.expected_score is None for record in records[:12])
    expected, become = zip(*((r.expected_score, r.values.score) for r in records[40:] if r.expected_score), strict=True)
    assert len(expected) >= 45
    assert np.std(np.subtract(expected, become)) < 0.7 * np.std(become)

    def failing(params, seed):
        if failing.fail:
            raise ArithmeticError("once")
        yield from cheap.evaluate(params, seed)

    failing.fail = False
    plan = cheap.plan({"type": "gp", "n_startup_trials": 12}, n_trials=90)
    study = Study(StudyStorage.in_memory("x"), replace(plan, n_trials=30, begun_with=90))
    optimise(study, failing)
    failing.fail = True
    with pytest.raises(StudyFailedError):
        optimise(Study(study.storage, replace(plan, n_trials=31, begun_with=90)), failing)
    first, *_ = failed = [record for record in study.records() if record.state is State.FAIL]
    again = next(record for record in failed if record.retry_of == first.number)
    assert first.expected_score is not None
    assert again.expected_score == first.expected_score


def test_stored_hyperparameters_are_those_that_are_computed_with(make_plan, small_front):
    """Other ones give other proposals; and with them nothing is fitted, so nothing is to be stored."""
    plan = field_plan(make_plan)
    proposal = GpSampler(plan).propose(ProposalRequest(101, small_front))
    assert proposal.note is not None

    def with_note(note):
        history = [*small_front[:-1], small_front[-1]._replace(note=note)]
        return [GpSampler(plan).propose(ProposalRequest(number, history)) for number in range(101, 113)]

    again = with_note(proposal.note)
    assert again[0].params == proposal.params
    assert all(each.note is None for each in again)
    other = {**proposal.note, "lengths": [[-3.0, -3.0]] * 3, "noise": [-0.1] * 3}
    assert [each.params for each in with_note(other)] != [each.params for each in again]


@pytest.mark.parametrize("note", [None, {"cmaes": [0, 0]}, [1, 2], "text"])
def test_notes_of_other_samplers_are_none_of_its_business(make_plan, small_front, note):
    history = [*small_front[:-1], small_front[-1]._replace(note=note)]
    proposal = GpSampler(field_plan(make_plan)).propose(ProposalRequest(101, history))
    assert proposal == GpSampler(field_plan(make_plan)).propose(ProposalRequest(101, small_front))


# ---------------------------------------------------------------------- parts


def test_parents_are_of_the_front_within_the_box_and_not_diverged(make_plan):
    many = scattered(60, seed=5)
    rows = rows_of(many)
    rows[6:9] = [row._replace(kind=Kind.DIVERGED) for row in rows[6:9]]
    sampler = GpSampler(field_plan(make_plan))
    arrays = sampler._history.rows(rows)
    low, width = box_of(sampler, rows)
    z = (arrays.losses - low) / width
    good = sampler._good(arrays, z)
    assert len(good) == len(set(good)) == min(MAX_GOOD, max(MIN_GOOD, math.ceil(0.15 * 60)))
    assert not set(good) & set(range(6, 9))
    others = np.setdiff1d(np.arange(60), range(6, 9))
    front = {int(others[i]) for i in np.flatnonzero(non_dominated(z[others])) if (z[others[i]] < REFERENCE).all()}
    assert set(good) <= front or front <= set(good)


def test_a_few_rows_are_all_parents(make_plan):
    rows = rows_of([{"size": 10.0, "tuning": 0.5}, {"size": 20.0, "tuning": 0.1}, {"size": 5.0, "tuning": 0.4}])
    sampler = GpSampler(field_plan(make_plan))
    arrays = sampler._history.rows(rows)
    low, width = box_of(sampler, rows)
    assert sampler._good(arrays, (arrays.losses - low) / width).tolist() == [0, 1, 2]


def test_thinning_keeps_the_ends_and_takes_from_crowds():
    x = np.concatenate([np.linspace(0, 0.05, 30), np.linspace(0.1, 1, 10)])
    points = np.column_stack([x, 1 - x, np.zeros(40)])
    left = thin(points, 15)
    assert len(left) == 15
    assert {0, 39} <= set(left)
    assert sum(left >= 30) >= 8
    assert thin(points, 40).tolist() == thin(points, 99).tolist() == list(range(40))


def test_of_a_long_history_all_good_rows_are_seen():
    generator = np.random.default_rng(0)
    good = np.arange(100, 160)
    seen = chosen_rows(1000, good, ROWS, generator)
    assert len(seen) == len(set(seen)) == ROWS
    assert set(good) <= set(seen)
    assert seen.tolist() == sorted(seen)
    assert chosen_rows(ROWS, good, ROWS, generator).tolist() == list(range(ROWS))


def test_candidates_are_ranked_by_what_they_add_and_where_none_does_by_optimism():
    front = np.array([[0.5, 0.5, 0.5]])
    mean = np.array([[0.6, 0.6, 0.6], [0.1, 0.1, 0.1], [0.4, 0.4, 0.4], [0.9, 0.9, 0.9]])
    order = by_gain(mean, np.full((4, 3), 1e-6), front, np.ones(4), np.random.default_rng(0))
    assert order.tolist()[:2] == [1, 2]


def test_where_no_candidate_adds_anything_it_is_by_how_far_they_are_from_it_and_then_by_optimism():
    """Not by their costs: what will not be accurate enough is worth nothing, however small it is."""
    front, generator = np.array([[0.5, 0.5, 0.5]]), np.random.default_rng(0)
    beyond = np.array([[1.5, -9.0, -9.0], [1.3, 0.9, 0.9], [1.4, 0.2, 0.2]])
    assert by_gain(beyond, np.full((3, 3), 0.01), front, np.ones(3), generator).tolist() == [1, 2, 0]
    unsure = np.array([[0.01] * 3, [0.01] * 3, [0.2, 0.0, 0.0]])
    assert by_gain(beyond, unsure, front, np.ones(3), generator).tolist() == [2, 1, 0]
    beaten = np.array([[0.9, 0.9, 0.9], [0.6, 0.6, 0.6], [0.8, 0.8, 0.7]])
    assert by_gain(beaten, np.full((3, 3), 1e-3), front, np.ones(3), generator).tolist() == [1, 2, 0]


# ---------------------------------------------------------------------- what it is for


@pytest.fixture(scope="module")
def volumes(cheap):
    """Hypervolume of the true values of what 60 trials found, by sampler and seed."""
    made = {}

    def of(sampler, pruner, seed):
        if (sampler, pruner, seed) not in made:
            settings = {"type": pruner, "n_startup_trials": 15, "n_warmup_steps": 2}
            plan = cheap.plan(sampler, settings, n_trials=60, seed=seed)
            made[sampler, pruner, seed] = cheap.volume(run(plan, cheap.evaluate))
        return made[sampler, pruner, seed]

    return of


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("pruner", ["none", "front"])
def test_it_finds_more_than_random_search_in_the_same_number_of_trials(volumes, pruner):
    seeds = range(5)
    mine, random = ([volumes(sampler, pruner, seed) for seed in seeds] for sampler in ("gp", "random"))
    assert np.median(mine) > np.median(random) + 0.1
    assert sum(a > b for a, b in zip(mine, random, strict=True)) >= 4


@pytest.mark.slow
def test_two_workers_find_about_as_much_as_one(cheap, volumes):
    """What runs elsewhere is avoided, and what comes back late is learnt from all the same."""
    plan = cheap.plan("gp", n_trials=60)
    two = [cheap.volume(run(replace(plan, seed=seed), cheap.evaluate, workers=2)) for seed in range(5)]
    assert np.median(two) > np.median([volumes("gp", "none", seed) for seed in range(5)]) - 0.05
