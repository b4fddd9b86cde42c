"""Uncrowded hypervolume improvement (Touré, Hansen, Auger & Brockhoff 2019, arXiv 1904.08823): one number out of three losses.

What a non-dominated point would add to the hypervolume; for a dominated one, minus its distance to where it would not be. So
points behind the front still have an order that leads to it, and towards its gaps rather than towards its crowds.
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
"""In every normalised loss: a tenth beyond the worst useful trial, so that the ends of the front count too."""
USEFUL_SHARE = 0.25
"""Of the way from chance to the best score: what a trial must have learnt to be useful."""
SMALLEST_RANGE = 1e-3
"""What ln seconds and ln MB are divided by at least."""
SMALLEST_SCORE_RANGE = 1 / 20
"""The same of the score, in small gains (:attr:`SkillThreshold.small_gain`)."""
FAR = 2.0
"""Distance of trials that have learnt nothing, at least, and of all others at most: none of these lies so far inside the box."""


class Box(NamedTuple):
    """What losses are normalised by: the useful trials' range of each lies in [0, 1].

    The range of all useful trials, not of their front: once the front holds small models only, its own range would put
    whatever is larger outside the box, where it is worth nothing, and the front could never grow again.
    """

    low: Array
    width: Array

    def normalised(self, losses: Array) -> Array:
        """Shapes: ``(…, objectives)``."""
        return (losses - self.low) / self.width


class Front:
    """Non-dominated points, and the local upper bounds of what they leave undominated.

    A point is weakly dominated unless it lies strictly below one of the bounds (Klamroth, Lacour & Vanderpooten 2015, "On the
    representation of the search region in multi-objective optimization", EJOR 245). Neither points nor bounds change their
    relations when a loss is scaled, so both are kept as they came.
    """

    def __init__(self, objectives: int) -> None:
        self.points: Array = np.empty((0, objectives))
        self.bounds: Array = np.full((1, objectives), np.inf)

    def add(self, point: Array) -> bool:
        """Takes ``point``, shape ``(objectives,)``, unless it is weakly dominated; says whether it did."""
        cut = (point < self.bounds).all(axis=1)
        if not cut.any():
            return False
        self.points = np.vstack([self.points[~(point <= self.points).all(axis=1)], point])
        parts = np.repeat(self.bounds[None, cut], len(point), axis=0)  # each bound that lost the point: once a loss
        for j, value in enumerate(point):
            parts[j, :, j] = value
        kept, new = self.bounds[~cut], np.unique(parts.reshape(-1, len(point)), axis=0)
        within: NDArray[np.bool_] = np.all(new[:, None, :] <= np.concatenate([new, kept]), axis=2)
        inside_another = within.sum(axis=1) > 1  # each is within itself
        self.bounds = np.concatenate([kept, new[~inside_another]])
        return True

    def improvements(self, points: Array, box: Box) -> Array:
        """Uncrowded hypervolume improvement of each row of ``points``, shape ``(rows,)``, in the box.

        The distance is exact: the nearest point that is not dominated lies at the nearest local upper bound, coordinates in which
        the row is better left as they are.
        """
        front = box.normalised(self.points)
        bounds = np.minimum(box.normalised(self.bounds), REFERENCE)
        values = np.empty(len(points))
        for i, z in enumerate(box.normalised(points)):
            overshoot = np.maximum(z - bounds, 0.0)
            distance = float(np.sqrt((overshoot * overshoot).sum(axis=1).min()))
            if distance > 0:
                values[i] = -min(distance, FAR)
            else:  # what it dominates itself, less what the front dominates of that
                covered = hypervolume(np.maximum(front, z), [REFERENCE] * len(z)) if len(front) else 0.0
                values[i] = max(float(np.prod(REFERENCE - z)) - covered, 0.0)
        return values


class Archive:
    """What all trials so far say about the worth of others.

    Only COMPLETE trials are on its front and make its box: what is expected of a pruned one changes while the study grows,
    and it will not be on the study's front either.
    """

    def __init__(self, skill: SkillThreshold) -> None:
        self.front = Front(3)
        self.best: list[Observation] = []
        self._complete: list[tuple[float, float, float]] = []
        self._chance, self._worst_loss = skill.chance, -skill.score_range[0]
        self._smallest_range = np.array([SMALLEST_SCORE_RANGE * skill.small_gain, SMALLEST_RANGE, SMALLEST_RANGE])
        self._best_loss = -skill.chance

    def add(self, row: Observation) -> None:
        """Takes a trial; one that is not better than chance, or not COMPLETE, is not remembered."""
        if row.kind is Kind.COMPLETE and row.losses[0] < -self._chance:
            self._complete.append(row.losses)
            self._best_loss = min(self._best_loss, row.losses[0])
            if self.front.add(np.array(row.losses)):
                self.best = [r for r in self.best if not _no_worse(row.losses, r.losses)] + [row]

    @property
    def bar(self) -> float:
        """The loss −score that useful trials stay below."""
        return -self._chance + USEFUL_SHARE * (self._best_loss + self._chance)

    def useful_front(self) -> list[Observation]:
        """The trials of the front that are useful, in the order in which they finished."""
        return [row for row in self.best if row.losses[0] < self.bar]

    def fitness(self, rows: Sequence[Observation]) -> Array:
        """Of each row, higher is better, shape ``(rows,)``.

        Trials that have learnt too little are below all others, however small they are, by how little they have learnt; of
        those, the diverged are the last.
        """
        losses = np.array([row.losses for row in rows], dtype=float).reshape(-1, 3)
        diverged = np.array([row.kind is Kind.DIVERGED for row in rows], dtype=bool)
        values = -FAR - (np.where(diverged, self._worst_loss, losses[:, 0]) - self.bar)
        useful = ~diverged & (losses[:, 0] < self.bar)
        if self._complete and useful.any():
            values[useful] = self.front.improvements(losses[useful], self.box())
        return values

    def box(self) -> Box:
        """Of the useful COMPLETE trials; there must be one."""
        losses = np.array(self._complete).reshape(-1, 3)
        losses = losses[losses[:, 0] < self.bar]
        low = losses.min(axis=0)
        return Box(low, np.maximum(losses.max(axis=0) - low, self._smallest_range))


def _no_worse(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))
