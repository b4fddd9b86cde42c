"""A surrogate of recorded trainings: what the problems that ``benchmarks/record.py`` recorded serve for any configuration.

*Accuracy* is that of the weights that would be kept, those with the least validation loss so far. Extremely randomised trees
(Geurts et al. 2006) predict the whole curve from the parameters and what is known before training: trees are the surrogate that
Eggensperger et al. (2015, "Efficient benchmarking of hyperparameter optimizers via surrogates") found the closest to real runs,
and as steps, not smooth functions, they do no favour to a search by Gaussian process. *Seconds* are the cost model's, times a
factor that other trees predict; how they are spread over the epochs is taken from a recorded training. *MB* are exact.

Noise is measured noise: half of what two trainings of one configuration differ by (times √2), from epoch to epoch, taken from one
of the pairs whose accuracy is nearest.

Recorded on several machines, seconds are told by the speeds of the first, at its median pace: what a yardstick took around each
training says how fast its machine was at the time.
"""

import json
import math
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesRegressor

from cnn_lstm_hyperopt.config import Params, SearchSpace, load_settings
from cnn_lstm_hyperopt.models import Profile, network_config
from cnn_lstm_hyperopt.pareto import non_dominated
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.training.cost_model import CostModel

Array = NDArray[np.float64]

RECORDED = Path(__file__).parent / "recorded"
QUARTERS = (0.25, 0.5, 0.75)
TREES = 200
NEAREST = 10
"""Pairs, or recorded trainings, that one is drawn from."""


class Recorded(NamedTuple):
    """Whole trainings, a row each.

    Attributes:
        params: configurations.
        accuracy: ``(rows, readings)`` of the weights kept so far.
        seconds: ``(rows, readings)`` by the speeds of the first machine.
        again: pairs of rows that are the same configuration.
    """

    params: list[dict[str, Any]]
    accuracy: Array
    seconds: Array
    again: list[tuple[int, int]]


class Facts:
    """What is known of a configuration before it is trained."""

    def __init__(self, about: Mapping[str, Any], space: SearchSpace) -> None:
        self._about = about
        self._encoding = Encoding(space)
        self.machines = {name: CostModel.from_dict(raw) for name, raw in about["machines"].items()}
        self.reference = next(iter(self.machines.values()))

    def profile(self, params: Params) -> Profile:
        """Of its network."""
        about = self._about
        dims = {name: about[name] for name in ("input_dim", "n_classes", "has_regression")}
        return network_config(params, **dims).cost(lookback=about["lookback"])

    def seconds(self, params: Params, speeds: CostModel) -> float:
        """Of all epochs, as the cost model predicts them."""
        network, batch_size = self.profile(params), int(params["training.batch_size"])
        precision = speeds.faster_precision(network, batch_size)
        steps = math.ceil(self._about["training_windows"] / batch_size) * self._about["epochs"]
        return steps * speeds.step_seconds(network, batch_size, precision)

    def row(self, params: Params) -> Array:
        """Inputs of the trees: positions, choices as one-hot, −1 where there is none; size and cost."""
        vector = self._encoding.vector(params)
        numbers = [i for i, axis in enumerate(self._encoding.axes) if not axis.n_choices]
        network = self.profile(params)
        known = [math.log(network.parameters), math.log(self.seconds(params, self.reference))]
        choices = [
            vector[i] == choice for i, axis in enumerate(self._encoding.axes) for choice in range(axis.n_choices)
        ]
        return np.concatenate([np.nan_to_num(vector[numbers], nan=-1.0), np.array(choices, dtype=float), known])


class Forest:
    """Extremely randomised trees with a quick answer for a single row: scikit-learn's own takes sixteen times as long."""

    def __init__(self, rows: Array, targets: Array, *, seed: int) -> None:
        trees = ExtraTreesRegressor(TREES, min_samples_leaf=2, max_features=0.5, random_state=seed)
        trees.fit(rows, targets[:, 0] if targets.shape[1] == 1 else targets)
        self._trees = [each.tree_ for each in trees.estimators_]

    def predict(self, row: Array) -> Array:
        """Targets ``(targets,)`` of one row ``(columns,)``."""
        asked = row[None, :].astype(np.float32)
        return np.asarray(np.mean([each.predict(asked)[0] for each in self._trees], axis=0)).ravel()


class Expected(NamedTuple):
    """What is expected of a configuration.

    Attributes:
        accuracy: ``(readings,)``.
        seconds: of all epochs.
        size_mb: of the model.
    """

    accuracy: Array
    seconds: float
    size_mb: float


class Surrogate:
    """Serves a recorded problem; see the top of this file."""

    def __init__(self, problem: str, folder: Path = RECORDED) -> None:
        names = (f"{problem}.json", f"{problem}_configurations.parquet", f"{problem}_curves.parquet")
        self.files = (Path(__file__), *(folder / name for name in names))
        self.about: dict[str, Any] = json.loads((folder / f"{problem}.json").read_text(encoding="utf-8"))
        self.space = load_settings({"search_space": {"inputs": {"standardise": False}}}, environment={}).search_space
        self.facts = Facts(self.about, self.space)
        self.max_epochs = int(self.about["epochs"])
        self.chance = float(self.about["chance"])
        self.n_val = int(self.about["independent_validation_windows"])
        self.epochs = np.array([*QUARTERS, *range(1, self.max_epochs + 1)])
        tables = {name: pd.read_parquet(folder / f"{problem}_{name}.parquet") for name in ("configurations", "curves")}
        self.recorded = self._whole(tables["configurations"], tables["curves"])
        self.configurations = [json.loads(raw) for raw in tables["configurations"]["params"]]
        self.expected = lru_cache(maxsize=200_000)(self._expected)

    def _whole(self, configurations: pd.DataFrame, curves: pd.DataFrame) -> Recorded:
        curve_of = dict(iter(curves.groupby("number")))
        place: dict[int, int] = {}
        pace = configurations.groupby("machine")["yardstick_seconds"].median()
        params, accuracy, seconds, pairs = [], [], [], []
        for each in configurations[configurations["state"] == "whole"].itertuples():
            curve = curve_of[each.number].sort_values("epoch")  # a quarter is told after the step that completes it
            if len(curve) != len(self.epochs) or np.abs(curve["epoch"] - self.epochs).max() > 0.25:
                raise ValueError(f"row {each.number} is whole and has readings at {curve['epoch'].tolist()}")
            found, own = json.loads(each.params), self.facts.machines[each.machine]
            speed = self.facts.seconds(found, self.facts.reference) / self.facts.seconds(found, own)
            speed *= pace[each.machine] / each.yardstick_seconds
            place[each.number] = len(params)
            if each.kind == "again" and each.of in place:
                pairs.append((place[each.of], len(params)))
            params.append(found)
            accuracy.append(kept(curve["score"].to_numpy(dtype=float), curve["loss"].to_numpy(dtype=float)))
            seconds.append(curve["seconds"].to_numpy(dtype=float) * speed)
        return Recorded(params, np.array(accuracy), np.array(seconds), pairs)

    @cached_property
    def rows(self) -> Array:
        """Inputs of the trees, a row for each recorded training."""
        return np.array([self.facts.row(each) for each in self.recorded.params])

    @cached_property
    def _forests(self) -> tuple[Forest, Forest]:
        accuracy, seconds = self.recorded.accuracy, self.recorded.seconds
        return Forest(self.rows, accuracy, seed=0), Forest(self.rows, self.slowness(seconds)[:, None], seed=1)

    def slowness(self, seconds: Array) -> Array:
        """ln of what recorded trainings took of what the cost model predicted, ``(rows,)``."""
        predicted = [self.facts.seconds(each, self.facts.reference) for each in self.recorded.params]
        return np.log(seconds[:, -1] / np.array(predicted))

    def _expected(self, stored: str) -> Expected:
        params = json.loads(stored)
        row = self.facts.row(params)
        accuracy, slowness = (forest.predict(row) for forest in self._forests)
        seconds = self.facts.seconds(params, self.facts.reference) * math.exp(float(slowness[0]))
        return Expected(accuracy, seconds, self.facts.profile(params).size_mb)

    def cost(self, params: Params) -> tuple[float, float]:
        """Seconds of all epochs as the cost model predicts them, and MB."""
        return self.facts.seconds(params, self.facts.reference), self.facts.profile(params).size_mb

    def truth(self, params: Params) -> tuple[float, float, float]:
        """Accuracy, seconds and MB after all epochs, without noise."""
        found = self.expected(_stored(params))
        return float(found.accuracy[-1]), found.seconds, found.size_mb

    def reference_front(self) -> Array:
        """What is expected of the best recorded configurations, also of those that were too dear to be trained to their end."""
        rows = np.array([self.truth(params) for params in self.configurations])
        rows = rows[rows[:, 0] > self.chance]
        return rows[non_dominated(rows * (-1.0, 1.0, 1.0))]

    def evaluate(self, params: Params, seed: int) -> Iterator[tuple[float, float, float, float]]:
        """Readings of a training, the same again for the same arguments."""
        stored = _stored(params)
        found = self.expected(stored)
        luck = np.random.default_rng([seed, *stored.encode()])
        pair = self._near(self._pairs.level, float(found.accuracy[-1]), luck)
        sign = luck.choice((-1.0, 1.0))
        accuracy = np.clip(found.accuracy + sign * self._pairs.accuracy[pair], 0.0, 1.0)
        shape = self._shapes[self._near(self._log_seconds, math.log(found.seconds), luck)]
        seconds = found.seconds * math.exp(sign * self._pairs.slowness[pair]) * shape
        for reading in zip(self.epochs.tolist(), accuracy.tolist(), seconds.tolist(), strict=True):
            yield *reading, found.size_mb

    def _near(self, known: Array, value: float, luck: np.random.Generator) -> int:
        nearest = np.argsort(np.abs(known - value), kind="stable")[:NEAREST]
        return int(luck.choice(nearest))

    @cached_property
    def _pairs(self) -> "Noise":
        first, second = (np.array(rows) for rows in zip(*self.recorded.again, strict=True))
        accuracy, slowness = self.recorded.accuracy, self.slowness(self.recorded.seconds)
        return Noise(
            level=(accuracy[first, -1] + accuracy[second, -1]) / 2,
            accuracy=(accuracy[first] - accuracy[second]) / math.sqrt(2),
            slowness=(slowness[first] - slowness[second]) / math.sqrt(2),
        )

    @cached_property
    def _shapes(self) -> Array:
        return self.recorded.seconds / self.recorded.seconds[:, -1:]

    @cached_property
    def _log_seconds(self) -> Array:
        return np.log(self.recorded.seconds[:, -1])


class Noise(NamedTuple):
    """What a training differs by from what is expected of it, a row for each pair.

    Attributes:
        level: mean final accuracy of the two.
        accuracy: ``(pairs, readings)``.
        slowness: of ln seconds.
    """

    level: Array
    accuracy: Array
    slowness: Array


def kept(accuracy: Array, loss: Array) -> Array:
    """Accuracy of the weights with the least loss so far, after each reading."""
    before = np.concatenate([[math.inf], np.minimum.accumulate(loss)[:-1]])
    place = np.maximum.accumulate(np.where(loss < before, np.arange(len(loss)), 0))
    return np.asarray(accuracy[place])


def _stored(params: Params) -> str:
    return json.dumps(dict(params), sort_keys=True)
