"""Contract of every sampler in the full space; then TPE and random search."""

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from builders.records import make_plan, make_space
from cnn_lstm_hyperopt.config import PARAMETERS, Fixed
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, ProposalRequest

STARTUP, KNOWN = 6, 35
KINDS = {**{name: {"type": name} for name in SAMPLERS}, "tpe-multivariate": {"type": "tpe", "multivariate": True}}
SPACE = make_space("whole")
every_kind = pytest.mark.parametrize("kind", KINDS)
both_tpes = pytest.mark.parametrize("kind", ["tpe", "tpe-multivariate"])


def new(kind, space=SPACE, *, startup=STARTUP, **changed):
    sampler = {"n_startup_trials": startup, **KINDS[kind]}
    return SAMPLERS[KINDS[kind]["type"]](make_plan(space, sampler=sampler, **changed))


def ask(sampler, number, history=(), attempt=0):
    return sampler.propose(ProposalRequest(number, history, (), attempt)).params


def complete(space, n):
    """Random configurations whose losses depend on their parameters."""
    source, rows = new("random", space, seed=99), []
    for number in range(n):
        params = ask(source, number)
        full = with_fixed(space, params)
        rate, width = math.log(float(full["training.learning_rate"])), int(full["lstm.hidden_dim"])
        losses = (-0.5 - 0.4 / (1 + (rate + 7) ** 2), math.log(width), math.log(width) / 2)
        rows.append(Observation(number, params, losses))
    return rows


PLAIN = complete(SPACE, KNOWN)
_KINDS = [Kind.COMPLETE, Kind.COMPLETE, Kind.PRUNED, Kind.COMPLETE, Kind.PRUNED, Kind.COMPLETE, Kind.DIVERGED]
HISTORY = [
    row._replace(kind=_KINDS[i % 7], variance=1e-4 if _KINDS[i % 7] is Kind.PRUNED else 0.0)
    for i, row in enumerate(PLAIN)
]
"""The same with pruned and diverged trials."""


@pytest.mark.mostly_slow(4)
@every_kind
def test_proposals_are_legal(kind):
    """Active, searched parameters in their domains, of their types; head counts divide their widths."""
    sampler, seen = new(kind), set()
    types = {"flag": bool, "int": int, "float": float, "log_float": float, "sizes": str}
    for number in range(KNOWN, KNOWN + 30):
        params = ask(sampler, number, HISTORY)
        full = with_fixed(SPACE, params)
        for key, value in params.items():
            spec, width = PARAMETERS[key], SPACE.width(key, full)
            assert SPACE.domains[key].contains(value)
            assert not isinstance(SPACE.domains[key], Fixed)
            assert type(value) is (str if spec.options else types.get(spec.kind, int))
            assert width is None or width % int(value) == 0
        assert list(full) == list(SPACE.active(full))
        assert set(params) == {key for key in full if key in SPACE.searched()}
        for key, spec in PARAMETERS.items():
            assert (key in full) == all(full.get(parent) in values for parent, values in spec.when.items())
        seen |= set(params)
    assert {key for key in SPACE.searched() if not PARAMETERS[key].when} <= seen <= set(SPACE.searched())


@every_kind
def test_the_same_request_has_the_same_answer(kind):
    sampler, request = new(kind), ProposalRequest(KNOWN, HISTORY)
    first = sampler.propose(request)
    assert sampler.propose(request) == first
    for other in (ProposalRequest(KNOWN, HISTORY, attempt=1), ProposalRequest(KNOWN + 1, HISTORY)):
        assert sampler.propose(other) != first
    ask(sampler, KNOWN, HISTORY[:20])
    assert sampler.propose(request) == first


@pytest.mark.mostly_slow(4)
@every_kind
def test_a_rebuilt_sampler_proposes_the_same(kind):
    """Resume: the old one had a request for every trial, with rejections; the new one gets all history at once."""
    old = new(kind)
    for known in range(len(HISTORY)):
        for attempt in range(1 + known % 3):
            ask(old, known, HISTORY[:known], attempt)
    for number in (KNOWN, KNOWN + 1):
        for attempt in (0, 1):
            request = ProposalRequest(number, HISTORY, (), attempt)
            assert new(kind).propose(request) == old.propose(request)


@every_kind
def test_number_attempt_and_seed_change_the_proposal(kind):
    sampler, numbers = new(kind), range(KNOWN, KNOWN + 3)
    proposals = [ask(sampler, number, HISTORY, attempt) for number in numbers for attempt in (0, 1, 2)]
    proposals.append(ask(new(kind, seed=1), KNOWN, HISTORY))
    assert len({tuple(sorted(p.items())) for p in proposals}) == len(proposals)


@every_kind
def test_histories_without_complete_trials_are_no_problem(kind):
    for startup in (0, 1, "auto"):
        assert ask(new(kind, startup=startup), 0)
    for only, variance in ((Kind.PRUNED, 1e-4), (Kind.DIVERGED, 0.0)):
        assert ask(new(kind), KNOWN, [row._replace(kind=only, variance=variance) for row in PLAIN])


@every_kind
def test_a_space_of_one_configuration_leaves_nothing_to_propose(kind):
    tree = make_space("tiny").as_dict()
    tree["cnn"]["attention"], tree["lstm"]["num_layers"] = False, 1
    assert ask(new(kind, make_space(tree)), 0) == {}


@every_kind
def test_log_ranges_stay_within_their_bounds(kind):
    """exp(log x) may be slightly beyond x."""
    rate = {"low": 0.1, "high": 0.1000001, "log": True}
    space = {"training": {"learning_rate": rate}, "lstm": {"num_layers": {"low": 1, "high": 2, "log": True}}}
    sampler, rows = new(kind, make_space(space)), []
    for number in range(15):
        params = ask(sampler, number, rows)
        assert 0.1 <= params["training.learning_rate"] <= 0.1000001
        assert params["lstm.num_layers"] in (1, 2)
        rows.append(Observation(number, params, (-0.6 - number / 100, float(number), 1.0)))


@pytest.mark.parametrize(("kind", "startup"), [("random", 0), ("tpe", 50), ("nsga2", 50), ("cmaes", 24), ("gp", 12)])
def test_auto_leaves_the_length_of_the_start_to_the_sampler(kind, startup):
    """At most a third of the trials with which the study began."""

    def n_startup(given, **changed):
        return new(kind, startup=given, **changed).n_startup

    assert n_startup("auto", n_trials=1000) == startup
    assert n_startup(7, n_trials=1000) == n_startup(7, n_trials=9) == 7
    assert n_startup("auto", n_trials=30) == n_startup("auto", n_trials=1000, begun_with=30) == min(10, startup)


@pytest.mark.parametrize(
    ("startup", "n_trials", "inactive"), [(6, 7, False), (6, 6, True), (6, 5, True), (0, 1, False)]
)
def test_a_sampler_that_never_uses_its_model_is_inactive(startup, n_trials, inactive):
    assert (new("tpe", startup=startup, n_trials=n_trials).inactive_because() is not None) == inactive


def test_proposals_do_not_depend_on_the_process():
    """Optuna groups parameters with sets of names, whose order differs between processes."""
    code = f"""
import json
from builders.records import make_plan
from cnn_lstm_hyperopt.search import Cost, ProposalRequest
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from cnn_lstm_hyperopt.search.observations import Observation
def new(**settings):
    return SAMPLERS[settings["type"]](make_plan(sampler=settings, cost=lambda params: Cost(1.0, 1.0)))
source = new(type="random")
rows = [Observation(n, source.propose(ProposalRequest(n, [])).params, (-n % 7.0, n % 5.0, n % 3.0)) for n in range(20)]
models = [new(**{{"n_startup_trials": 5, **settings}}) for settings in {list(KINDS.values())!r}]
print(json.dumps([model.propose(ProposalRequest(n, rows)) for model in models for n in range(20, 23)]))
"""
    answers = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": "", "PYTHONPATH": str(Path(__file__).parents[1])},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


@both_tpes
def test_tpe_models_from_exactly_n_startup_trials_on(kind):
    other = [row._replace(losses=tuple(-loss for loss in row.losses)) for row in PLAIN]
    never, model, numbers = new(kind, startup=1000), new(kind), range(KNOWN, KNOWN + 6)

    def differ(one, two):
        return any(ask(*one(number)) != ask(*two(number)) for number in numbers)

    for known in (0, STARTUP - 1):
        assert not differ(lambda n, k=known: (model, n, PLAIN[:k]), lambda n, k=known: (model, n, other[:k]))
    assert differ(lambda n: (model, n, PLAIN), lambda n: (model, n, other))
    assert not differ(lambda n: (model, n, PLAIN[: STARTUP - 1]), lambda n: (never, n, PLAIN[: STARTUP - 1]))
    assert differ(lambda n: (model, n, PLAIN[:STARTUP]), lambda n: (never, n, PLAIN[:STARTUP]))


@both_tpes
def test_tpe_uses_revised_losses(kind):
    revised = [row._replace(losses=(-0.9, *row.losses[1:])) if row.number % 7 == 3 else row for row in PLAIN]
    sampler = new(kind)
    ask(sampler, KNOWN, PLAIN)
    for number in range(KNOWN, KNOWN + 4):
        assert ask(sampler, number, revised) == ask(new(kind), number, revised)


@both_tpes
def test_tpe_concentrates_on_a_good_region(kind):
    """The losses depend on the learning rate alone, with an optimum of 1e-3; random search is near it in a third of its draws."""
    space = make_space({"training": {"learning_rate": [1e-5, 1e-1]}})

    def share_near(sampler):
        rows = []
        for number in range(60):
            params = ask(sampler, number, rows)
            distance = abs(math.log10(float(params["training.learning_rate"])) + 3)
            rows.append(Observation(number, params, (distance,) * 3))
        return np.mean([row.losses[0] < 0.67 for row in rows[30:]])

    assert share_near(new("random", space, seed=1)) < 0.5
    assert share_near(new(kind, space, startup=10, seed=1)) > 0.65


def draws(space, name, n=1500):
    sampler = new("random", make_space(space), seed=3)
    values = [ask(sampler, number).get(name) for number in range(n)]
    return [value for value in values if value is not None]


def chi_square(counts, expected):
    """Return p of the counts; wrong distributions have 1e-20."""
    return stats.chisquare(counts, np.asarray(expected) / np.sum(expected) * np.sum(counts)).pvalue


@pytest.mark.parametrize(
    ("name", "n_values"),
    [("training.optimizer", 4), ("cnn.residual", 2), ("lstm.num_layers", 4), ("lstm.hidden_dim", 5)],
)
def test_random_choices_and_integers_are_uniform(name, n_values):
    counts = Counter(draws({}, name))
    assert len(counts) == n_values
    assert chi_square(list(counts.values()), np.ones(n_values)) > 1e-4


@pytest.mark.parametrize(
    ("name", "low", "high", "scale"),
    [("cnn.dropout", 0.1, 0.5, float), ("training.learning_rate", 1e-5, 1e-2, math.log)],
)
def test_random_real_numbers_are_uniform_on_their_scale(name, low, high, scale):
    span = stats.uniform(scale(low), scale(high) - scale(low))
    assert stats.kstest([scale(value) for value in draws({}, name)], span.cdf).pvalue > 1e-4


def test_random_integers_of_a_log_range_have_the_share_of_their_unit():
    """k stands for [k − ½, k + ½] on the log scale, so both ends have their full share."""
    counts = Counter(draws({"lstm": {"num_layers": {"low": 1, "high": 12, "log": True}}}, "lstm.num_layers", n=3000))
    expected = [math.log(k + 0.5) - math.log(k - 0.5) for k in range(1, 13)]
    assert chi_square([counts[k] for k in range(1, 13)], expected) > 1e-4
