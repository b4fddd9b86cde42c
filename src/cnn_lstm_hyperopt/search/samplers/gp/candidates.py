"""Makes new configurations of good ones, as in an evolution strategy: mixed and conditional parameters need no gradient."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.search.samplers.encoding import Encoding

Array = NDArray[np.float64]

CROSSOVER, LEAST_SD, UNIFORM = 0.2, 0.05, 0.1
"""Chance that a coordinate comes from the other parent; least step; chance that a number is drawn anew."""


def children(encoding: Encoding, good: Array, count: int, n_uniform: int, generator: np.random.Generator) -> Array:
    """Vectors of new configurations, shape ``(count, axes)``: crossed, moved, snapped; the last ``n_uniform`` at random.

    Args:
        good: vectors of the parents, shape ``(parents, axes)``; NaN where a parameter does not exist.
    """
    axes = encoding.axes
    d = len(axes)
    choices = np.array([axis.n_choices for axis in axes])
    a, b = (good[generator.integers(len(good), size=count)] for _ in range(2))
    crossed = (generator.random((count, d)) < CROSSOVER) & ~np.isnan(b)
    child = np.where(crossed, b, a)
    uniform = generator.random((count, d))
    uniform = np.where(choices > 0, np.floor(uniform * np.maximum(choices, 1)), uniform)
    missing = np.isnan(child)
    rate = max(0.25, 1.5 / d) if d < 12 else max(0.15, 2 / d)
    moved = generator.random((count, d)) < rate
    moved[np.arange(count), generator.integers(d, size=count)] = True
    spread = np.maximum(np.nan_to_num(_nanstd(good)), LEAST_SD) * 10 ** generator.uniform(-1, 0.2, (count, d))
    stepped = _reflect(np.nan_to_num(child) + spread * generator.standard_normal((count, d)))
    anew = (choices > 0) | (generator.random((count, d)) < UNIFORM)
    child = np.where(moved, np.where(anew, uniform, stepped), child)
    child = np.where(missing, uniform, child)
    if n_uniform:
        child[-n_uniform:] = uniform[-n_uniform:]
    return encoding.snapped(child)


def _reflect(x: Array) -> Array:
    """Into [0, 1], at its ends."""
    x = np.abs(x) % 2.0
    return np.where(x > 1.0, 2.0 - x, x)


def _nanstd(vectors: Array) -> Array:
    """Of each column over the values that are there; 0 where there are none."""
    there = ~np.isnan(vectors)
    count = np.maximum(there.sum(axis=0), 1)
    filled = np.where(there, vectors, 0.0)
    mean = filled.sum(axis=0) / count
    return np.asarray(np.sqrt((np.where(there, vectors - mean, 0.0) ** 2).sum(axis=0) / count))
