"""The portfolio: sensible in the whole space, the nearest there is in any other, and tried first."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, load_settings
from cnn_lstm_hyperopt.config import (
    PARAMETERS,
    Choices,
    Fixed,
    Params,
    PrunerSettings,
    SamplerSettings,
    SearchSpace,
    parse_space,
)
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.search import Cost, Limits, SkillThreshold, StudyPlan, random_configuration
from cnn_lstm_hyperopt.search.initial_trials.portfolio import PORTFOLIO, nearest, portfolio_in
from cnn_lstm_hyperopt.space.domains import Domain, decode_sizes

ROOT = Path(__file__).parents[1]
WHOLE = parse_space(None)[0]


def space_of(raw: dict[str, Any]) -> SearchSpace:
    space, faults = parse_space(raw)
    assert faults == []
    return space


def plan_of(space: SearchSpace, *, size_limit: float | None = None) -> StudyPlan:
    """Of a study in which a configuration has a MB for each LSTM cell."""
    return StudyPlan(
        space=space,
        sampler=SamplerSettings(),
        pruner=PrunerSettings(),
        seed=0,
        n_trials=10,
        max_epochs=3,
        limits=Limits(size_mb=size_limit),
        skill=SkillThreshold(0.5, 100),
        cost=lambda params: Cost(0.0, float(params["lstm.hidden_dim"])),
    )


def shown(params: Params, *names: str) -> tuple[Any, ...]:
    return tuple(params[name] for name in names)


NETWORK = ("cnn.num_filters", "cnn.filter_sizes", "lstm.hidden_dim", "lstm.num_layers", "fusion.method", "fusion.dim")
TRAINING = ("training.optimizer", "training.learning_rate", "training.batch_size", "training.scheduler")


@pytest.mark.parametrize(
    ("name", "network", "training"),
    [
        ("lstm", (32, "3-5-7", 64, 1, "concatenation", 128), ("rmsprop", 1e-3, 64, "plateau")),
        ("cnn", (32, "3-5-7-11", 64, 1, "concatenation", 128), ("adam", 1e-3, 64, "plateau")),
        ("lstm-fcn", (128, "3-5-7", 64, 1, "concatenation", 128), ("adam", 1e-3, 128, "plateau")),
        ("small", (32, "3-5-7", 64, 1, "concatenation", 128), ("adam", 3e-3, 128, "cosine")),
    ],
)
def test_in_the_whole_space_an_entry_is_what_its_paper_says(
    name: str, network: tuple[Any], training: tuple[Any]
) -> None:
    params = nearest(WHOLE, PORTFOLIO[name])
    assert shown(params, *NETWORK) == network
    assert shown(params, *TRAINING) == training
    assert params["lstm.dropout"] == {"lstm": 0.16, "lstm-fcn": 0.5}.get(name, 0.1)
    assert params["cnn.residual"] is (name == "cnn")
    weak = ("cnn.dropout", "training.weight_decay", "training.gradient_clip", "regularization.label_smoothing")
    assert shown(params, *weak) == (0.1, 1e-6, 5.0, 0.0)
    assert shown(params, "multi_task.balancing", "multi_task.classification_weight") == ("fixed", 0.8)
    assert not any(params[flag] for flag in ("cnn.attention", "lstm.attention", "regularization.l1_switch"))


def test_all_entries_are_tried_in_their_order() -> None:
    portfolio = portfolio_in(plan_of(WHOLE))
    assert [start.origin for start in portfolio.starts] == list(PORTFOLIO) == ["lstm", "cnn", "lstm-fcn", "small"]
    assert (portfolio.same, portfolio.beyond_limits) == ({}, ())
    for start in portfolio.starts:
        assert set(start.params) == {n for n in nearest(WHOLE, PORTFOLIO[start.origin]) if n in WHOLE.searched()}


def test_small_yaml_has_four_different_entries() -> None:
    space = load_settings(ROOT / "configs" / "hyperopt" / "small.yaml", environment={}).search_space
    starts = {start.origin: start.params for start in portfolio_in(plan_of(space)).starts}
    network = (
        "cnn.num_filters",
        "cnn.filter_sizes",
        "lstm.hidden_dim",
        "training.batch_size",
        "training.learning_rate",
    )
    assert {name: shown(params, *network) for name, params in starts.items()} == {
        "lstm": (32, "3-5-7", 64, 64, 1e-3),
        "cnn": (32, "3-5-7-11", 64, 64, 1e-3),
        "lstm-fcn": (64, "3-5-7", 64, 128, 1e-3),
        "small": (32, "3-5-7", 64, 128, 3e-3),
    }
    assert all("lstm.bidirectional" not in params for params in starts.values())  # it is fixed there


def test_where_everything_is_fixed_there_is_one_configuration_to_begin_with() -> None:
    space = WHOLE.fixing(random_configuration(WHOLE, 0, 0))
    space = space.fixing(
        {name: domain.values[0] for name, domain in space.domains.items() if isinstance(domain, Choices)}
    ).fixing({"multi_task.classification_weight": 0.5, "regularization.l1": 1e-4})
    assert not space.searched()
    portfolio = portfolio_in(plan_of(space))
    assert [(start.origin, dict(start.params)) for start in portfolio.starts] == [("lstm", {})]
    assert portfolio.same == {"cnn": "lstm", "lstm-fcn": "lstm", "small": "lstm"}
    for wishes in PORTFOLIO.values():
        for name, value in nearest(space, wishes).items():
            assert space.domains[name] == Fixed(value)


def test_entries_that_the_space_makes_the_same_are_taken_once() -> None:
    space = space_of(
        {"cnn": {"filter_sizes": [[3]], "residual": False}, "training": {"optimizer": "adam"}, "lstm": {"dropout": 0.1}}
    )
    portfolio = portfolio_in(plan_of(space))
    assert [start.origin for start in portfolio.starts] == ["lstm", "lstm-fcn", "small"]
    assert portfolio.same == {"cnn": "lstm"}


def test_entries_beyond_the_limits_are_left_out_and_named() -> None:
    space = space_of({"lstm": {"hidden_dim": [8, 32, 64]}})
    assert portfolio_in(plan_of(space, size_limit=64)).beyond_limits == ()
    portfolio = portfolio_in(plan_of(space, size_limit=10))
    assert [start.origin for start in portfolio.starts] == ["cnn", "small"]
    assert portfolio.beyond_limits == ("lstm", "lstm-fcn")
    assert portfolio_in(plan_of(space, size_limit=1)).starts == ()


FURTHER = {
    f"fusion.{key}"
    for name, member in FUSIONS.items()
    for key in member.parameters
    if name not in PORTFOLIO["small"]["fusion.method"]  # type: ignore[operator]
}
"""Parameters of fusions that the portfolio does not know."""


def test_every_entry_knows_every_parameter_and_every_name() -> None:
    for wishes in PORTFOLIO.values():
        assert set(wishes) == set(PARAMETERS) - FURTHER
        for name, spec in PARAMETERS.items():
            if name not in FURTHER and (spec.options or spec.kind == "flag"):
                assert set(wishes[name]) <= set(spec.options or (False, True)), name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        # numbers: the nearest choice, of two the smaller; ranges are clipped
        ("cnn.num_filters", [100, 150, 4000], 150),
        ("cnn.num_filters", [160, 96], 96),
        ("cnn.num_filters", {"low": 8, "high": 64}, 64),
        ("lstm.hidden_dim", {"low": 8, "high": 1024, "log": True}, 64),
        ("lstm.num_layers", [2, 4], 2),
        ("lstm.dropout", {"choices": [0.0, 0.9, 0.6]}, 0.9),
        ("lstm.dropout", {"fixed": 0.3}, 0.3),
        ("training.learning_rate", [1e-5, 1e-4], 1e-4),
        ("training.learning_rate", {"low": 1e-6, "high": 0.5, "log": False}, 1e-3),
        ("training.gradient_clip", [0.5, 2.0], 2.0),
        # filter sizes: the nearest in the sum
        ("cnn.filter_sizes", [[3], [5, 7], [31]], "5-7"),
        ("cnn.filter_sizes", [[17], [15]], "15"),
        ("cnn.filter_sizes", [[3, 5]], "3-5"),
        # names and switches: the first of the preferences that is there
        ("training.optimizer", ["sgd", "rmsprop"], "rmsprop"),
        ("training.scheduler", ["step", "exponential"], "exponential"),
        ("fusion.method", ["bilinear", "attention"], "attention"),
        ("cnn.residual", True, True),
    ],
)
def test_a_parameter_gets_the_nearest_value_of_its_domain(name: str, raw: Any, expected: Any) -> None:
    """By the entry of LSTM-FCN: 128 filters of the sizes 3, 5 and 8, 64 cells, dropout 0.8, Adam at 1e-3."""
    group, key = name.split(".")
    tree: dict[str, Any] = {"cnn": {"attention": False}, "lstm": {"attention": False}}
    tree.setdefault(group, {})[key] = raw
    found = nearest(space_of(tree), PORTFOLIO["lstm-fcn"])[name]
    assert found == expected
    assert type(found) is type(expected)


def random_domain(name: str, rng: np.random.Generator) -> Domain | None:
    """A narrower domain than the parameter's own; None: its own."""
    domain = WHOLE.domains[name]
    if isinstance(domain, Choices) and PARAMETERS[name].divides is None:
        kept = [value for value in domain.values if rng.random() < 0.6] or [domain.values[-1]]
        return Choices(tuple(kept)) if len(kept) > 1 else Fixed(kept[0])
    return None


@pytest.mark.parametrize("seed", range(30))
def test_in_any_space_entries_are_legal_and_always_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    domains = {name: random_domain(name, rng) or domain for name, domain in WHOLE.domains.items()}
    space = SearchSpace(domains, PARAMETERS)
    for wishes in PORTFOLIO.values():
        params = nearest(space, wishes)
        assert list(params) == list(space.active(params))
        for name, value in params.items():
            assert domains[name].contains(value)
            assert space.legal(name, value, params) == value
        assert nearest(space, wishes) == params
        numbers = [n for n in params if isinstance(wishes.get(n), int | float) and isinstance(domains[n], Choices)]
        for name in numbers:
            if PARAMETERS[name].divides is None:
                distances = [abs(v - wishes[name]) for v in domains[name].values]  # type: ignore[operator,union-attr]
                assert abs(params[name] - wishes[name]) == min(distances)  # type: ignore[operator]
        lengths = domains["cnn.filter_sizes"]
        if isinstance(lengths, Choices) and wishes["cnn.filter_sizes"] == "10-20-40":
            assert sum(decode_sizes(str(params["cnn.filter_sizes"]))) == max(
                sum(decode_sizes(str(sizes))) for sizes in lengths.values
            )


@pytest.mark.parametrize(
    ("widths", "heads", "expected"), [([32], [2, 4, 8], 4), ([32], [8, 16], 8), ([30], [4, 3, 9], 3)]
)
def test_head_counts_divide_their_width(widths: list[int], heads: list[int], expected: int) -> None:
    space = space_of(
        {"cnn": {"attention": False}, "lstm": {"hidden_dim": widths, "attention": True, "attention_heads": heads}}
    )
    params = nearest(space, PORTFOLIO["lstm"])
    assert params["lstm.attention_heads"] == expected
    assert math.gcd(expected, widths[0]) == expected


# ---------------------------------------------------------------------- in a study


def test_a_study_begins_with_the_portfolio_and_says_so(tiny: dict[str, Any], tmp_path: Path) -> None:
    config = {**tiny, "study": {}, "limits": {"size_mb": 0.013}}
    with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
        optimizer.optimize(n_trials=4)
        trials = optimizer.study.trials
        space = optimizer.settings.search_space
    assert [trial.user_attrs.get("origin") for trial in trials] == ["lstm", "small", None, None]
    for trial in trials[:2]:
        assert trial.params.items() <= nearest(space, PORTFOLIO[trial.user_attrs["origin"]]).items()
    log = (tmp_path / "results" / "run.log").read_text(encoding="utf-8")
    assert (
        "First trials: 2 of the portfolio (lstm, small) without cnn (beyond the limits), lstm-fcn (beyond the limits)\n"
        in log
    )


def test_without_the_portfolio_a_study_begins_as_its_sampler_says(tiny: dict[str, Any], tmp_path: Path) -> None:
    with CNNLSTMHyperparameterOptimizer(config={**tiny, "study": {"portfolio": False}}, quiet=True) as optimizer:
        optimizer.optimize(n_trials=1)
        assert "origin" not in optimizer.study.trials[0].user_attrs
    assert "First trials" not in (tmp_path / "results" / "run.log").read_text(encoding="utf-8")
