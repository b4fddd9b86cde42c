"""Hypervolume improvement of many points at once by box decomposition, similar to Lacour, Klamroth & Fonseca (2017)."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def undominated_boxes(front: Array, reference: float) -> tuple[Array, Array]:
    """Partition the space that ``front`` does not dominate, below ``reference``, into disjoint boxes, for three objectives.

    The values of the front in the third objective divide the space into slabs. Within a slab, the rows with a smaller third loss
    dominate a staircase-shaped region of the first two objectives. The non-dominated part of the slab is divided into strips,
    which are the boxes.

    Args:
        front: losses of the front, shape ``(rows, 3)``, all minimised. Rows with a loss at or above the reference are ignored.
        reference: upper bound of each objective.

    Returns:
        Lower and upper corners of the boxes, shapes ``(boxes, 3)``; coordinates of lower corners may be −∞.
    """
    rows = front[(front < reference).all(axis=1)]
    levels = np.unique(np.append(rows[:, 2], reference))
    lows, highs = [], []
    below = -np.inf
    for level in levels:
        stairs = _staircase(rows[rows[:, 2] < level][:, :2])
        left = -np.inf
        # One strip for each step of the staircase; its upper bound in the second loss is the second loss of the step before.
        edges = [*stairs[:, 0], reference]
        heights = [reference, *stairs[:, 1]]
        for edge, height in zip(edges, heights, strict=True):
            if edge > left:
                lows.append((left, -np.inf, below))
                highs.append((edge, height, level))
            left = edge
        below = level
    return np.array(lows), np.array(highs)


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


def _staircase(points: Array) -> Array:
    """Return the non-dominated rows of ``points``, which have two losses, sorted by the first loss."""
    steps: list[tuple[float, float]] = []
    for first, second in sorted(map(tuple, points)):
        if not steps or second < steps[-1][1]:
            steps.append((first, second))
    return np.array(steps).reshape(-1, 2)
