"""The portfolio: sensible in the full space, the nearest configurations in any other, and tried first."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from builders.records import make_plan, make_space
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.config import PARAMETERS, Choices, Fixed, FloatRange, Params, SearchSpace
from cnn_lstm_hyperopt.models.cnn_lstm.fusions import FUSIONS
from cnn_lstm_hyperopt.search import Cost, Limits, StudyPlan
from cnn_lstm_hyperopt.search.initial_trials.portfolio import FULL_PORTFOLIO, PORTFOLIO, nearest, portfolio_in
from cnn_lstm_hyperopt.space.domains import Domain, decode_sizes

FULL = make_space()


def plan_of(space: SearchSpace, size_limit: float | None = None) -> StudyPlan:
    """A plan whose configurations have one MB for each LSTM cell."""
    return make_plan(
        space, limits=Limits(size_mb=size_limit), cost=lambda params: Cost(0.0, float(params["lstm.hidden_dim"]))
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
def test_in_the_full_space_an_entry_is_that_of_its_paper(name: str, network: Any, training: Any) -> None:
    params = nearest(FULL, PORTFOLIO[name])
    assert (shown(params, *NETWORK), shown(params, *TRAINING)) == (network, training)
    assert params["lstm.dropout"] == {"lstm": 0.16, "lstm-fcn": 0.5}.get(name, 0.1)
    assert params["cnn.residual"] is (name == "cnn")
    weak = ("cnn.dropout", "training.weight_decay", "training.gradient_clip", "regularization.label_smoothing")
    assert shown(params, *weak) == (0.1, 1e-6, 5.0, 0.0)
    assert shown(params, "multi_task.balancing", "multi_task.classification_weight") == ("fixed", 0.8)
    assert not any(params[flag] for flag in ("cnn.attention", "lstm.attention", "regularization.l1_switch"))


def test_the_architecture_full_begins_with_stacked_blocks() -> None:
    space = make_space({"architecture": "full"})
    starts = {start.origin: start.params for start in portfolio_in(plan_of(space)).starts}
    assert list(starts) == list(FULL_PORTFOLIO) == ["fcn", "lstm", "inception", "lstm-fcn", "small"]
    names = (
        "cnn.block",
        "cnn.num_filters",
        "cnn.filter_sizes",
        "cnn.blocks",
        "cnn.norm",
        "lstm.input",
        "lstm.hidden_dim",
    )
    assert shown(starts["fcn"], *names) == ("fcn", 32, "3-5-7", 4, "batch", "transposed", 8)
    assert shown(starts["inception"], *names) == ("inception", 8, "9-19-39", 3, "batch", "transposed", 8)
    assert shown(starts["lstm-fcn"], *names) == ("fcn", 128, "3-5-7", 3, "batch", "transposed", 8)
    assert shown(starts["small"], "cnn.block", "cnn.num_filters", "lstm.hidden_dim") == ("parallel", 8, 8)


def test_entries_are_tried_in_order_unless_equal_or_beyond_the_limits() -> None:
    portfolio = portfolio_in(plan_of(FULL))
    assert [start.origin for start in portfolio.starts] == list(PORTFOLIO) == ["lstm", "cnn", "lstm-fcn", "small"]
    assert (portfolio.same, portfolio.beyond_limits) == ({}, ())
    for start in portfolio.starts:
        assert set(start.params) == {n for n in nearest(FULL, PORTFOLIO[start.origin]) if n in FULL.searched()}
    space = make_space(
        {"cnn": {"filter_sizes": [[3]], "residual": False}, "training": {"optimizer": "adam"}, "lstm": {"dropout": 0.1}}
    )
    portfolio = portfolio_in(plan_of(space))
    assert [start.origin for start in portfolio.starts] == ["lstm", "lstm-fcn", "small"]
    assert portfolio.same == {"cnn": "lstm"}
    space = make_space({"lstm": {"hidden_dim": [8, 32, 64]}})
    assert portfolio_in(plan_of(space, 64)).beyond_limits == ()
    portfolio = portfolio_in(plan_of(space, 10))
    assert [start.origin for start in portfolio.starts] == ["cnn", "small"]
    assert portfolio.beyond_limits == ("lstm", "lstm-fcn")
    assert portfolio_in(plan_of(space, 1)).starts == ()


def test_every_entry_has_every_parameter_and_every_name() -> None:
    """Except parameters of fusions that the portfolio does not use."""
    methods = PORTFOLIO["small"]["fusion.method"]
    unused = {f"fusion.{key}" for name, member in FUSIONS.items() if name not in methods for key in member.parameters}  # type: ignore[operator]
    for wishes in PORTFOLIO.values():
        assert set(wishes) == set(PARAMETERS) - unused
        for name, spec in PARAMETERS.items():
            if name not in unused and (spec.options or spec.kind == "flag"):
                assert set(wishes[name]) <= set(spec.options or (False, True)), name  # type: ignore[arg-type]


def random_domain(name: str, rng: np.random.Generator) -> Domain:
    """A narrower domain than the parameter's own, or its own."""
    domain = FULL.domains[name]
    if isinstance(domain, Choices) and PARAMETERS[name].divides is None:
        kept = [value for value in domain.values if rng.random() < 0.6] or [domain.values[-1]]
        return Choices(tuple(kept)) if len(kept) > 1 else Fixed(kept[0])
    if isinstance(domain, FloatRange):
        low, high = domain.low + (domain.high - domain.low) * np.sort(rng.random(2))
        return replace(domain, low=float(low), high=float(high))
    return domain


@pytest.mark.parametrize("seed", range(30))
def test_in_any_space_entries_are_legal_nearest_and_always_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    domains = {name: random_domain(name, rng) for name in FULL.domains}
    space = SearchSpace(domains, PARAMETERS)
    for wishes in PORTFOLIO.values():
        params = nearest(space, wishes)
        assert list(params) == list(space.active(params))
        assert nearest(space, wishes) == params
        for name, value in params.items():
            wish, domain = wishes.get(name), domains[name]
            assert domain.contains(value)
            assert space.legal(name, value, params) == value
            if wish is None or PARAMETERS[name].divides or isinstance(domain, Fixed):
                continue
            if isinstance(wish, tuple):  # preferences
                expected = next(each for each in (*wish, *domain.values) if each in domain.values)  # type: ignore[union-attr]
            elif isinstance(domain, Choices):  # the nearest; of two the smaller, and filter sizes by their sum
                amount = (lambda each: sum(decode_sizes(each))) if isinstance(wish, str) else float
                expected = min(domain.values, key=lambda each: (abs(amount(each) - amount(wish)), amount(each)))
            else:
                expected = type(value)(min(max(wish, domain.low), domain.high))
            assert value == expected


@pytest.mark.usefixtures("quick_final_round")
@pytest.mark.parametrize("portfolio", [True, False])
def test_a_study_begins_with_the_portfolio_unless_it_is_off(tiny: dict[str, Any], portfolio: bool) -> None:
    config = {**tiny, "study": {"portfolio": portfolio}, "limits": {"size_mb": 0.016}}
    with CNNLSTMHyperparameterOptimizer(config=config, quiet=True) as optimizer:
        optimizer.optimize(n_trials=3 if portfolio else 1)
        trials = optimizer.study.trials
        space = optimizer.settings.search_space
    origins = [trial.user_attrs.get("origin") for trial in trials]
    assert origins == (["lstm", "small", None] if portfolio else [None])
    for trial in trials[: 2 * portfolio]:
        assert trial.params.items() <= nearest(space, PORTFOLIO[trial.user_attrs["origin"]]).items()
