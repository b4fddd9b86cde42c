"""Analytic problems drawn by a seed, so that a search can be judged on problems that nobody tuned it on.

Odd seeds are for tuning, even seeds for reports. A seed draws: 5 to 45 parameters (numbers, whole numbers, choices; some exist
only where a choice has certain values), 8 to 100 epochs, 300 to 10,000 validation rows, chance, and the relation of cost and
quality from −1 (cheap configurations are better) to +1 (expensive ones are better).

    accuracy = chance + span · quality(capacity) · exp(−penalty)
    ln seconds = range · capacity + heavy tail + extras        ln MB = range · other weights of the capacity parameters

The *capacity* is a weighted mean of one to four parameters. The *penalty* is a sum of squares and of steps of the choices; the
best value of a number may move with the capacity. A few parameters have most of the weight. Configurations with a large capacity
learn more slowly, and one parameter makes all configurations faster or slower, so curves cross. In some problems the top of one
parameter collapses: the accuracy falls to chance after some good epochs.

Noise: binomial on the validation rows, of which three tenths are shared by all epochs of a trial; a factor of the accuracy above
chance (Student's t with 3 degrees of freedom) that is the trial's own; a factor of the seconds of each trial and epoch. Predicted
seconds are wrong by a factor whose logarithm has the standard deviation 0.3.
"""

import hashlib
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.search import SkillThreshold
from cnn_lstm_hyperopt.search.trial import key_of
from problems import Array, Params, Problem, ProblemError, space_of
from problems.evolved import evolved_front

COST_ERROR = 0.3
SHARED = 0.3
"""Correlation of the binomial noise of two epochs."""


class Member:
    """One problem of the family.

    Attributes:
        seed: draws all that follows.
        relation: of cost and quality, −1 to 1.
    """

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng([25, seed])
        self.seed = seed
        n = round(math.exp(draw.uniform(math.log(5), math.log(45))))
        self.max_epochs = round(math.exp(draw.uniform(math.log(8), math.log(100))))
        self.n_val = round(math.exp(draw.uniform(math.log(300), math.log(10_000))))
        self.relation = draw.uniform(-1, 1)
        self.chance = draw.uniform(0.1, 0.6)
        self.span = draw.uniform(0.3, 0.95) * (1 - self.chance)
        n_capacity = int(draw.integers(1, 1 + min(4, n // 3)))
        self.raw = _space(draw, n, n_capacity)
        space, faults = space_of(self.raw)
        if faults:
            raise ProblemError("\n".join(faults))
        self.space = space
        self.names = list(self.raw)
        self.capacity = np.concatenate([draw.dirichlet(np.ones(n_capacity)), np.zeros(n - n_capacity)])
        self.memory = np.concatenate([draw.dirichlet(np.ones(n_capacity)), np.zeros(n - n_capacity)])
        self.cost_range, self.memory_range, self.tail = (
            draw.uniform(1.5, 4.5),
            draw.uniform(1.0, 6.0),
            draw.uniform(0, 6),
        )
        self.base_seconds = math.exp(draw.uniform(math.log(2), math.log(60)))
        self.gain = draw.uniform(0.2, 0.7)
        weights = draw.exponential(1.0, n) ** 2 * (np.arange(n) >= n_capacity)
        self.weights = draw.uniform(1.5, 5.0) * weights / weights.sum()
        self.best, self.slope = draw.uniform(0.1, 0.9, n), draw.uniform(-0.4, 0.4, n)
        self.steps = [draw.permutation(np.linspace(0.0, 1.0, 5)) for _ in range(n)]
        extra = draw.exponential(0.25, n) * (draw.random(n) < 0.2) * (np.arange(n) >= n_capacity)
        self.extra = extra
        numbers = [i for i in range(n_capacity, n) if "choices" not in self.raw[self.names[i]]] or [0]
        self.pacer, self.cliff = int(draw.choice(numbers)), int(draw.choice(numbers))
        self.collapses = bool(draw.random() < 0.4)
        self.pace, self.pace_capacity, self.pace_pacer = (
            draw.uniform(-3, -1),
            draw.uniform(0, 1.5),
            draw.uniform(-1.5, 1.5),
        )
        self.shape = draw.uniform(0.7, 1.8)
        self.own_noise = draw.uniform(0.0, 0.03)
        self.known = lru_cache(maxsize=50_000)(self._known)

    # ------------------------------------------------------------------ without noise

    def truth_of(self, u: Array) -> Array:
        """Return (accuracy, seconds, MB) of positions in the unit cube, ``(rows, 3)``; a missing parameter is NaN or ignored."""
        return self._values(self._snapped(u))[0]

    def _snapped(self, u: Array) -> Array:
        """Return positions whose choices are 0, 1, … and whose missing parameters are NaN."""
        u = u.copy()
        place = {name: i for i, name in enumerate(self.names)}
        for i, (_, said) in enumerate(self.raw.items()):
            if "choices" in said:
                u[:, i] = np.floor(u[:, i] * len(said["choices"]))
            for parent, values in said.get("when", {}).items():
                allowed = [self.raw[parent]["choices"].index(value) for value in values]
                u[~np.isin(u[:, place[parent]], allowed), i] = np.nan
        return u

    def _values(self, x: Array) -> tuple[Array, Array, Array]:
        """Return (accuracy, seconds, MB), the pace in epochs, and the epoch of the collapse (infinite without one)."""
        filled = np.nan_to_num(x, nan=0.5)
        size = filled @ self.capacity
        penalty, extra = np.zeros(len(x)), np.zeros(len(x))
        for i, said in enumerate(self.raw.values()):
            exists = ~np.isnan(x[:, i])
            if "choices" in said:
                term = self.steps[i][filled[:, i].astype(int) % 5] * 0.4
                costs = self.extra[i] * (filled[:, i] == 0)
            else:
                best = np.clip(self.best[i] + self.slope[i] * (size - 0.5), 0.0, 1.0)
                term, costs = 2 * (filled[:, i] - best) ** 2, self.extra[i] * filled[:, i]
            penalty += np.where(exists, self.weights[i] * term, 0.0)
            extra += np.where(exists, costs, 0.0)
        quality = 1 - self.gain * (max(self.relation, 0) * (1 - size) ** 1.5 + max(-self.relation, 0) * size**1.5)
        late = filled[:, self.cliff] - 0.8
        collapse = np.where(self.collapses & (late > 0), np.ceil(self.max_epochs * (0.6 - 2 * late)), np.inf)
        height = np.where(np.isfinite(collapse), 0.0, self.span * quality * np.exp(-penalty))
        log_seconds = (
            math.log(self.base_seconds) + self.cost_range * size + self.tail * np.maximum(size - 0.75, 0) + extra
        )
        log_mb = self.memory_range * (filled @ self.memory - 0.5)
        pace = self.pace + self.pace_capacity * size + self.pace_pacer * (filled[:, self.pacer] - 0.5)
        values = np.column_stack([self.chance + height, np.exp(log_seconds), np.exp(log_mb)])
        return values, self.max_epochs * np.exp(np.clip(pace, -4.0, 0.3)), collapse

    def _position(self, params: Params) -> Array:
        """Return the position of a configuration, ``(1, axes)``; NaN for a missing parameter."""
        x = np.full((1, len(self.names)), np.nan)
        for i, (name, said) in enumerate(self.raw.items()):
            if name not in params:
                continue
            value = params[name]
            if "choices" in said:
                x[0, i] = said["choices"].index(value)
            else:
                low, high, at = (math.log(v) if said["log"] else float(v) for v in (said["low"], said["high"], value))
                x[0, i] = (at - low) / (high - low)
        return x

    def _known(self, key: tuple[tuple[str, Any], ...]) -> tuple[float, float, float, float, float]:
        values, pace, collapse = self._values(self._position(dict(key)))
        return float(values[0, 0]), float(values[0, 1]), float(values[0, 2]), float(pace[0]), float(collapse[0])

    def truth(self, params: Params) -> tuple[float, float, float]:
        """Return accuracy, seconds and MB after all epochs, without noise."""
        return self.known(key_of(params))[:3]

    def cost(self, params: Params) -> tuple[float, float]:
        """Return the predicted seconds, which are wrong by a factor that is the configuration's own, and the MB."""
        _, seconds, size_mb, _, _ = self.known(key_of(params))
        return seconds * math.exp(COST_ERROR * luck_of("cost", params).standard_normal()), size_mb

    # ------------------------------------------------------------------ as measured

    def evaluate(self, params: Params, seed: int) -> Iterator[tuple[int, float, float, float]]:
        """Yield epoch, measured accuracy, seconds so far and MB."""
        final, seconds, size_mb, pace, collapse = self.known(key_of(params))
        luck = luck_of(seed, params)
        # After a collapse nothing is left; before it, the curve is that of half of the span.
        height = final - self.chance if math.isinf(collapse) else 0.5 * self.span
        height *= math.exp(min(max(self.own_noise * luck.standard_t(3), -0.3), 0.3))
        epochs = np.arange(1, self.max_epochs + 1)
        learnt = 1 - np.exp(-((epochs / pace) ** self.shape))
        accuracy = self.chance + np.where(epochs > collapse, 0.0, height * learnt / learnt[-1])
        accuracy = np.clip(accuracy, 0.0, 1.0)
        took = (
            seconds / self.max_epochs * np.exp(0.1 * luck.standard_normal() + 0.05 * luck.standard_normal(len(epochs)))
        )
        yield from zip(
            epochs.tolist(),
            measured(accuracy, self.n_val, luck).tolist(),
            np.cumsum(took).tolist(),
            [size_mb] * len(epochs),
            strict=True,
        )


def measured(accuracy: Array, n_val: int, luck: np.random.Generator) -> Array:
    """Return accuracies with the error of ``n_val`` validation rows, part of which is the same in all epochs."""
    noise = math.sqrt(SHARED) * luck.standard_normal() + math.sqrt(1 - SHARED) * luck.standard_normal(len(accuracy))
    return np.clip(accuracy + np.sqrt(accuracy * (1 - accuracy) / n_val) * noise, 0.0, 1.0)


def member(seed: int) -> Problem:
    """Return the problem that a seed draws."""
    drawn = Member(seed)
    return Problem(
        path=Path(f"family-{seed}"),
        space=drawn.space,
        max_epochs=drawn.max_epochs,
        skill=SkillThreshold(drawn.chance, drawn.n_val),
        evaluate=drawn.evaluate,
        truth=drawn.truth,
        reference=evolved_front(drawn.truth_of, len(drawn.names), drawn.chance),
        cost=drawn.cost,
        data=(Path(__file__),),
    )


def _space(draw: np.random.Generator, n: int, n_capacity: int) -> dict[str, dict[str, Any]]:
    space: dict[str, dict[str, Any]] = {}
    conditional = draw.uniform(0.0, 0.4)
    for i in range(n):
        kind = str(draw.choice(["float", "int"] if i < n_capacity else ["float", "int", "categorical"]))
        if kind == "categorical":
            said: dict[str, Any] = {"type": kind, "choices": [f"c{j}" for j in range(int(draw.integers(2, 6)))]}
        elif kind == "int":
            log = bool(draw.random() < 0.5)
            said = {"type": kind, "low": 1, "high": int(draw.integers(4, 400 if log else 40)), "log": log}
        else:
            said = {"type": kind, "low": 1e-4, "high": 1.0, "log": bool(draw.random() < 0.4)}
        parents = [name for name, each in space.items() if "choices" in each and "when" not in each]
        if i >= n_capacity and parents and draw.random() < conditional:
            parent = str(draw.choice(parents))
            choices = space[parent]["choices"]
            said["when"] = {parent: choices[: int(draw.integers(1, len(choices)))]}
        space[f"p{i:02d}"] = said
    return space


def luck_of(seed: object, params: Params) -> np.random.Generator:
    """Return a generator that depends on the seed and the configuration alone."""
    text = f"{seed} {sorted(params.items())}".encode()
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())))
