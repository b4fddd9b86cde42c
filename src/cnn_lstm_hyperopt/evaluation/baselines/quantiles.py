"""Class probabilities from quantile forecasts of the regression target."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MAX_SCORE = 3.7
"""Largest normal score of a probability. So no probability of a side of an edge is below 0.0001, whatever the forecast."""


def probabilities_below(levels: Floats, quantiles: Floats, edges: Floats) -> Floats:
    """Return the probability that a value is at most each edge, ``(windows, edges)``.

    The normal score Φ⁻¹(level) is linear in the value between two quantiles, and outside of the quantiles continues the line
    of the two nearest quantiles. So the probabilities are exact if the forecast is a normal distribution. Quantiles that cross
    are sorted first (Chernozhukov, Fernández-Val & Galichon 2010).

    Args:
        levels: ``(levels,)`` ascending levels of the quantiles, at least 2, between 0 and 1.
        quantiles: ``(windows, levels)`` forecast quantiles of the value.
        edges: ``(windows, edges)`` ascending values.

    Raises:
        ValueError: an argument violates a rule above.
    """
    from scipy.special import ndtr, ndtri  # imports in 0.2 s

    levels, quantiles, edges = (np.asarray(each, dtype=np.float64) for each in (levels, quantiles, edges))
    if levels.ndim != 1 or len(levels) < 2 or not (levels[0] > 0 and levels[-1] < 1 and (np.diff(levels) > 0).all()):
        raise ValueError(f"levels must be at least 2 ascending numbers between 0 and 1, but got {levels.tolist()}")
    if quantiles.shape != (len(edges), len(levels)):
        raise ValueError(f"quantiles must have the shape {(len(edges), len(levels))}, but have {quantiles.shape}")
    if not np.isfinite(quantiles).all():
        raise ValueError("quantiles must be finite numbers")
    ordered, scores = np.sort(quantiles, axis=1), ndtri(levels)
    after = np.clip((ordered[:, :, None] <= edges[:, None]).sum(axis=1), 1, len(levels) - 1)  # (windows, edges)
    low, high = (np.take_along_axis(ordered, place, axis=1) for place in (after - 1, after))
    low_score, high_score = scores[after - 1], scores[after]
    width = np.maximum(high - low, np.finfo(np.float64).tiny)
    with np.errstate(over="ignore"):  # quantiles that are equal make a step, whose scores are clipped
        found = low_score + (edges - low) / width * (high_score - low_score)
    return np.asarray(ndtr(np.clip(found, -MAX_SCORE, MAX_SCORE)))


def interval_probabilities(levels: Floats, quantiles: Floats, edges: Floats) -> Floats:
    """Return the probability that a value is in each of the intervals between the edges, ``(windows, edges + 1)``.

    The arguments are those of :func:`probabilities_below`.
    """
    below = probabilities_below(levels, quantiles, edges)
    whole = np.concatenate([np.zeros((len(below), 1)), below, np.ones((len(below), 1))], axis=1)
    return np.asarray(np.maximum(np.diff(whole, axis=1), 0.0))


def barrier_probabilities(levels: Floats, quantiles: Floats, edges: Floats) -> Floats:
    """Return the probabilities that a price passes the lower barrier first, no barrier, and the upper barrier, ``(windows, 3)``.

    By the reflection principle, a random walk without drift passes a barrier within the horizon twice as probably as it ends
    beyond the barrier (Feller 1968, ch. III). If the probabilities of both barriers add up to more than 1, they are divided by
    their sum. The chance of passing both barriers is neglected.

    Args:
        levels, quantiles: forecast of the value at the end of the horizon; see :func:`probabilities_below`.
        edges: ``(windows, 2)`` values at the lower and at the upper barrier.
    """
    below = probabilities_below(levels, quantiles, edges)
    passed = 2 * np.stack([below[:, 0], 1 - below[:, 1]], axis=1)
    passed /= np.maximum(passed.sum(axis=1, keepdims=True), 1.0)
    neither = np.maximum(1 - passed.sum(axis=1), 0.0)
    return np.stack([passed[:, 0], neither, passed[:, 1]], axis=1)
