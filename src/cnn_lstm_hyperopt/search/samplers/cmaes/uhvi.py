"""Uncrowded hypervolume improvement (Touré, Hansen, Auger & Brockhoff 2019, arXiv 1904.08823): one number from three losses.

For a non-dominated point: the hypervolume that it adds. For a dominated point: minus its distance to the non-dominated region. So
dominated points have an order, too, which leads to the gaps of the front rather than to crowded parts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.pareto import hypervolume
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold

Array = NDArray[np.float64]

REFERENCE = 1.1
"""Reference in every normalised loss: a tenth beyond the worst useful trial, so that the ends of the front add volume."""
USEFUL_SHARE = 0.25
"""A trial is useful if its score is above chance by this share of the best score's distance from chance."""
MIN_RANGE = 1e-3
"""Min. range of ln seconds and ln MB in the normalisation."""
MIN_SCORE_RANGE = 1 / 20
"""Min. range of the score in the normalisation, in units of :attr:`SkillThreshold.small_gain`."""
FAR = 2.0
"""Min. distance of trials that are not useful, and max. distance of all others; no point within the box is farther away."""


class Box(NamedTuple):
    """Normalisation that maps the range of each loss over the useful trials to [0, 1].

    The range of the front alone would be too small: with only small models on the front, all larger models would lie outside
    the box and could never improve the front.
    """

    low: Array
    width: Array

    def normalised(self, losses: Array) -> Array:
        """Return normalised losses, shape ``(…, objectives)``."""
        return (losses - self.low) / self.width


class Front:
    """Non-dominated points and the local upper bounds of the non-dominated region.

    A point is weakly dominated unless it is strictly below one of the bounds (Klamroth, Lacour & Vanderpooten 2015, "On the
    representation of the search region in multi-objective optimization", EJOR 245). Scaling does not change these relations, so
    points and bounds are stored without normalisation.
    """

    def __init__(self, objectives: int) -> None:
        self.points: Array = np.empty((0, objectives))
        self.bounds: Array = np.full((1, objectives), np.inf)

    def add(self, point: Array) -> bool:
        """Add ``point``, shape ``(objectives,)``, unless it is weakly dominated; return whether it was added."""
        cut = (point < self.bounds).all(axis=1)
        if not cut.any():
            return False
        self.points = np.vstack([self.points[~(point <= self.points).all(axis=1)], point])
        parts = np.repeat(
            self.bounds[None, cut], len(point), axis=0
        )  # split each bound above the point, once for each loss
        for j, value in enumerate(point):
            parts[j, :, j] = value
        kept, new = self.bounds[~cut], np.unique(parts.reshape(-1, len(point)), axis=0)
        within: NDArray[np.bool_] = np.all(new[:, None, :] <= np.concatenate([new, kept]), axis=2)
        inside_another = within.sum(axis=1) > 1  # each is within itself
        self.bounds = np.concatenate([kept, new[~inside_another]])
        return True

    def improvements(self, points: Array, box: Box) -> Array:
        """Return the uncrowded hypervolume improvement of each row of ``points`` in the box, shape ``(rows,)``.

        The distance is exact: the nearest non-dominated point has, in each coordinate, the smaller value of the row and of the
        nearest local upper bound.
        """
        front = box.normalised(self.points)
        bounds = np.minimum(box.normalised(self.bounds), REFERENCE)
        values = np.empty(len(points))
        for i, z in enumerate(box.normalised(points)):
            overshoot = np.maximum(z - bounds, 0.0)
            distance = float(np.sqrt((overshoot * overshoot).sum(axis=1).min()))
            if distance > 0:
                values[i] = -min(distance, FAR)
            else:  # volume dominated by the point but not by the front
                covered = hypervolume(np.maximum(front, z), [REFERENCE] * len(z)) if len(front) else 0.0
                values[i] = max(float(np.prod(REFERENCE - z)) - covered, 0.0)
        return values


class Archive:
    """Front and normalisation of all trials so far, by which other trials are rated.

    Both use COMPLETE trials only: the expected losses of a pruned trial change while the study grows, and pruned trials are never
    on the front of the study.
    """

    def __init__(self, skill: SkillThreshold) -> None:
        self.front = Front(3)
        self.best: list[Observation] = []
        self._complete: list[tuple[float, float, float]] = []
        self._chance, self._worst_loss = skill.chance, -skill.score_range[0]
        self._smallest_range = np.array([MIN_SCORE_RANGE * skill.small_gain, MIN_RANGE, MIN_RANGE])
        self._best_loss = -skill.chance

    def add(self, row: Observation) -> None:
        """Add a trial; ignore those that are not COMPLETE or not better than chance."""
        if row.kind is Kind.COMPLETE and row.losses[0] < -self._chance:
            self._complete.append(row.losses)
            self._best_loss = min(self._best_loss, row.losses[0])
            if self.front.add(np.array(row.losses)):
                self.best = [r for r in self.best if not _no_worse(row.losses, r.losses)] + [row]

    @property
    def useful_bound(self) -> float:
        """Upper bound of −score for useful trials."""
        return -self._chance + USEFUL_SHARE * (self._best_loss + self._chance)

    def useful_front(self) -> list[Observation]:
        """Return the useful trials of the front, in the order in which they finished."""
        return [row for row in self.best if row.losses[0] < self.useful_bound]

    def fitness(self, rows: Sequence[Observation]) -> Array:
        """Return the fitness of each row, shape ``(rows,)``; higher is better.

        Trials that are not useful come after all others, ordered by score alone; diverged trials come last.
        """
        losses = np.array([row.losses for row in rows], dtype=float).reshape(-1, 3)
        diverged = np.array([row.kind is Kind.DIVERGED for row in rows], dtype=bool)
        values = -FAR - (np.where(diverged, self._worst_loss, losses[:, 0]) - self.useful_bound)
        useful = ~diverged & (losses[:, 0] < self.useful_bound)
        if self._complete and useful.any():
            values[useful] = self.front.improvements(losses[useful], self.box())
        return values

    def box(self) -> Box:
        """Return the normalisation by the useful COMPLETE trials; requires at least one."""
        losses = np.array(self._complete).reshape(-1, 3)
        losses = losses[losses[:, 0] < self.useful_bound]
        low = losses.min(axis=0)
        return Box(low, np.maximum(losses.max(axis=0) - low, self._smallest_range))


def _no_worse(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))
