"""Search spaces, trial records and study plans for tests of the search; nothing here trains."""

import contextlib
import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cnn_lstm_hyperopt.config import (
    Choices,
    Fixed,
    FloatRange,
    IntRange,
    PrunerSettings,
    SamplerSettings,
    SearchSpace,
    parse_space,
)
from cnn_lstm_hyperopt.pareto import hypervolume
from cnn_lstm_hyperopt.search import Cost, Limits, Point, SkillThreshold, State, StudyPlan, TrialRecord, Values
from cnn_lstm_hyperopt.space.parameters import ParameterSpec

WHOLE = {
    "cnn": {"dropout": 0.2, "num_filters": {"low": 8, "high": 64, "log": True}, "attention_heads": [1, 3, 4]},
    "training": {"weight_decay": {"low": 0, "high": 0.1, "log": False}, "optimizer": "sgd"},
    "augmentation": {"switch": [False, True], "mixup": 0.2},
}
"""The full space with fixed parameters, a log range of integers and head counts that need correction."""

TINY = yaml.safe_load("""
cnn: {num_filters: 8, filter_sizes: [[3]], dropout: 0.1, activation: relu, residual: false,
      attention: [false, true], attention_heads: [1, 2]}
lstm: {hidden_dim: 8, num_layers: [1, 2], dropout: 0.1, bidirectional: false, attention: false, skip_connections: false}
fusion: {method: gated, dim: 8, dropout: 0.1}
training: {learning_rate: 0.001, batch_size: 16, weight_decay: 0, optimizer: adam, scheduler: step, gradient_clip: 1}
regularization: {l1_switch: false, l2: 0, dropout_schedule: constant, label_smoothing: 0}
multi_task: {balancing: fixed, classification_weight: 0.5}
""")
"""Six configurations: layers 1 or 2, and no attention or one of two head counts."""


def make_space(raw: Any = None) -> SearchSpace:
    """A space by the name of a constant above, from a nested dict, or the default one."""
    space, errors = parse_space({"whole": WHOLE, "tiny": TINY, None: {}}[raw] if not isinstance(raw, dict) else raw)
    assert errors == []
    return space


def make_record(number: int = 0, **fields: Any) -> TrialRecord:
    """A COMPLETE trial; ``curve`` may be scores of successive epochs that take ``speed`` seconds each."""
    blank = TrialRecord(number, State.COMPLETE, {}, None, 1.0, (), 0.0, None, "", None, {})
    curve, speed, values = fields.pop("curve", ()), fields.pop("speed", 1.0), fields.pop("values", None)
    points = tuple(
        p if isinstance(p, Point) else Point(float(e), p, 1.0 - p, speed * e) for e, p in enumerate(curve, start=1)
    )
    known = {"curve": points, "seconds": points[-1].seconds if points else 0.0}
    return replace(blank, **{**known, "values": None if values is None else Values(*values), **fields})


def make_plan(space: Any = None, *, sampler: Any = None, pruner: Any = None, **changed: Any) -> StudyPlan:
    """A plan of 100 trials of small models; ``space`` as in :func:`make_space` or a space."""
    defaults = {
        "space": space if isinstance(space, SearchSpace) else make_space(space),
        "sampler": SamplerSettings(**(sampler or {"type": "random"})),
        "pruner": PrunerSettings(**({"type": "median", **pruner} if pruner else {"type": "none"})),
        "seed": 0,
        "n_trials": 100,
        "max_epochs": 3,
        "limits": Limits(),
        "skill": SkillThreshold(0.5, 100),
        "cost": lambda params: Cost(9.0, 0.001 * int(params["cnn.num_filters"]) * int(params["lstm.num_layers"])),
    }
    return StudyPlan(**{**defaults, **changed})


def execute(path: Path, *statements: str) -> None:
    """Write into a study's file as another program does."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


@dataclass(frozen=True)
class Cheap:
    """A function of eight mixed, partly conditional parameters; it trains nothing and takes microseconds.

    Larger models are more accurate and slower. Each size has one best rate. Half of the space is barely above chance.
    """

    space: SearchSpace
    epochs: int
    skill: SkillThreshold

    @staticmethod
    def truth(params: Any) -> tuple[float, float, float]:
        """Accuracy, seconds and MB after all epochs, without noise."""
        size = params["width"] * params["layers"] * (1 + 0.1 * params.get("heads", 0))
        best = -2.0 - 0.3 * math.log10(params["width"])
        missed = abs(math.log10(params["rate"]) - best) + (0.3 if params["kind"] == "b" else 0.0)
        missed += abs(params.get("mix", 0.5) - 0.5) + 0.1 * abs(params.get("heads", 3) - 3)
        accuracy = 0.5 + 0.4 * (1 - (3.0 / (3.0 + size)) ** 0.5) * math.exp(-1.5 * missed)
        return accuracy, 0.02 * size**1.2 * (1.5 if params["kind"] == "b" else 1.0), 0.01 * size

    def evaluate(self, params: Any, seed: int) -> Iterator[tuple[float, float, float, float]]:
        """Yield scores that rise to the truth, with the error of ``skill.n_validation`` windows."""
        accuracy, seconds, size_mb = self.truth(params)
        generator = np.random.default_rng(seed)
        for epoch in range(1, self.epochs + 1):
            height = 0.5 + (accuracy - 0.5) * (1 - math.exp(-4 * epoch / self.epochs))
            read = generator.binomial(self.skill.n_validation, height) / self.skill.n_validation
            yield float(epoch), read, seconds * (epoch + 0.5) / (self.epochs + 0.5), size_mb

    def cost(self, params: Any) -> Cost:
        """The exact size, and two thirds of the seconds, as an inexact cost model predicts."""
        _, seconds, size_mb = self.truth(params)
        return Cost(0.67 * seconds, size_mb)

    def plan(self, sampler: Any, pruner: Any = None, **changed: Any) -> StudyPlan:
        """A plan of 40 trials; sampler and pruner by name or as settings."""
        settings = [each if isinstance(each, dict | None) else {"type": each} for each in (sampler, pruner)]
        own = {"space": self.space, "max_epochs": self.epochs, "skill": self.skill, "cost": self.cost, "n_trials": 40}
        return make_plan(sampler=settings[0], pruner=settings[1], **{**own, **changed})

    def volume(self, records: Any) -> float:
        """Hypervolume of the true values of COMPLETE trials, in a fixed box."""
        rows = [self.truth({**record.params, "unused": 1}) for record in records if record.state is State.COMPLETE]
        losses = [(-a, math.log(s), math.log(m)) for a, s, m in rows]
        low, high = np.array([-0.9, math.log(0.1), math.log(0.04)]), np.array([-0.55, math.log(200.0), math.log(15.0)])
        return hypervolume((np.array(losses) - low) / (high - low), (1.0, 1.0, 1.0))


CHEAP = Cheap(
    SearchSpace.of(
        {
            "width": ParameterSpec("int", IntRange(4, 128, log=True)),
            "layers": ParameterSpec("int", IntRange(1, 4)),
            "rate": ParameterSpec("log_float", FloatRange(1e-4, 1e-1, log=True)),
            "kind": ParameterSpec("choice", Choices(("a", "b", "c"))),
            "mix": ParameterSpec("float", FloatRange(0.0, 1.0), when={"kind": ("b", "c")}),
            "attention": ParameterSpec("flag", Choices((False, True))),
            "heads": ParameterSpec("int", IntRange(1, 8), when={"attention": (True,)}),
            "unused": ParameterSpec("int", Fixed(1)),
        }
    ),
    9,
    SkillThreshold(0.5, 400),
)
