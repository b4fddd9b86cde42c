"""Which candidates gain most, and which trials are looked at closely."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.pareto import crowding_distances
from cnn_lstm_hyperopt.search.samplers.boxes import improvement, undominated_boxes

Array = NDArray[np.float64]

REFERENCE = 1.1
"""Corner of the box in each scaled loss: what is beyond gains nothing."""
OPTIMISM = 0.7
"""Standard deviations below the mean by which candidates are chosen for a closer look."""
FINALISTS, DRAWS = 48, 8
"""Candidates that are looked at closely, and draws for the expectation."""


def thin(points: Array, count: int) -> NDArray[np.int64]:
    """Indices of ``count`` points: the most crowded tenth goes, again and again (crowding distance of Deb et al. 2002)."""
    left = np.arange(len(points))
    while len(left) > count:
        distance = crowding_distances(points[left])
        goes = min(len(left) - count, max(1, len(left) // 10))
        left = np.sort(left[np.argsort(distance, kind="stable")[goes:]])
    return left


def chosen_rows(n: int, good: NDArray[np.int64], most: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """All rows, or the good ones and as many others as there is room for."""
    if n <= most:
        return np.arange(n)
    others = np.setdiff1d(np.arange(n), good)
    return np.sort(np.concatenate([good, generator.permutation(others)[: most - len(good)]]))


def by_gain(mean: Array, sd: Array, front: Array, worth: Array, generator: np.random.Generator) -> NDArray[np.int64]:
    """Candidates by expected gain in hypervolume times ``worth``, the best first; where nothing gains, by optimism."""
    lows, highs = undominated_boxes(front, REFERENCE)
    hopeful = improvement(mean - OPTIMISM * sd, lows, highs) * worth
    order = np.argsort(-hopeful, kind="stable")
    draws = generator.standard_normal((DRAWS, 3))
    if hopeful[order[0]] <= 0:
        beyond = np.linalg.norm(np.maximum(mean - sd - REFERENCE, 0.0), axis=1)
        return np.lexsort(((mean - sd).sum(axis=1), beyond))
    finalists = order[:FINALISTS]
    drawn = mean[finalists, None, :] + sd[finalists, None, :] * draws  # (finalists, draws, 3)
    gains = (
        improvement(drawn.reshape(-1, 3), lows, highs).reshape(len(finalists), DRAWS).mean(axis=1) * worth[finalists]
    )
    best = finalists[np.lexsort((-hopeful[finalists], -gains))]
    return np.concatenate([best, order[FINALISTS:]])
