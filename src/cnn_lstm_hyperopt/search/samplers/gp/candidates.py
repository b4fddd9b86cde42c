"""Creation of candidates from good configurations by crossover and mutation, which need no gradients."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.search.samplers.encoding import Encoding

Array = NDArray[np.float64]

CROSSOVER, MIN_SD, UNIFORM = 0.2, 0.05, 0.1
"""The first number is the probability that a coordinate comes from the second parent. The second is the lower bound of the
standard deviation of a mutation. The third is the probability that a number is drawn uniformly."""


def children(encoding: Encoding, good: Array, count: int, n_uniform: int, generator: np.random.Generator) -> Array:
    """Return vectors of new configurations, shape ``(count, axes)``; the last ``n_uniform`` vectors are random.

    Args:
        good: vectors of the parents, shape ``(parents, axes)``; NaN for inactive parameters.
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
    spread = np.maximum(np.nan_to_num(_nanstd(good)), MIN_SD) * 10 ** generator.uniform(-1, 0.2, (count, d))
    stepped = _reflect(np.nan_to_num(child) + spread * generator.standard_normal((count, d)))
    anew = (choices > 0) | (generator.random((count, d)) < UNIFORM)
    child = np.where(moved, np.where(anew, uniform, stepped), child)
    child = np.where(missing, uniform, child)
    if n_uniform:
        child[-n_uniform:] = uniform[-n_uniform:]
    return encoding.snapped(child)


def _reflect(x: Array) -> Array:
    """Return values after reflecting all values outside [0, 1] at 0 or 1."""
    x = np.abs(x) % 2.0
    return np.where(x > 1.0, 2.0 - x, x)


def _nanstd(vectors: Array) -> Array:
    """Return the standard deviation of each column, ignoring NaN; 0 for a column of NaN."""
    known = ~np.isnan(vectors)
    count = np.maximum(known.sum(axis=0), 1)
    filled = np.where(known, vectors, 0.0)
    mean = filled.sum(axis=0) / count
    return np.asarray(np.sqrt((np.where(known, vectors - mean, 0.0) ** 2).sum(axis=0) / count))
