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
from builders.rehearsal import assert_legal, simulate
from cnn_lstm_hyperopt.config import PARAMETERS
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


def losses_of(params):
    full = with_fixed(SPACE, params)
    rate, width = math.log(float(full["training.learning_rate"])), math.log(int(full["lstm.hidden_dim"]))
    return -0.5 - 0.4 / (1 + (rate + 7) ** 2), width, width / 2


PLAIN = simulate(new("random", seed=99), KNOWN, losses_of)
_PRUNED = {"kind": Kind.PRUNED, "variance": 1e-4}
_OTHER = {2: _PRUNED, 4: _PRUNED, 6: {"kind": Kind.DIVERGED}}
HISTORY = [row._replace(**_OTHER.get(i % 7, {})) for i, row in enumerate(PLAIN)]
"""The same with pruned and diverged trials."""


@pytest.mark.mostly_slow(4)
@every_kind
def test_proposals_are_legal(kind):
    """Active, searched parameters in their domains, of their types; head counts divide their widths."""
    sampler, seen = new(kind), set()
    for number in range(KNOWN, KNOWN + 30):
        params = ask(sampler, number, HISTORY)
        full = with_fixed(SPACE, params)
        assert_legal(SPACE, params)
        assert list(full) == list(SPACE.active(full))
        widths = {key: SPACE.width(key, full) for key in params}
        assert not any(width % int(params[key]) for key, width in widths.items() if width is not None)
        seen |= set(params)
    assert {key for key in SPACE.searched() if not PARAMETERS[key].when} <= seen <= set(SPACE.searched())


@every_kind
def test_the_same_request_has_the_same_answer_and_another_number_attempt_or_seed_another(kind):
    sampler, request = new(kind), ProposalRequest(KNOWN, HISTORY)
    first = sampler.propose(request)
    assert sampler.propose(request) == first
    others = [ask(new(kind, seed=1), KNOWN, HISTORY), first.params]
    others += [ask(sampler, KNOWN + i, HISTORY, attempt) for i in (0, 1, 2) for attempt in (0, 1, 2) if i + attempt]
    assert len({tuple(sorted(params.items())) for params in others}) == 10
    ask(sampler, KNOWN, HISTORY[:20])
    assert sampler.propose(request) == first


@pytest.mark.mostly_slow(3)
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
def test_histories_without_complete_trials_are_no_problem(kind):
    for startup in (0, 1, "auto"):
        assert ask(new(kind, startup=startup), 0)
    for only, variance in ((Kind.PRUNED, 1e-4), (Kind.DIVERGED, 0.0)):
        assert ask(new(kind), KNOWN, [row._replace(kind=only, variance=variance) for row in PLAIN])


@every_kind
@pytest.mark.parametrize("startup", [0, 2, STARTUP])
def test_a_space_of_one_configuration_leaves_nothing_to_propose(kind, startup):
    tree = make_space("tiny").as_dict()
    tree["cnn"]["attention"], tree["lstm"]["num_layers"] = False, 1
    assert ask(new(kind, make_space(tree), startup=startup), 5, [Observation(0, {}, (-0.6, 1.0, 1.0))] * 5) == {}


@every_kind
def test_log_ranges_stay_within_their_bounds(kind):
    """exp(log x) may be slightly beyond x."""
    rate = {"low": 0.1, "high": 0.1000001, "log": True}
    space = {"training": {"learning_rate": rate}, "lstm": {"num_layers": {"low": 1, "high": 2, "log": True}}}
    for row in simulate(new(kind, make_space(space)), 15, lambda p: (-0.6 - p["fusion.dropout"], 1.0, 1.0)):
        assert 0.1 <= row.params["training.learning_rate"] <= 0.1000001
        assert row.params["lstm.num_layers"] in (1, 2)


@pytest.mark.parametrize(("kind", "startup"), [("random", 0), ("tpe", 50), ("nsga2", 50), ("cmaes", 24), ("gp", 12)])
def test_auto_leaves_the_length_of_the_start_to_the_sampler(kind, startup):
    """At most a third of the trials with which the study began."""

    assert new(kind, startup="auto", n_trials=1000).n_startup == startup
    assert new(kind, startup=7, n_trials=9).n_startup == 7
    for changed in ({"n_trials": 30}, {"n_trials": 1000, "begun_with": 30}):
        assert new(kind, startup="auto", **changed).n_startup == min(10, startup)


@pytest.mark.parametrize(("startup", "n_trials", "inactive"), [(6, 7, False), (6, 6, True), (0, 1, False)])
def test_a_sampler_that_never_uses_its_model_is_inactive(startup, n_trials, inactive):
    assert (new("tpe", startup=startup, n_trials=n_trials).inactive_because() is not None) == inactive


@pytest.mark.slow
def test_proposals_do_not_depend_on_the_process():
    """Optuna groups parameters with sets of names, whose order differs between processes."""
    code = f"""
import json
from builders.records import make_plan
from builders.rehearsal import simulate
from cnn_lstm_hyperopt.search import Cost
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
for sampler in {list(KINDS.values())!r}:
    plan = make_plan(sampler={{"n_startup_trials": 5, **sampler}}, cost=lambda params: Cost(1.0, 1.0))
    names = ("training.learning_rate", "fusion.dropout", "cnn.dropout")
    rows = simulate(SAMPLERS[sampler["type"]](plan), 23, lambda params: tuple(-params[name] for name in names))
    print(json.dumps([row.params for row in rows]))
"""
    environment = {"PATH": "", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-W", "ignore", "-c", code]
    one, two = (subprocess.check_output(command, env={**environment, "PYTHONHASHSEED": seed}) for seed in "12")
    assert one == two


@pytest.mark.parametrize("kind", ["tpe", "tpe-multivariate", "cmaes", "nsga2"])
def test_models_are_used_from_exactly_n_startup_trials_on(kind):
    other = [row._replace(losses=tuple(-loss for loss in row.losses)) for row in PLAIN]

    def proposals(rows, startup=STARTUP):
        return [ask(new(kind, startup=startup), number, rows) for number in range(KNOWN, KNOWN + 3)]

    known = STARTUP - 1
    assert proposals(PLAIN[:known]) == proposals(other[:known]) == proposals(PLAIN[:known], startup=1000)
    assert proposals(PLAIN) != proposals(other)
    assert proposals(PLAIN[:STARTUP]) != proposals(PLAIN[:STARTUP], startup=1000)


@both_tpes
def test_tpe_uses_revised_losses(kind):
    revised = [row._replace(losses=(-0.9, *row.losses[1:])) if row.number % 7 == 3 else row for row in PLAIN]
    sampler = new(kind)
    ask(sampler, KNOWN, PLAIN)
    for number in range(KNOWN, KNOWN + 4):
        assert ask(sampler, number, revised) == ask(new(kind), number, revised)


@pytest.mark.mostly_slow(1)
@both_tpes
def test_tpe_concentrates_on_a_good_region(kind):
    """The best learning rate is 1e-3, for every loss; random search is near it in a third of its draws."""
    space = make_space({"training": {"learning_rate": [1e-5, 1e-1]}})

    def share_near(sampler):
        rows = simulate(sampler, 60, lambda p: (abs(math.log10(p["training.learning_rate"]) + 3),) * 3)
        return np.mean([row.losses[0] < 0.67 for row in rows[30:]])

    assert share_near(new("random", space, seed=1)) < 0.5
    assert share_near(new(kind, space, startup=10, seed=1)) > 0.65


LOG_LAYERS = {"lstm": {"num_layers": {"low": 1, "high": 12, "log": True}}}


def draws(space, name, n=1500):
    sampler = new("random", make_space(space), seed=3)
    return [ask(sampler, number)[name] for number in range(n)]


@pytest.mark.parametrize(
    ("name", "raw", "shares"),
    [
        ("training.optimizer", {}, [1] * 4),
        ("lstm.num_layers", {}, [1] * 4),
        ("lstm.num_layers", LOG_LAYERS, [math.log(k + 0.5) - math.log(k - 0.5) for k in range(1, 13)]),
    ],
)
def test_random_choices_and_integers_have_the_share_of_their_unit(name, raw, shares):
    """On a log scale k is [k − ½, k + ½], so both ends have their full share; wrong distributions have p = 1e-20."""
    counts = sorted(Counter(draws(raw, name, n=3000)).items())
    expected = 3000 * np.array(shares) / np.sum(shares)
    assert stats.chisquare([count for _, count in counts], expected).pvalue > 1e-4


@pytest.mark.parametrize(
    ("name", "low", "high", "scale"),
    [("cnn.dropout", 0.1, 0.5, float), ("training.learning_rate", 1e-5, 1e-2, math.log)],
)
def test_random_real_numbers_are_uniform_on_their_scale(name, low, high, scale):
    span = stats.uniform(scale(low), scale(high) - scale(low))
    assert stats.kstest([scale(value) for value in draws({}, name)], span.cdf).pvalue > 1e-4
