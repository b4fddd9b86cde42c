"""Learning curves of LCBench (Zimmer, Lindauer & Hutter 2021) as problems: 7 parameters, 52 epochs, six classification tasks.

The table ``lcbench_dev.parquet`` has 2,000 random configurations of each task. Extremely randomised trees predict the whole
curve, the seconds and the MB of any configuration, as ``problems/surrogate.py`` does for our own recordings. Reading noise has
the size √(p (1 − p) / 2000); three tenths of its variance are shared by all epochs of a trial. The seconds of a trial have an
error factor whose logarithm has the standard deviation 0.05, predicted costs one of 0.3.

``chance`` is the accuracy that 95 % of the configurations exceed after their first epoch. Three tasks are for tuning, three for
reports.
"""

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold

from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.search.trial import key_of
from problems import Array, Params, Problem, ProblemError, space_of
from problems.evolved import evolved_front
from problems.family import COST_ERROR, luck_of, measured

VARIABLE = "LEARNING_CURVES"
TUNE, REPORT = ("126026", "168908", "34539"), ("146212", "189354", "3945")
READ = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 26, 32, 39, 45, 52)
TIMED = (1, 13, 26, 52)
MAX_EPOCHS, N_VAL = 52, 2000
CURVE_TREES, COST_TREES = 100, 25
"""Trees of the accuracies, and of the costs, which a sampler asks for hundreds of times per trial."""
EPOCHS = np.arange(1, MAX_EPOCHS + 1)
TIME_NOISE = 0.05
Key = tuple[tuple[str, Any], ...]
SPACE: dict[str, dict[str, Any]] = {
    "batch_size": {"type": "int", "low": 16, "high": 512, "log": True},
    "learning_rate": {"type": "float", "low": 1e-4, "high": 0.1, "log": True},
    "momentum": {"type": "float", "low": 0.1, "high": 0.99, "log": False},
    "weight_decay": {"type": "float", "low": 1e-5, "high": 0.1, "log": False},
    "num_layers": {"type": "int", "low": 1, "high": 5, "log": False},
    "max_units": {"type": "int", "low": 64, "high": 1024, "log": True},
    "max_dropout": {"type": "float", "low": 0.0, "high": 1.0, "log": False},
}


def table_at(path: Path | None) -> pd.DataFrame:
    """Return the table of learning curves.

    Args:
        path: of ``lcbench_dev.parquet`` or its folder; None for the environment variable ``LEARNING_CURVES``.

    Raises:
        ProblemError: there is no such file.
    """
    given = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if given is None:
        raise ProblemError(
            f"the curve tasks need a table: give --curves PATH or set {VARIABLE}, or leave the tasks out"
        )
    file = given / "lcbench_dev.parquet" if given.is_dir() else given
    if not file.is_file():
        raise ProblemError(f"--curves: {file} does not exist; give the path of lcbench_dev.parquet")
    return pd.read_parquet(file)


class Task:
    """One task of the table."""

    def __init__(self, table: pd.DataFrame, task: str) -> None:
        rows = table[table["task"] == task]
        if rows.empty:
            raise ProblemError(f"task {task!r} is not in the table; it has {', '.join(sorted(table['task'].unique()))}")
        self.x: Array = np.column_stack([_scaled(name, rows[name].to_numpy(dtype=float)) for name in SPACE])
        self.accuracy: Array = rows[[f"accuracy_{epoch}" for epoch in READ]].to_numpy(dtype=float)
        seconds = rows[[f"seconds_{epoch}" for epoch in TIMED]].to_numpy(dtype=float)
        self.costs: Array = np.log(np.column_stack([seconds, rows["size_mb"].to_numpy(dtype=float)]))
        self.chance = float(np.quantile(self.accuracy[:, 0], 0.05))
        self._models = [_forest(self.x, self.accuracy, CURVE_TREES), _forest(self.x, self.costs, COST_TREES)]
        self._trees = [[each.tree_ for each in model.estimators_] for model in self._models]
        self.accuracies = lru_cache(maxsize=100_000)(self._accuracies)
        self.costs_of = lru_cache(maxsize=100_000)(self._costs_of)

    def truth_of(self, u: Array) -> Array:
        """Return (accuracy, seconds, MB) of positions in the unit cube, ``(rows, 3)``."""
        accuracy, costs = (model.predict(u) for model in self._models)
        return np.column_stack([accuracy[:, -1], np.exp(costs[:, 3]), np.exp(costs[:, 4])])

    def _accuracies(self, key: Key) -> Array:
        """Return the accuracies after epochs 1 to 52."""
        return np.interp(np.log(EPOCHS), np.log(READ), self._predicted(key, 0))

    def _costs_of(self, key: Key) -> tuple[Array, float]:
        """Return the seconds so far after epochs 1 to 52, and the MB."""
        costs = self._predicted(key, 1)
        return np.interp(EPOCHS, TIMED, np.maximum.accumulate(np.exp(costs[:4]))), math.exp(costs[4])

    def _predicted(self, key: Key, model: int) -> Array:
        params = dict(key)
        row = np.array([[_scaled(name, float(params[name])) for name in SPACE]], dtype=np.float32)
        return np.mean([tree.predict(row)[0] for tree in self._trees[model]], axis=0).ravel()

    def truth(self, params: Params) -> tuple[float, float, float]:
        """Return accuracy, seconds and MB after all epochs, without noise."""
        seconds, size_mb = self.costs_of(key_of(params))
        return float(self.accuracies(key_of(params))[-1]), float(seconds[-1]), size_mb

    def cost(self, params: Params) -> tuple[float, float]:
        """Return the predicted seconds, which are wrong by a factor that is the configuration's own, and the MB."""
        seconds, size_mb = self.costs_of(key_of(params))
        return float(seconds[-1]) * math.exp(COST_ERROR * luck_of("cost", params).standard_normal()), size_mb

    def evaluate(self, params: Params, seed: int) -> Iterator[tuple[int, float, float, float]]:
        """Yield epoch, measured accuracy, seconds so far and MB."""
        accuracy = self.accuracies(key_of(params))
        seconds, size_mb = self.costs_of(key_of(params))
        luck = luck_of(seed, params)
        read = measured(accuracy, N_VAL, luck)
        took = seconds * math.exp(TIME_NOISE * luck.standard_normal())
        yield from zip(range(1, MAX_EPOCHS + 1), read.tolist(), took.tolist(), [size_mb] * MAX_EPOCHS, strict=True)

    def r_squared(self) -> tuple[float, float, float]:
        """Return R² of the accuracies after 1 and 52 epochs and of ln seconds, in five-fold cross-validation."""
        targets = np.column_stack([self.accuracy[:, [0, -1]], self.costs[:, 3]])
        said = np.full_like(targets, np.nan)
        for train, test in KFold(5, shuffle=True, random_state=0).split(self.x):
            accuracy, costs = (
                _forest(self.x[train], each[train], trees)
                for each, trees in ((self.accuracy, CURVE_TREES), (self.costs, COST_TREES))
            )
            said[test] = np.column_stack(
                [accuracy.predict(self.x[test])[:, [0, -1]], costs.predict(self.x[test])[:, 3]]
            )
        first, last, seconds = (float(r2_score(targets[:, i], said[:, i])) for i in range(3))
        return first, last, seconds


def curve_task(task: str, path: Path | None) -> Problem:
    """Return a task of the table as a problem."""
    served = Task(table_at(path), task)
    space, _ = space_of(SPACE)
    return Problem(
        path=Path(f"curves-{task}"),
        space=space,
        max_epochs=MAX_EPOCHS,
        skill=SkillThreshold(served.chance, N_VAL),
        evaluate=served.evaluate,
        truth=served.truth,
        reference=evolved_front(served.truth_of, len(SPACE), served.chance, rounds=10),
        cost=served.cost,
        data=(Path(__file__),),
    )


def _forest(x: Array, targets: Array, trees: int) -> ExtraTreesRegressor:
    return ExtraTreesRegressor(trees, min_samples_leaf=2, max_features=1.0, random_state=0).fit(x, targets)


def _scaled(name: str, value: Any) -> Any:
    """Return the position of a value in the unit interval; numbers or arrays."""
    said = SPACE[name]
    low, high = said["low"], said["high"]
    if said["log"]:
        return np.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
