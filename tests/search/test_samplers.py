"""What holds of every sampler in the whole space, then what random search and TPE do by themselves."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from cnn_lstm_hyperopt.config import PARAMETERS, Fixed
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, ProposalRequest

STARTUP, KNOWN = 6, 35
KINDS = {
    **{name: {"type": name} for name in SAMPLERS},
    "tpe-multivariate": {"type": "tpe", "multivariate": True},
}
every_kind = pytest.mark.parametrize("kind", KINDS)
both_tpes = pytest.mark.parametrize("kind", ["tpe", "tpe-multivariate"])


@pytest.fixture(scope="module")
def new(make_plan):
    """A sampler of a kind, of a plan of its own."""

    def make(kind, space, *, startup=STARTUP, seed=0, **changed):
        sampler = {"n_startup_trials": startup, **KINDS[kind]}
        return SAMPLERS[KINDS[kind]["type"]](make_plan(space, sampler=sampler, seed=seed, **changed))

    return make


def ask(sampler, number, history=(), attempt=0):
    """The parameters that it proposes."""
    return sampler.propose(ProposalRequest(number, history, (), attempt)).params


@pytest.fixture(scope="module")
def space(make_space):
    return make_space("whole")


@pytest.fixture(scope="module")
def finished(new):
    """Random configurations of a space whose losses depend on their parameters, all COMPLETE."""

    def make(space, n):
        source, rows = new("random", space, seed=99), []
        for number in range(n):
            params = ask(source, number)
            whole = with_fixed(space, params)
            rate, width = math.log(float(whole["training.learning_rate"])), int(whole["lstm.hidden_dim"])
            losses = (-0.5 - 0.4 / (1 + (rate + 7) ** 2), math.log(width), math.log(width) / 2)
            rows.append(Observation(number, params, losses))
        return rows

    return make


@pytest.fixture(scope="module")
def plain(finished, space):
    return finished(space, KNOWN)


@pytest.fixture(scope="module")
def history(plain):
    """The same, but some were pruned or diverged."""
    kinds = [Kind.COMPLETE, Kind.COMPLETE, Kind.PRUNED, Kind.COMPLETE, Kind.PRUNED, Kind.COMPLETE, Kind.DIVERGED]
    variance = {Kind.PRUNED: 1e-4}
    told_as = [kinds[number % len(kinds)] for number in range(KNOWN)]
    return [row._replace(kind=kind, variance=variance.get(kind, 0.0)) for row, kind in zip(plain, told_as, strict=True)]


@pytest.mark.mostly_slow(4)
@every_kind
def test_proposals_stay_in_the_space(new, space, history, kind):
    sampler = new(kind, space)
    seen = set()
    for number in range(KNOWN, KNOWN + 30):
        params = ask(sampler, number, history)
        whole = with_fixed(space, params)
        for key, value in params.items():
            assert space.domains[key].contains(value)
            assert not isinstance(space.domains[key], Fixed)
            seen.add(key)
        assert list(whole) == list(space.active(whole))
        assert set(params) == {key for key in whole if key in space.searched()}
        for key in params:
            width = space.width(key, whole)
            assert width is None or width % int(params[key]) == 0
        for key, spec in PARAMETERS.items():
            assert (key in whole) == all(whole.get(parent) in values for parent, values in spec.when.items())
    assert {key for key in space.searched() if not PARAMETERS[key].when} <= seen <= set(space.searched())


@every_kind
def test_types_are_those_of_the_domain(new, space, history, kind):
    sampler = new(kind, space)
    types = {"flag": bool, "int": int, "float": float, "log_float": float, "sizes": str}
    for number in range(KNOWN, KNOWN + 10):
        for key, value in ask(sampler, number, history).items():
            spec = PARAMETERS[key]
            assert type(value) is (str if spec.options else types.get(spec.kind, int))


@every_kind
def test_a_question_asked_twice_has_one_answer(new, space, history, kind):
    sampler = new(kind, space)
    question = ProposalRequest(KNOWN, history)
    first = sampler.propose(question)
    assert sampler.propose(question) == first
    sampler.propose(ProposalRequest(KNOWN, history, attempt=1))
    sampler.propose(ProposalRequest(KNOWN + 1, history))
    assert sampler.propose(question) == first


@pytest.mark.mostly_slow(4)
@every_kind
def test_a_sampler_built_anew_goes_on_as_the_old_one_would(new, space, history, kind):
    """Resume: the old one was asked for every trial, with refusals in between; the new one gets all history at once."""
    old = new(kind, space)
    for known in range(len(history)):
        for attempt in range(1 + known % 3):
            old.propose(ProposalRequest(known, history[:known], (), attempt))
    for number in (KNOWN, KNOWN + 1):
        for attempt in (0, 1):
            question = ProposalRequest(number, history, (), attempt)
            assert new(kind, space).propose(question) == old.propose(question)


@every_kind
def test_number_attempt_and_seed_change_the_proposal(new, space, history, kind):
    sampler = new(kind, space)
    numbers = range(KNOWN, KNOWN + 3)
    proposals = [ask(sampler, number, history, attempt) for number in numbers for attempt in (0, 1, 2)]
    proposals.append(ask(new(kind, space, seed=1), KNOWN, history))
    assert len({tuple(sorted(p.items())) for p in proposals}) == len(proposals)


@every_kind
@pytest.mark.parametrize("startup", [0, 1, "auto"])
def test_without_history_every_sampler_proposes(new, space, kind, startup):
    assert ask(new(kind, space, startup=startup), 0)


@every_kind
@pytest.mark.parametrize("only", [Kind.PRUNED, Kind.DIVERGED])
def test_a_history_without_any_complete_trial_is_no_hindrance(new, space, plain, kind, only):
    variance = {Kind.PRUNED: 1e-4, Kind.DIVERGED: 0.0}[only]
    rows = [row._replace(kind=only, variance=variance) for row in plain]
    assert ask(new(kind, space), KNOWN, rows)


@every_kind
def test_a_space_of_one_configuration_leaves_nothing_to_propose(new, make_space, kind):
    tree = make_space("tiny").as_dict()
    tree["cnn"]["attention"], tree["lstm"]["num_layers"] = False, 1
    assert ask(new(kind, make_space(tree)), 0) == {}


@every_kind
def test_log_ranges_stay_within_their_bounds(new, make_space, kind):
    """exp(log x) may come out a hair beyond x."""
    narrow = {"low": 0.1, "high": 0.1000001, "log": True}
    space = make_space(
        {"training": {"learning_rate": narrow}, "lstm": {"num_layers": {"low": 1, "high": 2, "log": True}}}
    )
    sampler = new(kind, space)
    rows = []
    for number in range(15):
        params = ask(sampler, number, rows)
        assert 0.1 <= params["training.learning_rate"] <= 0.1000001
        assert params["lstm.num_layers"] in (1, 2)
        rows.append(Observation(number, params, (-0.6 - number / 100, float(number), 1.0)))


@pytest.mark.parametrize(("kind", "startup"), [("random", 0), ("tpe", 50), ("nsga2", 50), ("cmaes", 24), ("gp", 12)])
def test_auto_leaves_the_length_of_the_start_to_the_sampler(new, space, kind, startup):
    """A third of all trials at most, as many as there were to be when the study was begun."""

    def n_startup(given, **changed):
        return new(kind, space, startup=given, **changed).n_startup

    assert n_startup("auto", n_trials=1000) == startup
    assert n_startup(7, n_trials=1000) == n_startup(7, n_trials=9) == 7
    assert n_startup("auto", n_trials=30) == n_startup("auto", n_trials=1000, begun_with=30) == min(10, startup)


@pytest.mark.parametrize(("n_trials", "warns"), [(7, False), (6, True), (5, True)])
def test_says_when_all_trials_are_those_of_the_start(new, space, n_trials, warns):
    text = new("tpe", space, n_trials=n_trials).inactive_because()
    if not warns:
        assert text is None
    else:
        assert text.startswith(
            f"sampler.n_startup_trials=6 is not below study.n_trials={n_trials}: all trials are those of"
        )
    assert new("random", space, startup=0, n_trials=1).inactive_because() is None


# ---------------------------------------------------------------------- TPE


@both_tpes
def test_tpe_is_random_until_it_knows_n_startup_trials(new, space, plain, kind):
    """As long as it is random, what it is told makes no difference; from then on it does."""
    other = [row._replace(losses=tuple(-loss for loss in row.losses)) for row in plain]

    def differs(known):
        pairs = [
            [ask(new(kind, space), number, rows[:known]) for rows in (plain, other)]
            for number in range(KNOWN, KNOWN + 4)
        ]
        return any(a != b for a, b in pairs)

    assert not differs(0)
    assert not differs(STARTUP - 1)
    assert differs(len(plain))


@both_tpes
def test_tpe_models_from_exactly_n_startup_trials_on(new, space, plain, kind):
    never, model = new(kind, space, startup=1000), new(kind, space)
    assert ask(model, 30, plain[: STARTUP - 1]) == ask(never, 30, plain[: STARTUP - 1])
    numbers = range(30, 36)
    assert any(ask(model, number, plain[:STARTUP]) != ask(never, number, plain[:STARTUP]) for number in numbers)


@both_tpes
def test_what_tpe_was_told_may_change(new, space, plain, kind):
    """What is expected of a pruned trial does, while the study grows."""
    revised = [row._replace(losses=(-0.9, *row.losses[1:])) if row.number % 7 == 3 else row for row in plain]
    sampler = new(kind, space)
    ask(sampler, KNOWN, plain)
    for number in range(KNOWN, KNOWN + 4):
        assert ask(sampler, number, revised) == ask(new(kind, space), number, revised)


def test_multivariate_changes_what_tpe_proposes(new, space, plain):
    one, joint = new("tpe", space), new("tpe-multivariate", space)
    assert any(ask(one, number, plain) != ask(joint, number, plain) for number in range(KNOWN, KNOWN + 5))


@both_tpes
def test_tpe_concentrates_on_a_good_region(new, make_space, kind):
    """Losses ask for a learning rate near 1e-3 and nothing else; random search is there in a third of its draws."""
    space = make_space({"training": {"learning_rate": [1e-5, 1e-1]}})

    def loss(params):
        distance = abs(math.log10(float(params["training.learning_rate"])) + 3)
        return (distance, distance, distance)

    def near(sampler):
        history = []
        for number in range(60):
            params = ask(sampler, number, history)
            history.append(Observation(number, params, loss(params)))
        return np.mean([row.losses[0] < 0.67 for row in history[30:]])

    assert near(new("random", space, seed=1)) < 0.5
    assert near(new(kind, space, startup=10, seed=1)) > 0.65


def test_tpe_minimises_all_three_losses(new, finished, make_space):
    """A loss turned round turns the choice round."""
    space = make_space({})
    rows = finished(space, 60)
    means = []
    for sign in (1, -1):
        turned = [
            Observation(r.number, r.params, (sign * math.log(with_fixed(space, r.params)["lstm.hidden_dim"]),) * 3)
            for r in rows
        ]
        sampler = new("tpe", space)
        means.append(np.mean([ask(sampler, n, turned)["lstm.hidden_dim"] for n in range(60, 80)]))
    assert means[0] * 3 < means[1]


def test_proposals_do_not_depend_on_the_process():
    """Optuna groups parameters with sets of names, whose order differs between processes."""
    code = f"""
import json
from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings, parse_space
from cnn_lstm_hyperopt.search import Cost, Limits, ProposalRequest, SkillThreshold, StudyPlan
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from cnn_lstm_hyperopt.search.observations import Observation
space, _ = parse_space({{}})
def sampler(seed, **settings):
    plan = StudyPlan(space, SamplerSettings(**settings), PrunerSettings(type="none"), seed, 99, 3, Limits(),
                     SkillThreshold(0.5, 100), lambda params: Cost(1.0, 1.0))
    return SAMPLERS[settings["type"]](plan)
source = sampler(5, type="random")
rows = [Observation(n, source.propose(ProposalRequest(n, [])).params, (-n % 7.0, n % 5.0, n % 3.0)) for n in range(20)]
models = [sampler(0, **{{"n_startup_trials": 5, **settings}}) for settings in {list(KINDS.values())!r}]
print(json.dumps([model.propose(ProposalRequest(n, rows)) for model in models for n in range(20, 23)]))
"""
    answers = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PATH": ""},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1


# ---------------------------------------------------------------------- random search


@pytest.fixture(scope="module")
def draws(new):
    """Values of a parameter that random search proposes."""

    def make(space, name, n=1500):
        sampler = new("random", space, seed=3)
        values = [ask(sampler, number).get(name) for number in range(n)]
        return [value for value in values if value is not None]

    return make


def chi_square(counts, expected):
    """p of the counts; a fixed seed and a loose bound: a wrong distribution gives 1e-20."""
    return stats.chisquare(counts, np.asarray(expected) / np.sum(expected) * np.sum(counts)).pvalue


@pytest.mark.parametrize("name", ["training.optimizer", "cnn.residual", "lstm.num_layers", "lstm.hidden_dim"])
def test_random_choices_and_whole_numbers_are_uniform(draws, make_space, name):
    counts = Counter(draws(make_space({}), name))
    assert len(counts) == {"cnn.residual": 2, "lstm.hidden_dim": 5}.get(name, 4)
    assert chi_square(list(counts.values()), np.ones(len(counts))) > 1e-4


@pytest.mark.parametrize(
    ("name", "low", "high", "scale"),
    [("cnn.dropout", 0.1, 0.5, float), ("training.learning_rate", 1e-5, 1e-2, math.log)],
)
def test_random_real_numbers_are_uniform_on_their_scale(draws, make_space, name, low, high, scale):
    values = [scale(value) for value in draws(make_space({}), name)]
    span = stats.uniform(scale(low), scale(high) - scale(low))
    assert stats.kstest(values, span.cdf).pvalue > 1e-4


def test_random_whole_numbers_of_a_log_range_have_the_share_of_their_unit(draws, make_space):
    """k stands for [k − ½, k + ½] on the log scale, so both ends get their whole share."""
    space = make_space({"lstm": {"num_layers": {"low": 1, "high": 12, "log": True}}})
    counts = Counter(draws(space, "lstm.num_layers", n=3000))
    expected = [math.log(k + 0.5) - math.log(k - 0.5) for k in range(1, 13)]
    assert chi_square([counts[k] for k in range(1, 13)], expected) > 1e-4


def test_random_parameters_are_drawn_by_themselves(new, make_space):
    sampler = new("random", make_space({}))
    rows = [ask(sampler, number) for number in range(1000)]
    table = np.array([[row["cnn.dropout"], row["lstm.dropout"], row["fusion.dropout"]] for row in rows])
    assert np.abs(np.corrcoef(table.T) - np.eye(3)).max() < 0.13
