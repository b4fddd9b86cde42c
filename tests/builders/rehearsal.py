"""Simulated searches with a sampler but without a study."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from builders.records import make_plan
from cnn_lstm_hyperopt.config import Choices, FloatRange, IntRange, Params, SearchSpace
from cnn_lstm_hyperopt.pareto import hypervolume
from cnn_lstm_hyperopt.search import Cost, Proposal, ProposalRequest, SkillThreshold, StudyPlan, with_fixed
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers import Sampler
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

Losses = Callable[[Params], tuple[float, float, float]]


def plan_of(space: SearchSpace, kind: Any, *, seed: int = 0, startup: Any = "auto", **fields: Any) -> StudyPlan:
    """A plan of 1000 trials whose sampler is of this kind."""
    defaults = {
        "n_trials": 1000,
        "max_epochs": 10,
        "skill": SkillThreshold(0.5, 2000),
        "cost": lambda _: Cost(1.0, 1.0),
    }
    sampler = {"type": kind, "n_startup_trials": startup}
    return make_plan(space, sampler=sampler, seed=seed, **{**defaults, **fields})


def finished(number: int, proposal: Proposal, losses: Losses, kind: Kind = Kind.COMPLETE) -> Observation:
    """The observation of a finished trial, with its note as the storage returns it."""
    note = json.loads(json.dumps(proposal.note))
    return Observation(number, proposal.params, losses(proposal.params), kind, 0.0, note)


def simulate(sampler: Sampler, n: int, losses: Losses) -> list[Observation]:
    """One worker, whose trials all run to their end."""
    rows: list[Observation] = []
    for number in range(n):
        rows.append(finished(number, sampler.propose(ProposalRequest(number, rows)), losses))
    return rows


def volume(rows: Sequence[Observation]) -> float:
    """Hypervolume in a box that suits the objectives of these tests."""
    low, high = np.array([-0.9, 1.0, 1.0]), np.array([-0.5, 12.0, 9.0])
    return hypervolume((np.array([row.losses for row in rows]) - low) / (high - low), [1.0] * 3)


def assert_legal(space: SearchSpace, params: Params) -> None:
    """Assert that ``params`` are the active, searched parameters, in their domains and of their types."""
    searched = space.searched()
    for name, value in params.items():
        domain: Any = searched[name]
        assert domain.contains(value)
        same = domain.values[domain.values.index(value)] if isinstance(domain, Choices) else domain.low
        assert type(value) is type(same)
    assert {name for name in with_fixed(space, params) if name in searched} == set(params)


MIXED = SearchSpace.of(
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
"""Real numbers, integers (many, few, two), choices; some are conditional."""


def mixed_losses(params: Params) -> tuple[float, float, float]:
    """(−accuracy, ln seconds, ln MB) in :data:`MIXED`, rounded so that small improvements count for nothing."""
    p: Any = {"rate": 1e-3, "width": 64, "stages": 1, "activation": "relu", "attention": False, **params}
    size = math.log(p["width"] * p["layers"] * p["stages"])
    error = 0.3 * math.exp(-size / 2) + 0.05 * (math.log10(p["rate"]) + 2.5) ** 2
    error += {"relu": 0.02, "gelu": 0.0, "swish": 0.01}[p["activation"]]
    seconds = size + 0.5 * p["layers"]
    if p["attention"]:
        error += 0.004 * abs(p["heads"] - 4) + 0.1 * (p["temperature"] - 0.2) ** 2 - 0.03
        seconds += 0.1 * p["heads"]
    return -round(0.5 + 0.4 * math.exp(-5 * max(error, 0.0)), 2), round(seconds, 1), round(size, 1)


_DOMAINS = {
    "float": st.just(FloatRange(0.0, 2.0)) | st.just(FloatRange(1e-6, 1.0, log=True)),
    "int": st.builds(
        lambda low, steps, log: IntRange(low, low + steps, log), st.integers(1, 5), st.integers(0, 60), st.booleans()
    ),
    "choice": st.lists(st.integers(0, 99), min_size=1, max_size=5, unique=True).map(lambda v: Choices(tuple(v))),
}
SPACES = st.lists(
    st.sampled_from(sorted(_DOMAINS)).flatmap(lambda kind: _DOMAINS[kind].map(lambda d: ParameterSpec(kind, d))),
    max_size=5,
).map(lambda specs: SearchSpace.of({f"p{i}": spec for i, spec in enumerate(specs)}))
"""Without numbers, without choices, with one parameter, with one value, with nothing."""
