"""Pareto dominance and hypervolume of arrays. Rows are solutions, columns are objectives; every objective is minimised.

Callers negate objectives that are to be maximised. A row with a NaN is never on a Pareto front and dominates no row. If equal
rows are not dominated by other rows, all of them are non-dominated.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Row = tuple[float, float, float]

PAIRWISE = 200
"""Number of rows up to which all pairs of rows are compared, which is then faster than a loop over the front."""


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Return True if the losses ``a`` dominate ``b``.

    Then ``a`` is larger in no objective and smaller in at least one objective.
    """
    pairs = list(zip(a, b, strict=True))
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def with_row(front: list[Row], new: Row) -> list[Row]:
    """Return the non-dominated rows of ``front`` and ``new`` together.

    If a row of ``front`` dominates ``new``, return ``front``.
    """
    if any(dominates(old, new) for old in front):
        return front
    return [*(old for old in front if not dominates(new, old)), new]


def non_dominated(losses: ArrayLike) -> NDArray[np.bool_]:
    """Return a mask of the rows that no other row dominates.

    Args:
        losses: shape ``(rows, objectives)``, all minimised.

    Returns:
        Shape ``(rows,)``.
    """
    points = _matrix(losses)
    mask = np.zeros(len(points), dtype=np.bool_)
    left = np.flatnonzero(_numbers(points))
    # A row that dominates another has smaller ranks, so the row with the smallest sum of ranks is on the front.
    ranks = [np.unique(column, return_inverse=True)[1] for column in points[left].T]
    left = left[np.argsort(np.sum(ranks, axis=0), kind="stable")] if len(left) else left
    while len(left) > PAIRWISE:
        first, left = left[0], left[1:]
        mask[first] = True
        rest = points[left]
        left = left[~((points[first] <= rest).all(axis=1) & (points[first] < rest).any(axis=1))]
    mask[left] = ~_dominance(points[left]).any(axis=0)
    return mask


def non_dominated_ranks(losses: ArrayLike) -> NDArray[np.int64]:
    """Return the non-dominated rank of each row (Deb et al. 2002, NSGA-II).

    Rank 0 are the non-dominated rows. Rank 1 are the rows that are non-dominated after rank 0 is removed, and so on.

    Args:
        losses: shape ``(rows, objectives)``, all minimised.

    Returns:
        Shape ``(rows,)``; rows with a NaN have a higher rank than all others.
    """
    points = _matrix(losses)
    dominance = _dominance(points)
    dominators = dominance.sum(axis=0)  # number for each row, among remaining rows
    ranks = np.zeros(len(points), dtype=np.int64)
    left = _numbers(points)
    rank = 0
    while left.any():
        front = left & (dominators == 0)
        ranks[front] = rank
        left &= ~front
        dominators -= dominance[front].sum(axis=0)
        rank += 1
    ranks[~_numbers(points)] = rank
    return ranks


def hypervolume(losses: ArrayLike, reference: Sequence[float]) -> float:
    """Return the volume that the rows dominate, bounded by ``reference`` (Zitzler & Thiele 1998). The volume is 0 without rows.

    Args:
        losses: shape ``(rows, objectives)``, all minimised.
        reference: shape ``(objectives,)``; rows larger than the reference in any objective add no volume.
    """
    points = _matrix(losses)
    limit = np.asarray(reference, dtype=float)
    inside = (points < limit).all(axis=1)
    if not inside.any():
        return 0.0
    import moocore  # `status` does not need it

    return float(moocore.hypervolume(points[inside], ref=limit))


def hypervolume_contributions(losses: ArrayLike, reference: Sequence[float]) -> NDArray[np.float64]:
    """Return for each row how much the hypervolume would decrease without the row.

    The contribution is 0 for dominated rows, duplicates and rows with a NaN.

    Args:
        losses: shape ``(rows, objectives)``, all minimised and finite or NaN.
        reference: shape ``(objectives,)``; rows larger than the reference in any objective add no volume.

    Returns:
        Shape ``(rows,)``.
    """
    points = _matrix(losses)
    limit = np.asarray(reference, dtype=float)
    contributions = np.zeros(len(points))
    inside = (points < limit).all(axis=1)
    if inside.any():
        import moocore

        contributions[inside] = moocore.hv_contributions(points[inside], ref=limit)
    return contributions


def crowding_distances(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the crowding distance of each row of a Pareto front, shape ``(rows,)`` (Deb et al. 2002, section III-B).

    The distance is infinite for the rows with the smallest or largest value of an objective.
    """
    distances = np.zeros(len(losses))
    for column in losses.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        distances[order[[0, -1]]] = np.inf
        if ordered[-1] > ordered[0]:
            distances[order[1:-1]] += (ordered[2:] - ordered[:-2]) / (ordered[-1] - ordered[0])
    return distances


def knee(losses: ArrayLike) -> int:
    """Return the position of the knee of a Pareto front: the row farthest from the plane through the extremes, toward the ideal.

    Every objective is scaled to 0 (its best value in the front) … 1 (its worst). The plane goes through the points that are
    worst in one objective and ideal in all others: Σ f = 1. In two objectives it is the line through both ends of the front,
    as in Das (1999, Structural Optimization 18, 107–115). The distance of a row is (1 − Σ f) / √objectives, so the knee is also
    the row with the minimum Manhattan distance from the ideal point (Chiu, Yen & Juan 2016, IEEE Transactions on Evolutionary
    Computation 20, 972–985). An objective with one value in the front has no effect. Of equal rows, the first is returned.

    Args:
        losses: shape ``(rows, objectives)``, at least one row, all finite and minimised. The rows form a Pareto front.
    """
    points = _matrix(losses)
    if not len(points):
        raise ValueError("losses must have at least one row")
    low, high = points.min(axis=0), points.max(axis=0)
    scaled = (points - low) / np.where(high > low, high - low, 1.0)
    sums = scaled.sum(axis=1)
    return int(np.flatnonzero(sums <= sums.min() + 1e-12)[0])  # the sums of equal rows differ by rounding


def _dominance(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask of shape ``(rows, rows)`` whose element (i, j) is true if row i dominates row j.

    An element is false if one of its rows has a NaN.

    The dominance tests of the library moocore 0.3.2 crash the process on infinities. This module uses only its hypervolumes.
    """
    no_worse = np.ones((len(points), len(points)), dtype=np.bool_)
    better = np.zeros_like(no_worse)
    for column in points.T:
        no_worse &= column[:, None] <= column
        better |= column[:, None] < column
    return no_worse & better


def _numbers(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(points).any(axis=1), dtype=np.bool_)


def _matrix(losses: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(losses, dtype=float)
    if points.size == 0:
        return points.reshape(0, points.shape[1] if points.ndim == 2 else 1)
    if points.ndim != 2:
        raise ValueError(f"losses must have shape (rows, objectives), but got shape {points.shape}")
    return points
