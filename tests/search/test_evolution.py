"""The samplers cmaes and nsga2: proposals, determinism, parents, generations and runs."""

import math
from collections import Counter

import numpy as np
import pytest

from builders.errors import raises
from builders.rehearsal import MIXED, assert_legal, finished, mixed_losses, plan_of, simulate, volume
from cnn_lstm_hyperopt.config import SearchSpace
from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, ProposalRequest
from cnn_lstm_hyperopt.search.samplers.cmaes import catcma, internals
from cnn_lstm_hyperopt.search.samplers.cmaes.catcma import Draw, Run, Variables
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.search.samplers.nsga2 import POPULATION
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold

SMALL = MIXED.fixing({"width": 64, "stages": 1, "activation": "relu"})
"""Exhausted within 160 trials, so that runs end."""
STARTUP = {"cmaes": 24, "nsga2": 50}
both = pytest.mark.parametrize("kind", STARTUP)


def new(kind="cmaes", space=MIXED, **changed):
    return SAMPLERS[kind](plan_of(space, kind, **changed))


def ask(sampler, number, history, running=(), attempt=0):
    return sampler.propose(ProposalRequest(number, history, running, attempt))


@pytest.fixture(scope="module")
def histories():
    return {kind: simulate(new(kind), 140, mixed_losses) for kind in STARTUP}


@pytest.fixture(scope="module")
def restarted():
    return simulate(new(space=SMALL, seed=3), 150, mixed_losses)


def began(rows):
    """Place of the first trial of run 1."""
    return next(i for i, row in enumerate(rows) if row.note and row.note["cmaes"][0] == 1)


@pytest.mark.mostly_slow(1)
@both
def test_it_beats_random_search(kind):
    """Median over seeds of the hypervolume after 150 trials; the start is the same."""
    runs = [[simulate(new(each, seed=seed), 150, mixed_losses) for seed in range(5)] for each in (kind, "random")]
    own, random = (np.median([volume(rows) for rows in each]) for each in runs)
    assert own > random + 0.02


@both
def test_impossible_limits_end_after_a_bounded_number_of_draws(histories, kind):
    asked = []
    impossible = {"limits": Limits(size_mb=1.0), "cost": lambda p: asked.append(1) or Cost(1.0, 2.0)}
    assert_legal(MIXED, ask(new(kind, **impossible), 60, histories[kind][:60]).params)
    assert 0 < len(asked) < 100


@pytest.mark.mostly_slow(2)
@pytest.mark.parametrize(("kind", "space", "seed"), [("cmaes", MIXED, 0), ("nsga2", MIXED, 0), ("cmaes", SMALL, 3)])
def test_a_rebuilt_sampler_proposes_the_same_after_any_prefix(histories, restarted, kind, space, seed):
    """Every third; the populations have 8, 10 and 50 members, so that each place in a generation occurs."""
    rows = histories[kind] if space is MIXED else restarted
    for known, row in list(enumerate(rows))[::3]:
        answer = ask(new(kind, space, seed=seed), known, rows[:known])
        assert (answer.params, answer.note) == (row.params, row.note)


@both
def test_revised_losses_of_pruned_trials_are_replayed(histories, kind):
    before = [row._replace(kind=Kind.PRUNED) if i % 3 == 0 else row for i, row in enumerate(histories[kind])]
    other = {row.number: (row.losses[0] / 2 - 0.25, row.losses[1] + 1.0, 9.0) for row in before[::3]}
    after = [row._replace(losses=other.get(row.number, row.losses)) for row in before]
    sampler = new(kind)
    first, changed = ask(sampler, 140, before), ask(sampler, 140, after)
    assert first != changed
    assert changed == ask(new(kind), 140, after)
    assert ask(sampler, 140, before) == first


def test_parents_are_the_best_skilled_trials():
    """Small, fast trials at chance and diverged ones are none, although nothing dominates them."""
    skill = SkillThreshold(0.5, 2000)

    def row(number, accuracy, cost, kind=Kind.COMPLETE):
        params = {"rate": 1e-3, "width": 100 + number, "layers": 2, "stages": 1, "activation": "relu"}
        return Observation(number, {**params, "attention": False}, (-accuracy, cost, cost), kind)

    skilled = [row(k, 0.8 + k / 1000, 5.0) for k in range(POPULATION)]
    others = [row(100 + k, skill.threshold, 0.0) for k in range(20)]
    others += [row(200 + k, 0.9, 0.5, Kind.DIVERGED) for k in range(20)]
    sampler = new("nsga2", startup=0, skill=skill)
    widths = {ask(sampler, number, [*others, *skilled]).params["width"] for number in range(100)}
    inherited = widths & {each.params["width"] for each in [*skilled, *others]}
    assert inherited <= {each.params["width"] for each in skilled}
    assert len(inherited) > 10


def test_generations_follow_each_other_and_a_restart_doubles_the_population(restarted):
    drawn = Counter(tuple(row.note["cmaes"]) for row in restarted if row.note)
    runs = [row.note["cmaes"][0] for row in restarted if row.note]
    assert runs == sorted(runs)
    assert max(runs) == 1
    first = [drawn[key] for key in sorted(drawn) if key[0] == 0]
    assert first == [8] * len(first)  # 4 + ⌊3 ln 5⌋
    assert len(first) >= 5
    assert drawn[1, 0] == 16


def test_a_run_ends_when_its_real_numbers_have_collapsed():
    variables = Variables(Encoding(SearchSpace.of({"rate": MIXED.specs["rate"]})))
    run = Run(variables, 0, np.array([0.5]), variables.shares(np.empty((0, 1))))
    while not run.finished and run.generation < 60:
        run.reseed(run.generation)
        draws = [run.ask()[0] for _ in range(run.population)]
        run.tell(draws, np.array([1.0 - abs(draw.numbers[0] - 0.3) for draw in draws]))  # each enlarges a front
    assert 3 < run.generation < 50
    assert np.ptp([run.ask()[0].numbers[0] for _ in range(50)]) < 0.3


@pytest.fixture
def run():
    variables, nothing = Variables(Encoding(MIXED)), np.empty((0, 8))
    return Run(variables, 0, variables.mean(nothing), variables.shares(nothing))


def test_another_version_of_cmaes_is_refused(histories, monkeypatch):
    monkeypatch.setattr(internals, "version", lambda _: "0.14.0")
    with raises(HyperoptError, "unsupported-version", "cmaes"):
        ask(new(), 60, histories["cmaes"][:60])


def test_a_run_ends_when_nothing_enlarges_the_front(run):
    generations = 0
    while not run.finished:
        run.tell([run.ask()[0] for _ in range(run.population)], -np.arange(1.0, 1 + run.population))
        generations += 1
    assert generations == max(catcma.STALLED_GENERATIONS, math.ceil(catcma.STALLED_DRAWS / run.population))


def test_draws_from_far_away_do_not_blow_up_the_distribution(run):
    """A replay with revised losses meets such draws: its mean and step size are others."""
    run.reseed(0)
    before = np.array([run.ask()[0].numbers for _ in range(100)]).std(axis=0)
    draws = [run.ask()[0] for _ in range(run.population)]
    far = [Draw(0, 0, [10.0 * v for v in draw.numbers], draw.choices) for draw in draws]
    run.tell(far, -np.arange(1.0, 1 + run.population))
    after = np.array([run.ask()[0].numbers for _ in range(100)]).std(axis=0)
    assert (after < 4 * before).all()


def test_trials_of_other_origin_only_update_the_front(histories):
    """Enqueued trials and those of another sampler have no note, or one that cannot be read."""
    mixed = histories["cmaes"]
    notes = [None, {"gp": 1}, "x", {"cmaes": [0, 0], "numbers": [0.5], "choices": [0]}, {"cmaes": "?"}]
    notes.append({**mixed[30].note, "choices": [99] * len(mixed[30].note["choices"])})
    answers = [
        ask(new(), 60, [row._replace(note=note if i > 23 else None) for i, row in enumerate(mixed[:60])])
        for note in notes
    ]
    assert answers == [answers[0]] * len(answers)
    assert answers[0].note["cmaes"] == [0, 0]
    assert ask(new(), 60, mixed[:60]).note["cmaes"] == [0, 3]


def test_late_finishers_count_for_the_current_generation():
    """Eight workers; a random one of the running trials finishes next."""
    random, sampler = np.random.default_rng(0), new()
    rows, running, late, known = [], [], 0, 0
    for number in range(130):
        running.append((number, ask(sampler, number, list(rows), [p.params for _, p in running])))
        if len(running) == 8:
            rows.append(finished(*running.pop(int(random.integers(8))), mixed_losses))
    for place, row in enumerate(rows):
        if row.note is not None:
            generation = ask(sampler, row.number, rows[:place]).note["cmaes"][1]
            assert generation == known // 10  # 4 + ⌊3 ln 8⌋
            late += row.note["cmaes"][1] < generation
            known += 1
    assert late > 10
    assert len({tuple(sorted(row.params.items())) for row in rows}) == len(rows)


def test_after_a_restart_draws_of_the_run_before_do_not_count(restarted):
    start, sampler = began(restarted), new(space=SMALL, seed=3)
    late = restarted[start - 1]._replace(number=900)  # drawn from the last generation of run 0
    rows = [*restarted[: start + 15], late]
    assert ask(sampler, 200, rows).note["cmaes"] == [1, 0]
    assert ask(sampler, 200, [*rows, restarted[start + 15]]).note["cmaes"] == [1, 1]


def test_runs_end_where_they_did_although_revised_losses_would_end_them_elsewhere(restarted):
    start = began(restarted)

    def run_after(rows, n):
        return ask(new(space=SMALL, seed=3), 200, rows[:n]).note["cmaes"]

    def revised(numbers, losses):
        return [r._replace(kind=Kind.PRUNED, losses=losses(i)) if i in numbers else r for i, r in enumerate(restarted)]

    # Nothing after two generations enlarged the front, so run 0 would have ended earlier.
    worthless = revised(range(41, start), lambda _: (-0.5, 9.0, 9.0))
    runs = [run_after(worthless, n)[0] for n in range(100, start)]
    assert runs[:10] != [0] * 10
    assert runs.count(1) < 5  # each further draw of run 0 shows that it continued
    assert run_after(worthless, start + 16) == [1, 1]
    # One trial of each generation enlarged the front, so run 0 would have continued.
    better = revised(range(24, start, 4), lambda i: (-0.9 - i / 1e4, 1.0, 1.0))
    assert run_after(better, start)[0] == 0
    assert [run_after(better, start + more) for more in (1, 16)] == [[1, 0], [1, 1]]
