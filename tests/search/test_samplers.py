"""One contract for all samplers, then what each does by itself."""

import math
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from cnn_lstm_hyperopt.config import PARAMETERS, Fixed, SamplerSettings
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, RandomSampler, TpeSampler
from cnn_lstm_hyperopt.search.told import Told

STARTUP = 6
KINDS = [
    pytest.param("random", False, id="random"),
    pytest.param("tpe", False, id="tpe"),
    pytest.param("tpe", True, id="tpe-multivariate"),
]


def new(name, multivariate, space, *, startup=STARTUP, seed=0):
    return SAMPLERS[name](space, SamplerSettings(type=name, n_startup_trials=startup, multivariate=multivariate), seed)


def told_rows(space, n, seed=99):
    """A history: random configurations whose losses depend on their parameters."""
    source = RandomSampler(space, SamplerSettings(), seed)
    rows = []
    for number in range(n):
        params = source.propose(number, [], 0)
        whole = with_fixed(space, params)
        rate, width = math.log(float(whole["training.learning_rate"])), int(whole["lstm.hidden_dim"])
        rows.append(Told(number, params, (-1 / (1 + (rate + 7) ** 2), math.log(width), math.log(width) / 2)))
    return rows


@pytest.fixture(scope="module")
def space(make_space):
    return make_space("whole")


@pytest.fixture(scope="module")
def history(space):
    return told_rows(space, 25)


def test_every_sampler_of_the_settings_is_there():
    from typing import get_args

    assert set(SAMPLERS) == set(get_args(SamplerSettings.model_fields["type"].annotation))


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_proposals_stay_in_the_space(space, history, name, multivariate):
    sampler = new(name, multivariate, space)
    seen = set()
    for number in range(25, 60):
        params = sampler.propose(number, history, 0)
        whole = with_fixed(space, params)
        for key, value in params.items():
            assert space.domains[key].contains(value)
            assert not isinstance(space.domains[key], Fixed)
            seen.add(key)
        assert list(whole) == list(space.active(whole))
        assert set(params) == {key for key in whole if key in space.searched()}
        for key in params:
            width_of = PARAMETERS[key].divides
            assert width_of is None or width_of(whole) % int(params[key]) == 0
        for key, spec in PARAMETERS.items():
            if spec.when is not None:
                assert (key in whole) == (whole[spec.when[0]] in spec.when[1])
    assert {key for key in space.searched() if PARAMETERS[key].when is None} <= seen <= set(space.searched())


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_types_are_those_of_the_domain(space, history, name, multivariate):
    sampler = new(name, multivariate, space)
    kinds = {"flag": bool, "int": int, "float": float, "log_float": float, "sizes": str}
    for number in range(25, 35):
        for key, value in sampler.propose(number, history, 0).items():
            spec = PARAMETERS[key]
            assert type(value) is (str if spec.options else kinds.get(spec.kind, int))


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_a_question_asked_twice_has_one_answer(space, history, name, multivariate):
    sampler = new(name, multivariate, space)
    first = sampler.propose(25, history, 0)
    assert sampler.propose(25, history, 0) == first
    sampler.propose(25, history, 1)
    assert sampler.propose(25, history, 0) == first


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_a_sampler_built_anew_goes_on_as_the_old_one_would(space, history, name, multivariate):
    """Resume: the old one was asked for every trial, with refusals in between; the new one gets all history at once."""
    old = new(name, multivariate, space)
    for known in range(len(history)):
        for attempt in range(1 + known % 3):
            old.propose(known, history[:known], attempt)
    for number in (25, 26):
        for attempt in (0, 1):
            anew = new(name, multivariate, space)
            assert anew.propose(number, history, attempt) == old.propose(number, history, attempt)


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_number_attempt_and_seed_change_the_proposal(space, history, name, multivariate):
    sampler = new(name, multivariate, space)
    proposals = [sampler.propose(number, history, attempt) for number in (25, 26, 27) for attempt in (0, 1, 2)]
    proposals.append(new(name, multivariate, space, seed=1).propose(25, history, 0))
    assert len({tuple(sorted(p.items())) for p in proposals}) == len(proposals)


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_without_history_every_sampler_proposes(space, name, multivariate):
    for startup in (0, 1):
        assert new(name, multivariate, space, startup=startup).propose(0, [], 0)


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_a_space_of_one_configuration_leaves_nothing_to_propose(make_space, name, multivariate):
    tree = make_space("tiny").as_dict()
    tree["cnn"]["attention"], tree["lstm"]["num_layers"] = False, 1
    assert new(name, multivariate, make_space(tree)).propose(0, [], 0) == {}


@pytest.mark.parametrize("multivariate", [False, True])
def test_tpe_is_random_until_it_knows_n_startup_trials(space, history, multivariate):
    """As long as it is random, what it is told makes no difference; from then on it does."""
    other = [row._replace(losses=tuple(-loss for loss in row.losses)) for row in history]

    def differs(known):
        pairs = [
            [new("tpe", multivariate, space).propose(number, rows[:known], 0) for rows in (history, other)]
            for number in range(25, 29)
        ]
        return any(a != b for a, b in pairs)

    assert not differs(0)
    assert not differs(STARTUP - 1)
    assert differs(len(history))


@pytest.mark.parametrize("multivariate", [False, True])
def test_tpe_models_from_exactly_n_startup_trials_on(space, history, multivariate):
    same = new("tpe", multivariate, space, startup=1000)
    model = new("tpe", multivariate, space, startup=STARTUP)
    assert model.propose(30, history[: STARTUP - 1], 0) == same.propose(30, history[: STARTUP - 1], 0)
    assert any(
        new("tpe", multivariate, space).propose(number, history[:STARTUP], 0)
        != new("tpe", multivariate, space, startup=1000).propose(number, history[:STARTUP], 0)
        for number in range(30, 36)
    )


def test_multivariate_changes_what_tpe_proposes(space, history):
    one, joint = (new("tpe", flag, space) for flag in (False, True))
    assert any(one.propose(number, history, 0) != joint.propose(number, history, 0) for number in range(25, 30))


@pytest.mark.parametrize("multivariate", [False, True])
def test_tpe_concentrates_on_a_good_region(make_space, multivariate):
    """Losses ask for a learning rate near 1e-3 and nothing else; random search is there in a third of its draws."""
    space = make_space({"training": {"learning_rate": [1e-5, 1e-1]}})

    def loss(params):
        distance = abs(math.log10(float(params["training.learning_rate"])) + 3)
        return (distance, distance, distance)

    def near(sampler):
        history = []
        for number in range(60):
            params = sampler.propose(number, history, 0)
            history.append(Told(number, params, loss(params)))
        return np.mean([row.losses[0] < 0.67 for row in history[30:]])

    tpe = near(TpeSampler(space, SamplerSettings(n_startup_trials=10, multivariate=multivariate), 1))
    random = near(RandomSampler(space, SamplerSettings(), 1))
    assert random < 0.5
    assert tpe > 0.65


def test_tpe_minimises_all_three_losses(make_space):
    """A loss turned round turns the choice round."""
    space = make_space({})
    rows = told_rows(space, 60)
    means = []
    for sign in (1, -1):
        turned = [
            Told(r.number, r.params, (sign * math.log(with_fixed(space, r.params)["lstm.hidden_dim"]),) * 3)
            for r in rows
        ]
        sampler = new("tpe", False, space)
        means.append(np.mean([sampler.propose(n, turned, 0)["lstm.hidden_dim"] for n in range(60, 80)]))
    assert means[0] * 3 < means[1]


@pytest.mark.parametrize("multivariate", [False, True])
def test_proposals_do_not_depend_on_the_process(multivariate):
    """Optuna groups parameters with sets of names, whose order differs between processes."""
    code = f"""
import json
from cnn_lstm_hyperopt.config import SamplerSettings, parse_space
from cnn_lstm_hyperopt.search.samplers import RandomSampler, TpeSampler
from cnn_lstm_hyperopt.search.told import Told
space, _ = parse_space({{}})
source = RandomSampler(space, SamplerSettings(), 5)
rows = [Told(n, source.propose(n, [], 0), (n % 7.0, n % 5.0, n % 3.0)) for n in range(20)]
tpe = TpeSampler(space, SamplerSettings(n_startup_trials=5, multivariate={multivariate}), 0)
print(json.dumps([tpe.propose(n, rows, 0) for n in range(20, 23)]))
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


def draws(space, name, n=1500, seed=3):
    sampler = RandomSampler(space, SamplerSettings(type="random"), seed)
    values = [sampler.propose(number, [], 0).get(name) for number in range(n)]
    return [value for value in values if value is not None]


def chi_square(counts, expected):
    """p of the counts; a fixed seed and a loose bound: a wrong distribution gives 1e-20."""
    return stats.chisquare(counts, np.asarray(expected) / np.sum(expected) * np.sum(counts)).pvalue


@pytest.mark.parametrize("name", ["training.optimizer", "cnn.residual", "lstm.num_layers", "lstm.hidden_dim"])
def test_random_choices_and_whole_numbers_are_uniform(make_space, name):
    counts = Counter(draws(make_space({}), name))
    assert len(counts) == {"cnn.residual": 2, "lstm.hidden_dim": 5}.get(name, 4)
    assert chi_square(list(counts.values()), np.ones(len(counts))) > 1e-4


@pytest.mark.parametrize(
    ("name", "low", "high", "scale"),
    [("cnn.dropout", 0.1, 0.5, float), ("training.learning_rate", 1e-5, 1e-2, math.log)],
)
def test_random_real_numbers_are_uniform_on_their_scale(make_space, name, low, high, scale):
    values = [scale(value) for value in draws(make_space({}), name)]
    span = stats.uniform(scale(low), scale(high) - scale(low))
    assert stats.kstest(values, span.cdf).pvalue > 1e-4


def test_random_whole_numbers_of_a_log_range_have_the_share_of_their_unit(make_space):
    """k stands for [k − ½, k + ½] on the log scale, so both ends get their whole share."""
    space = make_space({"lstm": {"num_layers": {"low": 1, "high": 12, "log": True}}})
    counts = Counter(draws(space, "lstm.num_layers", n=3000))
    expected = [math.log(k + 0.5) - math.log(k - 0.5) for k in range(1, 13)]
    assert chi_square([counts[k] for k in range(1, 13)], expected) > 1e-4


def test_random_parameters_are_drawn_by_themselves(make_space):
    sampler = RandomSampler(make_space({}), SamplerSettings(type="random"), 0)
    rows = [sampler.propose(number, [], 0) for number in range(1000)]
    table = np.array([[row["cnn.dropout"], row["lstm.dropout"], row["fusion.dropout"]] for row in rows])
    assert np.abs(np.corrcoef(table.T) - np.eye(3)).max() < 0.13


@pytest.mark.parametrize(("name", "multivariate"), KINDS)
def test_log_ranges_stay_within_their_bounds(make_space, name, multivariate):
    """exp(log x) may come out a hair beyond x."""
    narrow = {"low": 0.1, "high": 0.1000001, "log": True}
    space = make_space(
        {"training": {"learning_rate": narrow}, "lstm": {"num_layers": {"low": 1, "high": 2, "log": True}}}
    )
    sampler = new(name, multivariate, space)
    rows = []
    for number in range(15):
        params = sampler.propose(number, rows, 0)
        assert 0.1 <= params["training.learning_rate"] <= 0.1000001
        assert params["lstm.num_layers"] in (1, 2)
        rows.append(Told(number, params, (0.0, float(number), 1.0)))
