"""Reference fronts of problems whose true values can be computed for thousands of configurations at once."""

from collections.abc import Callable

import numpy as np

from cnn_lstm_hyperopt.pareto import non_dominated
from cnn_lstm_hyperopt.search.samplers.gp.acquisition import thin
from problems import Array

RANDOM, CHILDREN, KEPT = 20_000, 2_000, 500
MUTATED, STEP = 0.2, 0.1
"""Share of a child's coordinates that change, and the standard deviation of a change."""


def evolved_front(truth: Callable[[Array], Array], n_axes: int, chance: float, *, rounds: int = 30) -> Array:
    """Return true values of the best front found, the union of random configurations and their evolved children.

    A last row has the median seconds and MB of random configurations and no skill. It adds no hypervolume, but gives the
    hypervolume a range where the front itself is small.

    Args:
        truth: function from positions in the unit cube, ``(rows, axes)``, to (accuracy, seconds, MB), ``(rows, 3)``.
        n_axes: number of coordinates.
        chance: rows with an accuracy up to this value are left out.
        rounds: number of generations.

    Returns:
        Shape ``(front + 1, 3)``; the most crowded members of a large front are left out.
    """
    generator = np.random.default_rng(25)
    positions = generator.random((RANDOM, n_axes))
    values = truth(positions)
    middle = np.array([[chance, *np.median(values[:, 1:], axis=0)]])
    for _ in range(rounds):
        kept = _front(values, chance)
        positions, values = positions[kept], values[kept]
        mothers, fathers = (positions[generator.integers(len(positions), size=CHILDREN)] for _ in range(2))
        children = np.where(generator.random(mothers.shape) < 0.5, mothers, fathers)
        moved = generator.random(children.shape) < MUTATED
        children = np.where(moved, children + STEP * generator.standard_normal(children.shape), children)
        anew = generator.random(children.shape) < 1 / (2 * n_axes)
        children = np.clip(np.where(anew, generator.random(children.shape), children), 0.0, 1.0 - 1e-9)
        positions, values = np.vstack([positions, children]), np.vstack([values, truth(children)])
    return np.vstack([values[_front(values, chance)], middle])


def _front(values: Array, chance: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Return the indices of at most ``KEPT`` non-dominated rows above chance; equal rows count once."""
    _, first = np.unique(values, axis=0, return_index=True)
    first = first[values[first, 0] > chance]
    front = first[non_dominated(values[first] * (-1.0, 1.0, 1.0))]
    losses = np.column_stack([-values[front, 0], np.log(values[front, 1:])])
    return np.asarray(front[thin(losses, KEPT)])
