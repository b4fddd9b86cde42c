"""An analytic problem of 42 mixed parameters, partly conditional, whose Pareto front is known; it models no network.

Six parameters are its *capacity*: two widths, layers, directions, attention, batch size. Alone they decide the MB, the fewest
seconds, and the most accuracy that can be had:

    accuracy = CHANCE + SPAN · quality(capacity) · exp(−penalty)
    seconds = base(capacity) · excess        MB = size(capacity) · excess

All other parameters have a penalty ≥ 0 (some also an excess ≥ 1, of seconds or MB), which is 0 (and 1) at one value that is
known in closed form; it may depend on the capacity, as the best learning rate does on the batch size. So the front is that of
``(CHANCE + SPAN · quality, base, size)`` over the capacities alone, and :func:`reference_front` enumerates them: all values of
the small parameters, with 40 values of each width, evenly spaced in the logarithm. :func:`best` gives the other 36 parameters.

What makes it hard to search and to prune: configurations that differ a hundredfold in cost, with a heavy tail (the dearest tenth
takes ten times the median); larger models and the best scheduler start slowly and end well; a learning rate too high ends at
chance after a few good epochs; the first epoch warms up, which spoils its seconds. Accuracy is read on N_VAL rows: each reading
is binomial, and three tenths of the rows draw the same luck in all epochs of a trial.
"""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Params = Mapping[str, Any]

MAX_EPOCHS = 30
CHANCE = 0.52
N_VAL = 2000
SPAN = 0.26
"""What the best model has above chance."""
SHARED_ROWS = 600
"""Of the validation rows: their luck is the same in all epochs of a trial, so two readings correlate by 0.3."""
EPOCH_NOISE = 0.05
"""Standard deviation of the logarithm of an epoch's seconds."""
COST_ERROR = 0.3
"""Standard deviation of the logarithm of predicted seconds."""
WARM_UP = 0.8
"""What the first epoch takes longer, in epochs."""
GRID = 40
"""Values of each width in the reference front."""

_FLAG = [False, True]
SPACE: dict[str, dict[str, Any]] = {
    # Capacity.
    "conv.width": {"type": "int", "low": 8, "high": 256, "log": True},
    "recurrent.width": {"type": "int", "low": 16, "high": 512, "log": True},
    "recurrent.layers": {"type": "int", "low": 1, "high": 4},
    "recurrent.bidirectional": {"type": "categorical", "choices": _FLAG},
    "attention.use": {"type": "categorical", "choices": _FLAG},
    "train.batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
    # All else.
    "conv.kernel": {"type": "categorical", "choices": [3, 5, 7, 11]},
    "conv.activation": {"type": "categorical", "choices": ["relu", "gelu", "swish", "tanh"]},
    "conv.norm": {"type": "categorical", "choices": ["batch", "layer", "none"]},
    "conv.dropout": {"type": "float", "low": 0.0, "high": 0.6},
    "conv.residual": {"type": "categorical", "choices": _FLAG},
    "conv.pool": {"type": "categorical", "choices": ["none", "max", "mean"]},
    "conv.pool_size": {"type": "int", "low": 2, "high": 8, "when": {"conv.pool": ["max", "mean"]}},
    "recurrent.cell": {"type": "categorical", "choices": ["lstm", "gru", "plain"]},
    "recurrent.forget_bias": {"type": "float", "low": 0.0, "high": 3.0, "when": {"recurrent.cell": ["lstm"]}},
    "recurrent.dropout": {"type": "float", "low": 0.0, "high": 0.6},
    "recurrent.skip": {"type": "categorical", "choices": _FLAG, "when": {"recurrent.layers": [2, 3, 4]}},
    "attention.heads": {"type": "categorical", "choices": [1, 2, 4, 8, 16], "when": {"attention.use": [True]}},
    "attention.dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"attention.use": [True]}},
    "attention.temperature": {
        "type": "float",
        "low": 0.2,
        "high": 5.0,
        "log": True,
        "when": {"attention.use": [True]},
    },
    "attention.directions": {
        "type": "categorical",
        "choices": ["each", "joint"],
        "when": {"attention.use": [True], "recurrent.bidirectional": [True]},
    },
    "fusion.method": {"type": "categorical", "choices": ["concat", "gated", "bilinear"]},
    "fusion.gate_bias": {"type": "float", "low": -3.0, "high": 3.0, "when": {"fusion.method": ["gated"]}},
    "fusion.rank": {"type": "int", "low": 2, "high": 64, "log": True, "when": {"fusion.method": ["bilinear"]}},
    "fusion.dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "train.optimizer": {"type": "categorical", "choices": ["adam", "adamw", "sgd", "rmsprop"]},
    "train.learning_rate": {"type": "float", "low": 1e-5, "high": 0.1, "log": True},
    "train.momentum": {"type": "float", "low": 0.5, "high": 0.99, "when": {"train.optimizer": ["sgd"]}},
    "train.second_moment": {
        "type": "float",
        "low": 1e-4,
        "high": 0.1,
        "log": True,
        "when": {"train.optimizer": ["adam", "adamw", "rmsprop"]},
    },
    "train.weight_decay": {"type": "float", "low": 1e-7, "high": 1e-1, "log": True},
    "train.clip": {"type": "categorical", "choices": _FLAG},
    "train.clip_norm": {"type": "float", "low": 0.1, "high": 10.0, "log": True, "when": {"train.clip": [True]}},
    "train.scheduler": {"type": "categorical", "choices": ["constant", "step", "cosine", "plateau"]},
    "train.step_epochs": {"type": "int", "low": 2, "high": 15, "when": {"train.scheduler": ["step"]}},
    "train.step_factor": {"type": "float", "low": 0.05, "high": 0.9, "when": {"train.scheduler": ["step"]}},
    "train.warmup_epochs": {"type": "int", "low": 0, "high": 8},
    "train.label_smoothing": {"type": "float", "low": 0.0, "high": 0.3},
    "train.precision": {"type": "categorical", "choices": ["single", "double"]},
    "data.augment": {"type": "categorical", "choices": _FLAG},
    "data.noise": {"type": "float", "low": 0.0, "high": 0.3, "when": {"data.augment": [True]}},
    "data.mixup": {"type": "float", "low": 0.0, "high": 0.6, "when": {"data.augment": [True]}},
    "data.copies": {"type": "int", "low": 1, "high": 6, "when": {"data.augment": [True]}},
}

_KERNEL = {3: 0.08, 5: 0.0, 7: 0.04, 11: 0.20}
_ACTIVATION = {"relu": 0.05, "gelu": 0.0, "swish": 0.03, "tanh": 0.25}
_NORM = {"batch": 0.06, "layer": 0.0, "none": 0.20}
_POOL = {"none": 0.15, "max": 0.0, "mean": 0.05}
_CELL = {"lstm": 0.0, "gru": 0.05, "plain": 0.8}
_FUSION = {"concat": 0.15, "gated": 0.0, "bilinear": 0.05}
_OPTIMIZER = {"adam": 0.05, "adamw": 0.0, "sgd": 0.12, "rmsprop": 0.10}
_OPTIMIZER_RATE = {"adam": 0.0, "adamw": 0.0, "sgd": 1.5, "rmsprop": -0.3}
_SCHEDULER = {"constant": 0.20, "step": 0.08, "cosine": 0.0, "plateau": 0.10}
_SLOWNESS = {"constant": 0.8, "step": 1.2, "cosine": 2.0, "plateau": 1.0}
"""Shape of the learning curve: above 1 it starts flat."""
_SEVERITY = 0.6
"""Of all penalties but that of the learning rate, which alone can spoil a configuration."""


def quality(conv: Any, recurrent: Any, layers: Any, bidirectional: Any, attention: Any, batch: Any) -> Any:
    """Accuracy above chance of the best configuration of a capacity, as a share of SPAN; numbers or arrays."""
    widths = 0.42 * (1 - (7 / conv) ** 0.8) + 0.58 * (1 - (14 / recurrent) ** 0.7)
    depth = 1.14 - 0.14 * 0.45 ** (layers - 1)
    return 0.882 * widths * depth * (1 + 0.04 * bidirectional) * (1 + 0.06 * attention) * (batch / 16) ** -0.025


def base_seconds(conv: Any, recurrent: Any, layers: Any, bidirectional: Any, attention: Any, batch: Any) -> Any:
    """Seconds of one epoch where nothing is wasted; numbers or arrays."""
    chains = layers * (1 + bidirectional)
    work = 0.01 + 4e-4 * conv + 3e-6 * conv**2 + chains * (4e-3 + 4e-4 * recurrent + 8e-6 * recurrent**2)
    return (work + attention * (0.01 + 1e-6 * recurrent**2 * (1 + bidirectional))) * (128 / batch) ** 0.8


def size(conv: Any, recurrent: Any, layers: Any, bidirectional: Any, attention: Any) -> Any:
    """MB of the weights in single precision; numbers or arrays."""
    directions = 1 + bidirectional
    first = 4 * recurrent * (conv + recurrent) * directions
    others = 4 * recurrent * recurrent * (1 + directions) * directions * (layers - 1)
    weights = 60 * conv + 10 * conv**2 + first + others + attention * 4 * (recurrent * directions) ** 2 + 2000
    return 4e-6 * weights


def truth(params: Params) -> tuple[float, float, float]:
    """Accuracy, seconds and MB after all epochs, without noise."""
    known = _Known(params)
    accuracy = CHANCE if known.collapse is not None else CHANCE + known.height
    return accuracy, known.epoch_seconds * (MAX_EPOCHS + WARM_UP), known.size_mb


def evaluate(params: Params, seed: int) -> Iterator[tuple[int, float, float, float]]:
    """Epoch, accuracy as read, seconds so far and MB, epoch by epoch; the same again for the same seed and parameters."""
    known = _Known(params)
    text = f"{seed} {sorted(params.items())}".encode()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())))
    luck = generator.random(SHARED_ROWS)
    seconds = 0.0
    for epoch in range(1, MAX_EPOCHS + 1):
        p = known.accuracy(epoch)
        right = np.count_nonzero(luck < p) + generator.binomial(N_VAL - SHARED_ROWS, p)
        factor = math.exp(EPOCH_NOISE * (generator.standard_normal() - EPOCH_NOISE / 2))  # 1 on average
        seconds += known.epoch_seconds * (1 + WARM_UP * (epoch == 1)) * factor
        yield epoch, right / N_VAL, seconds, known.size_mb


def cost(params: Params) -> tuple[float, float]:
    """Seconds as a cost model predicts them before training, wrong by a factor that is the configuration's own; exact MB."""
    known = _Known(params)
    text = f"cost {sorted(params.items())}".encode()
    luck = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())))
    return known.epoch_seconds * MAX_EPOCHS * math.exp(COST_ERROR * luck.standard_normal()), known.size_mb


def reference_front() -> NDArray[np.float64]:
    """Rows of (accuracy, seconds, MB), none dominated, by falling accuracy; see the top of this file."""
    conv = np.unique(np.geomspace(8, 256, GRID).round())
    recurrent = np.unique(np.geomspace(16, 512, GRID).round())
    grids = np.meshgrid(conv, recurrent, [1, 2, 3, 4], [0, 1], [0, 1], [16, 32, 64, 128], indexing="ij")
    capacity = [grid.ravel() for grid in grids]
    accuracy = CHANCE + SPAN * quality(*capacity)
    seconds = base_seconds(*capacity) * (MAX_EPOCHS + WARM_UP)
    rows = np.column_stack([accuracy, seconds, size(*capacity[:5])])
    return rows[_front(rows)]


def best(capacity: Params) -> dict[str, Any]:
    """The configuration on whose other parameters there is no penalty: the capacity's six parameters and the best of the rest."""
    found = {name: capacity[name] for name in list(SPACE)[:6]}
    wide, deep = _width_position(found["recurrent.width"]), found["recurrent.layers"] - 1
    found |= {"conv.kernel": 5, "conv.activation": "gelu", "conv.norm": "layer"}
    found |= {"conv.dropout": _conv_dropout(found["conv.width"]), "conv.residual": True}
    found |= {"conv.pool": "max", "conv.pool_size": 3, "recurrent.cell": "lstm", "recurrent.forget_bias": 1.0}
    found |= {"recurrent.dropout": 0.1 + 0.3 * wide}
    found |= {"recurrent.skip": True} if deep else {}
    if found["attention.use"]:
        found |= {"attention.heads": 4, "attention.dropout": 0.1, "attention.temperature": 1.0}
        found |= {"attention.directions": "joint"} if found["recurrent.bidirectional"] else {}
    found |= {"fusion.method": "gated", "fusion.gate_bias": 0.5, "fusion.dropout": 0.15}
    rate = 10 ** _best_log_rate("adamw", found["train.batch_size"], deep, wide)
    found |= {"train.optimizer": "adamw", "train.learning_rate": rate, "train.second_moment": 1e-3}
    found |= {"train.weight_decay": 10 ** (-4 + wide), "train.clip": True, "train.clip_norm": 1.0}
    found |= {"train.scheduler": "cosine", "train.warmup_epochs": 2, "train.label_smoothing": 0.05}
    found |= {"train.precision": "single", "data.augment": True, "data.noise": 0.1}
    found |= {"data.mixup": 0.2, "data.copies": 1}
    return {name: found[name] for name in SPACE if name in found}


class _Known:
    """What the formulas make of a configuration."""

    def __init__(self, params: Params) -> None:
        capacity = tuple(params[name] for name in _CAPACITY)
        _, recurrent, layers, _, _, batch = capacity
        wide = _width_position(recurrent)
        log_rate = math.log10(params["train.learning_rate"])
        rate = log_rate - _best_log_rate(params["train.optimizer"], batch, layers - 1, wide)
        double = params["train.precision"] == "double"

        self.height: float = SPAN * quality(*capacity) * math.exp(-_penalty(params, rate, wide))
        """Accuracy above chance that is reached unless it collapses."""
        self.epoch_seconds = base_seconds(*capacity) * params.get("data.copies", 1) * (2.0 if double else 1.0)
        self.size_mb = size(*capacity[:5]) * (2 if double else 1)
        self.slowness = _SLOWNESS[params["train.scheduler"]] + 0.06 * params["train.warmup_epochs"]
        pace = 0.10 + 0.16 * wide + 0.04 * (layers - 1)
        self.pace = MAX_EPOCHS * min(0.8, pace * 10 ** min(max(-0.35 * rate, -0.3), 1.0))
        """Epochs after which two thirds are learnt."""
        self._end = 1 - math.exp(-((MAX_EPOCHS / self.pace) ** self.slowness))
        margin = 1.0 + 0.5 * params["train.clip"] - 0.4 * (params["conv.norm"] == "none")
        self.collapse = None if rate <= margin else 1 + int(6 / (1 + 4 * (rate - margin)))
        """The last epoch before it falls to chance; None: never."""

    def accuracy(self, epoch: int) -> float:
        """Without noise."""
        if self.collapse is not None and epoch > self.collapse:
            return CHANCE
        return CHANCE + self.height * (1 - math.exp(-((epoch / self.pace) ** self.slowness))) / self._end


_CAPACITY = tuple(SPACE)[:6]


def _width_position(recurrent: float) -> float:
    """0 at the narrowest, 1 at the widest."""
    return math.log(recurrent / 16) / math.log(32)


def _conv_dropout(conv: float) -> float:
    return 0.1 + 0.3 * math.log(conv / 8) / math.log(32)


def _best_log_rate(optimizer: str, batch: int, deeper: int, wide: float) -> float:
    return -2.8 + _OPTIMIZER_RATE[optimizer] + 0.15 * math.log2(batch / 16) - 0.15 * deeper - 0.6 * wide


def _penalty(params: Params, rate: float, wide: float) -> float:
    """≥ 0; every term is 0 at one value of its parameter, and one that does not exist has none."""
    log10, log2 = math.log10, math.log2
    total: float = _KERNEL[params["conv.kernel"]] + _ACTIVATION[params["conv.activation"]] + _NORM[params["conv.norm"]]
    total += 1.2 * (params["conv.dropout"] - _conv_dropout(params["conv.width"])) ** 2
    total += 0.12 * (not params["conv.residual"]) + _POOL[params["conv.pool"]]
    if params["conv.pool"] != "none":
        total += 0.01 * (params["conv.pool_size"] - 3) ** 2
    total += _CELL[params["recurrent.cell"]]
    if params["recurrent.cell"] == "lstm":
        total += 0.05 * (params["recurrent.forget_bias"] - 1) ** 2
    total += 1.6 * (params["recurrent.dropout"] - 0.1 - 0.3 * wide) ** 2
    if params["recurrent.layers"] > 1:
        total += 0.05 * params["recurrent.layers"] * (not params["recurrent.skip"])
    if params["attention.use"]:
        total += 0.04 * (log2(params["attention.heads"]) - 2) ** 2
        total += 1.0 * (params["attention.dropout"] - 0.1) ** 2 + 0.25 * log10(params["attention.temperature"]) ** 2
        if params["recurrent.bidirectional"]:
            total += 0.06 * (params["attention.directions"] == "each")
    total += _FUSION[params["fusion.method"]] + 0.8 * (params["fusion.dropout"] - 0.15) ** 2
    if params["fusion.method"] == "gated":
        total += 0.03 * (params["fusion.gate_bias"] - 0.5) ** 2
    elif params["fusion.method"] == "bilinear":
        total += 0.03 * (log2(params["fusion.rank"]) - 4) ** 2
    total += _OPTIMIZER[params["train.optimizer"]]
    if params["train.optimizer"] == "sgd":
        total += 1.0 * (params["train.momentum"] - 0.9) ** 2
    else:
        total += 0.06 * (log10(params["train.second_moment"]) + 3) ** 2
    total += 0.04 * (log10(params["train.weight_decay"]) + 4 - wide) ** 2
    total += 0.15 * (not params["train.clip"])
    if params["train.clip"]:
        total += 0.12 * log10(params["train.clip_norm"]) ** 2
    total += _SCHEDULER[params["train.scheduler"]]
    if params["train.scheduler"] == "step":
        total += 0.002 * (params["train.step_epochs"] - 8) ** 2 + 0.3 * (params["train.step_factor"] - 0.4) ** 2
    total += 0.005 * (params["train.warmup_epochs"] - 2) ** 2 + 4 * (params["train.label_smoothing"] - 0.05) ** 2
    total += 0.20 * (not params["data.augment"])
    if params["data.augment"]:
        total += 3 * (params["data.noise"] - 0.1) ** 2 + 0.8 * (params["data.mixup"] - 0.2) ** 2
        total += 0.01 * (params["data.copies"] - 1)
    return _SEVERITY * total + min(0.8 * rate * rate, 4.0)


def _front(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the rows that no other dominates, the most accurate first, of duplicates the first one.

    From the most accurate row to the least, a row is kept if none so far has both as few seconds and as few MB. What was kept
    is a staircase: rising seconds, falling MB.
    """
    order = np.lexsort((rows[:, 2], rows[:, 1], -rows[:, 0]))
    kept: list[int] = []
    steps: list[float] = []
    sizes: list[float] = []
    for index, (_, seconds, size_mb) in zip(order, rows[order].tolist(), strict=True):
        place = bisect_right(steps, seconds)
        if place and sizes[place - 1] <= size_mb:
            continue
        kept.append(index)
        after = place
        while after < len(steps) and sizes[after] >= size_mb:
            after += 1
        steps[place:after], sizes[place:after] = [seconds], [size_mb]
    return np.array(kept)
