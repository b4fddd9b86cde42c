"""Pareto kernels: pure functions of arrays in which every column is minimised.

Maximised objectives are negated once, by the caller. Rows with a NaN are never on a front and dominate nothing; duplicates
of a non-dominated row are all non-dominated.
"""

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether loss vector ``a`` is nowhere worse than ``b`` and somewhere better. Shapes: ``(objectives,)``."""
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    return bool(np.all(x <= y) and np.any(x < y))


def non_dominated(losses: ArrayLike) -> NDArray[np.bool_]:
    """Which rows no other row dominates.

    Args:
        losses: shape ``(rows, objectives)``, all minimised.

    Returns:
        A mask of shape ``(rows,)``.
    """
    points = _matrix(losses)
    finite = _finite(points)
    mask = finite.copy()
    for i in np.flatnonzero(finite):
        no_worse = (points <= points[i]).all(axis=1)
        better = (points < points[i]).any(axis=1)
        mask[i] = not (finite & no_worse & better).any()
    return mask


def non_dominated_ranks(losses: ArrayLike) -> NDArray[np.int64]:
    """Non-dominated rank of each row: 0 on the front, 1 on the front of what is left, … (Deb et al. 2002, NSGA-II).

    Args:
        losses: shape ``(rows, objectives)``, all minimised.

    Returns:
        Shape ``(rows,)``; rows with a NaN come after all others.
    """
    points = _matrix(losses)
    ranks = np.full(len(points), -1, dtype=np.int64)
    left = _finite(points)
    rank = 0
    while left.any():
        rows = np.flatnonzero(left)
        front = rows[non_dominated(points[rows])]
        ranks[front] = rank
        left[front] = False
        rank += 1
    ranks[ranks < 0] = rank
    return ranks


def hypervolume(losses: ArrayLike, reference: Sequence[float]) -> float:
    """Volume that the rows dominate below ``reference`` (Zitzler & Thiele 1998); 0 without rows.

    Args:
        losses: shape ``(rows, objectives)``, all minimised.
        reference: shape ``(objectives,)``; rows beyond it in any objective add nothing.
    """
    points = _matrix(losses)
    limit = np.asarray(reference, dtype=float)
    inside = (points < limit).all(axis=1)
    if not inside.any():
        return 0.0
    return float(moocore.hypervolume(points[inside], ref=limit))


def _finite(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(points).any(axis=1), dtype=np.bool_)


def _matrix(losses: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(losses, dtype=float)
    if points.size == 0:
        return points.reshape(0, points.shape[1] if points.ndim == 2 else 1)
    if points.ndim != 2:
        raise ValueError(f"losses must have shape (rows, objectives), but got shape {points.shape}")
    return points
