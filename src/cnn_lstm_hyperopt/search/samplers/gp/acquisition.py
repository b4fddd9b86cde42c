"""Functions with which the sampler ``gp`` selects parents, rows for its models, and candidates with a large expected gain."""

import math

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.pareto import crowding_distances, non_dominated
from cnn_lstm_hyperopt.search.samplers.boxes import improvement, undominated_boxes

Array = NDArray[np.float64]

REFERENCE = 1.1
"""Coordinate of the reference point in each scaled loss. A candidate with a larger loss gains no hypervolume."""
OPTIMISM = 0.7
"""Finalists are the candidates with the largest optimistic gain: each loss is this many standard deviations below its mean."""
FINALISTS, DRAWS = 48, 8
"""Number of finalists (candidates whose expected gain is computed), and number of random draws for each expectation."""
GOOD_SHARE, MIN_GOOD, MAX_GOOD = 0.15, 5, 60
"""Number of parents as a share of all trials, and the lower and upper bound of the number of parents."""


def parents(z: Array, diverged: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the row indices of the parents: the members of the front with losses below :data:`REFERENCE`.

    If too many rows meet this condition, the most crowded rows are removed. If too few rows meet this condition, the rows nearest
    to the front are added.

    Args:
        z: scaled losses, shape ``(rows, 3)``.
        diverged: mask of diverged trials, which are never parents, shape ``(rows,)``.
    """
    candidates = np.flatnonzero(~diverged)
    count = min(len(candidates), max(MIN_GOOD, min(MAX_GOOD, math.ceil(GOOD_SHARE * len(z)))))
    points = z[candidates]
    on_front = non_dominated(points)
    inside = on_front & (points < REFERENCE).all(axis=1)
    chosen = candidates[inside]
    if len(chosen) >= count:
        return chosen[thin(z[chosen], count)]
    front = points[on_front]
    beyond = np.linalg.norm(np.maximum(points - REFERENCE, 0.0), axis=1)
    over = np.zeros_like(points)  # how far the members of the front that dominate a row lie below it, at most
    for member in front:
        difference = points - member
        np.maximum(over, np.where((difference >= 0).all(axis=1, keepdims=True), difference, 0.0), out=over)
    distance = np.where(inside, -1.0, beyond + over.min(axis=1))
    return np.sort(candidates[np.argsort(distance, kind="stable")[:count]])


def cost_discount(log_seconds: Array, typical_log_seconds: Array, quantile: float) -> Array:
    """Return the factor by which each candidate's gain is multiplied: 1 / (1 + seconds / affordable seconds).

    Args:
        log_seconds: ln of the candidates' predicted seconds, shape ``(candidates,)``.
        typical_log_seconds: ln of the predicted seconds of random configurations, shape ``(configurations,)``.
        quantile: quantile of the random configurations' seconds that counts as affordable.
    """
    return np.asarray(1.0 / (1.0 + np.exp(log_seconds - np.quantile(typical_log_seconds, quantile))))


def nearest_to_front(z: Array, count: int) -> NDArray[np.int64]:
    """Return the indices of at most ``count`` rows with costs in the box: those whose score is nearest to the front.

    The distance of a row is the difference between its score and the best score of the rows with at most the same costs.

    Args:
        z: scaled losses, shape ``(rows, 3)``; the first loss is the negated score.
    """
    inside = np.flatnonzero((z[:, 1:] < REFERENCE).all(axis=1))
    if len(inside) <= count:
        return inside
    points = z[inside]
    front = points[non_dominated(points)]
    as_cheap = (front[:, 1] <= points[:, 1, None]) & (front[:, 2] <= points[:, 2, None])  # (rows, front)
    distance = np.where(as_cheap, points[:, 0, None] - front[:, 0], 0.0).max(axis=1)
    return np.sort(inside[np.argsort(distance, kind="stable")[:count]])


def thin(points: Array, count: int) -> NDArray[np.int64]:
    """Return the indices of at most ``count`` points.

    The most crowded tenth of the points (crowding distance of Deb et al. 2002) is removed until few enough points are left.
    """
    left = np.arange(len(points))
    while len(left) > count:
        distance = crowding_distances(points[left])
        removed = min(len(left) - count, max(1, len(left) // 10))
        left = np.sort(left[np.argsort(distance, kind="stable")[removed:]])
    return left


def subsample(n: int, good: NDArray[np.int64], max_rows: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the indices of all ``n`` rows or, if ``n`` exceeds ``max_rows``, of the good rows and of random other rows."""
    if n <= max_rows:
        return np.arange(n)
    others = np.setdiff1d(np.arange(n), good)
    return np.sort(np.concatenate([good, generator.permutation(others)[: max_rows - len(good)]]))


def ranked_by_gain(
    mean: Array, sd: Array, front: Array, discount: Array, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return candidates' indices sorted by expected gain in hypervolume times ``discount``, best first.

    If no candidate has a gain, even with optimistic losses, candidates are sorted by optimistic losses instead.
    """
    lows, highs = undominated_boxes(front, REFERENCE)
    optimistic = improvement(mean - OPTIMISM * sd, lows, highs) * discount
    order = np.argsort(-optimistic, kind="stable")
    draws = generator.standard_normal((DRAWS, 3))
    if optimistic[order[0]] <= 0:
        beyond = np.linalg.norm(np.maximum(mean - sd - REFERENCE, 0.0), axis=1)
        return np.lexsort(((mean - sd).sum(axis=1), beyond))
    finalists = order[:FINALISTS]
    drawn = mean[finalists, None, :] + sd[finalists, None, :] * draws  # (finalists, draws, 3)
    gains = (
        improvement(drawn.reshape(-1, 3), lows, highs).reshape(len(finalists), DRAWS).mean(axis=1) * discount[finalists]
    )
    best = finalists[np.lexsort((-optimistic[finalists], -gains))]
    return np.concatenate([best, order[FINALISTS:]])
