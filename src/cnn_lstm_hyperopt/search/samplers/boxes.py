"""Hypervolume improvement of many points at once by box decomposition."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def undominated_boxes(front: Array, reference: float) -> tuple[Array, Array]:
    """Partition the space that ``front`` does not dominate, below ``reference``, into disjoint boxes, for three objectives.

    The boxes are found by a sweep over the third loss. The rows with a smaller third loss dominate a staircase-shaped region of
    the first two losses, and the rest of the plane consists of strips. A row changes only the strips that it dominates, so n rows
    give at most 2 n + 1 boxes (Yang, Emmerich, Deutz & Bäck 2019).

    Args:
        front: losses of the front, shape ``(rows, 3)``, all minimised. Rows with a loss at or above the reference are ignored.
        reference: upper bound of each objective.

    Returns:
        Lower and upper corners of the boxes, shapes ``(boxes, 3)``; coordinates of lower corners may be −∞.
    """
    rows = front[(front < reference).all(axis=1)]
    boxes = []
    strips = [(-np.inf, reference, reference, -np.inf)]  # first loss from, to; second loss to; third loss from
    for x, y, z in sorted(map(tuple, rows.tolist()), key=lambda row: row[2]):
        first = next(i for i, (_, right, _, _) in enumerate(strips) if x < right)
        last = next((i for i, (_, _, height, _) in enumerate(strips) if i >= first and height <= y), len(strips))
        if first == last:
            continue  # an earlier row dominates the row
        changed = strips[first:last]
        for left, right, height, below in changed:
            if below < z:
                boxes.append((max(left, x), right, height, below, z))
        left, _, height, below = changed[0]
        rest = [(left, x, height, below)] if left < x else []
        strips[first:last] = [*rest, (x, changed[-1][1], y, z)]
    boxes += [(left, right, height, below, reference) for left, right, height, below in strips]
    left, right, height, below, above = np.array(boxes).T
    return np.column_stack([left, np.full(len(boxes), -np.inf), below]), np.column_stack([right, height, above])


def improvement(points: Array, lows: Array, highs: Array) -> Array:
    """Return, for each point, the hypervolume that a front gains from adding it: the volume it dominates in the boxes.

    Args:
        points: losses, shape ``(points, 3)``.
        lows, highs: lower and upper corners of boxes, from :func:`undominated_boxes`.

    Returns:
        Hypervolume gain of each point, shape ``(points,)``.
    """
    total = np.ones((len(points), len(lows)))
    side = np.empty_like(total)
    for k in range(points.shape[1]):
        np.maximum(lows[:, k], points[:, k, None], out=side)
        np.subtract(highs[:, k], side, out=side)
        total *= np.maximum(side, 0.0, out=side)
    return np.asarray(total.sum(axis=1))
