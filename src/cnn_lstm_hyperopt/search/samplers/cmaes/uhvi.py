"""Uncrowded hypervolume improvement (Touré, Hansen, Auger & Brockhoff 2019, arXiv 1904.08823), which ranks vectors of losses.

For a non-dominated point, the improvement is the hypervolume that the point adds. For a dominated point, the improvement is minus
the point's distance to the non-dominated region. So dominated points are ranked, too: a point near a gap of the front ranks
before a point near a crowded part.
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
"""Coordinate of the reference point in each normalised loss. The coordinate exceeds 1, the loss of the worst useful trial, so
that the worst members of the front add volume, too."""
USEFUL_SHARE = 0.25
"""A trial is useful if its score minus chance exceeds this share of the best score minus chance."""
MIN_RANGE = 1e-3
"""Lower bound of the ranges of ln seconds and ln MB that are normalised to [0, 1]."""
MIN_SCORE_RANGE = 1 / 20
"""Lower bound of the score range that is normalised to [0, 1], in units of :attr:`SkillThreshold.small_gain`."""
FAR = 2.0
"""Upper bound of the distance of a point in the box to the non-dominated region. The fitness of useful trials is at least minus
this number. The fitness of all other trials is at most minus this number."""


class Box(NamedTuple):
    """Normalisation that maps the range of each loss over the useful trials to [0, 1].

    The range over the front alone would be too small: with only small models on the front, all larger models would be outside
    the box and could never improve the front.
    """

    low: Array
    width: Array

    def normalised(self, losses: Array) -> Array:
        """Return ``losses``, shape ``(…, objectives)``, normalised to the box."""
        return (losses - self.low) / self.width


class Front:
    """Non-dominated points and the local upper bounds of the non-dominated region.

    A point is weakly dominated unless the point is strictly below one of the bounds (Klamroth, Lacour & Vanderpooten 2015, "On
    the representation of the search region in multi-objective optimization", EJOR 245). Scaling does not change these relations,
    so points and bounds are stored without normalisation.
    """

    def __init__(self, objectives: int) -> None:
        self.points: Array = np.empty((0, objectives))
        self.bounds: Array = np.full((1, objectives), np.inf)

    def add(self, point: Array) -> bool:
        """Add ``point``, shape ``(objectives,)``, if it is not weakly dominated; return whether ``point`` was added."""
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

        Distances to the non-dominated region are exact. In each coordinate, the nearest point of the region has the smaller of
        two values: the value of the row and the value of the nearest local upper bound.
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
    """Archive of the trials so far: the front and the normalisation from which the fitness of new trials is computed.

    Front and normalisation use COMPLETE trials only: the predicted losses of a pruned trial change while the study grows, and
    pruned trials are never on the front of the study.
    """

    def __init__(self, skill: SkillThreshold) -> None:
        self.front = Front(3)
        self.best: list[Observation] = []
        self._complete: list[tuple[float, float, float]] = []
        self._chance, self._worst_loss = skill.chance, -skill.score_range[0]
        self._smallest_range = np.array([MIN_SCORE_RANGE * skill.small_gain, MIN_RANGE, MIN_RANGE])
        self._best_loss = -skill.chance

    def add(self, row: Observation) -> None:
        """Add a trial if it is COMPLETE and better than chance."""
        if row.kind is Kind.COMPLETE and row.losses[0] < -self._chance:
            self._complete.append(row.losses)
            self._best_loss = min(self._best_loss, row.losses[0])
            if self.front.add(np.array(row.losses)):
                self.best = [r for r in self.best if not _no_worse(row.losses, r.losses)] + [row]

    @property
    def useful_bound(self) -> float:
        """Upper bound of −score (the first loss) for useful trials."""
        return -self._chance + USEFUL_SHARE * (self._best_loss + self._chance)

    def useful_front(self) -> list[Observation]:
        """Return the useful trials of the front, in the order in which they finished."""
        return [row for row in self.best if row.losses[0] < self.useful_bound]

    def fitness(self, rows: Sequence[Observation]) -> Array:
        """Return the fitness of each row, shape ``(rows,)``; higher is better.

        Useful trials have the highest fitness. Other trials follow in the order of their scores; diverged trials come last.
        """
        losses = np.array([row.losses for row in rows], dtype=float).reshape(-1, 3)
        diverged = np.array([row.kind is Kind.DIVERGED for row in rows], dtype=bool)
        values = -FAR - (np.where(diverged, self._worst_loss, losses[:, 0]) - self.useful_bound)
        useful = ~diverged & (losses[:, 0] < self.useful_bound)
        if self._complete and useful.any():
            values[useful] = self.front.improvements(losses[useful], self.box())
        return values

    def box(self) -> Box:
        """Return the box, which contains the losses of all useful COMPLETE trials; at least one trial must be useful."""
        losses = np.array(self._complete).reshape(-1, 3)
        losses = losses[losses[:, 0] < self.useful_bound]
        low = losses.min(axis=0)
        return Box(low, np.maximum(losses.max(axis=0) - low, self._smallest_range))


def _no_worse(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))
