"""Hypervolume improvement of many points at once, by boxes (Lacour, Klamroth & Fonseca 2017, in the spirit of)."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def undominated_boxes(front: Array, reference: float) -> tuple[Array, Array]:
    """Disjoint boxes of the space below ``reference`` that no row of the front dominates, for three objectives.

    The space is cut into slabs along the third objective, between the values that the front has there. Within a slab the rows
    with a smaller third loss dominate a staircase in the first two, and what is left of it is a row of strips.

    Args:
        front: shape ``(rows, 3)``, all minimised; rows not below the reference are left out.
        reference: the same in all three.

    Returns:
        Lower and upper corners, shapes ``(boxes, 3)``; lower corners may be −∞.
    """
    rows = front[(front < reference).all(axis=1)]
    levels = np.unique(np.append(rows[:, 2], reference))
    lows, highs = [], []
    below = -np.inf
    for level in levels:
        stairs = _staircase(rows[rows[:, 2] < level][:, :2])
        left = -np.inf
        # Strip by strip in the first loss: up to the next step, whatever is below the height that holds so far.
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
    """Hypervolume that each point alone adds: of every box, the part that lies beyond the point.

    Args:
        points: shape ``(points, 3)``.
        lows, highs: of :func:`undominated_boxes`.

    Returns:
        Shape ``(points,)``.
    """
    total = np.ones((len(points), len(lows)))
    for k in range(points.shape[1]):
        total *= np.maximum(highs[:, k] - np.maximum(lows[:, k], points[:, k, None]), 0.0)
    return np.asarray(total.sum(axis=1))


def _staircase(points: Array) -> Array:
    """The non-dominated points of two losses, by the first."""
    steps: list[tuple[float, float]] = []
    for first, second in sorted(map(tuple, points)):
        if not steps or second < steps[-1][1]:
            steps.append((first, second))
    return np.array(steps).reshape(-1, 2)
