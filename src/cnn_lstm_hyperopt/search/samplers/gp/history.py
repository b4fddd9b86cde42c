"""The observations of finished trials as arrays. Each trial is encoded only once."""

import math
import operator
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.search.samplers.gp.feasibility import excesses
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import key_of
from cnn_lstm_hyperopt.space.domains import Scalar

Array = NDArray[np.float64]
N_LOSSES = 3
Key = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class Rows:
    """Observations of finished trials as arrays, with one row for each trial.

    Attributes:
        vectors: vectors of the configurations (see :class:`.Encoding`), shape ``(rows, axes)``.
        losses: (−score, ln seconds, ln MB), shape ``(rows, 3)``.
        variances: variance of each score, shape ``(rows,)``; infinite if the score is unknown.
        complete, diverged: masks of COMPLETE and of diverged trials, shape ``(rows,)``.
        excesses: excess over the bound of each constraint, shape ``(rows, constraints)``; see :func:`.excesses`.
    """

    vectors: Array
    losses: Array
    variances: Array
    complete: NDArray[np.bool_]
    diverged: NDArray[np.bool_]
    excesses: Array

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Mask of the COMPLETE trials that break no constraint, shape ``(rows,)``."""
        return self.complete & ~(self.excesses > 0).any(axis=1)

    def target(self, i: int) -> Array:
        """Return loss i (index in ``losses``), or excess i − 3; shape ``(rows,)``."""
        return self.losses[:, i] if i < N_LOSSES else self.excesses[:, i - N_LOSSES]

    def known(self, i: int) -> NDArray[np.bool_]:
        """Return a mask of the rows in which target i is known."""
        if i >= N_LOSSES:
            return np.isfinite(self.excesses[:, i - N_LOSSES])
        if i == 0:
            return np.isfinite(self.variances)
        return ~self.diverged if i == 1 else np.ones(len(self.losses), dtype=bool)


class History:
    """Cache of the vectors, keys and predicted seconds of trials."""

    def __init__(self, plan: StudyPlan, encoding: Encoding) -> None:
        self._plan = plan
        self._encoding = encoding
        self._places: dict[int, int] = {}
        """Row in ``_vectors`` of each trial number."""
        self._vectors = np.empty((0, len(encoding.axes)))
        self._latest: list[Observation] = []
        self._rows: Rows | None = None
        self._seconds: dict[int, float] = {}
        self._numbers: dict[Key, set[int]] = {}
        """Numbers of the trials of each configuration."""

    def rows(self, history: Sequence[Observation]) -> Rows:
        """Return the observations as arrays. Only observations that were not in the last call are converted."""
        n_same = len(self._latest)
        if self._rows is None or n_same > len(history) or not all(map(operator.is_, self._latest, history)):
            self._rows = self._converted(history)
        elif n_same < len(history):
            new = self._converted(history[n_same:])
            arrays = {name: np.concatenate([array, getattr(new, name)]) for name, array in vars(self._rows).items()}
            self._rows = Rows(**arrays)
        self._latest = list(history)
        return self._rows

    def _converted(self, history: Sequence[Observation]) -> Rows:
        new = [row for row in history if row.number not in self._places]
        if new:
            self._places |= {row.number: place for place, row in enumerate(new, len(self._places))}
            self._vectors = np.vstack([self._vectors, self._encoding.vectors([row.params for row in new])])
            for row in new:
                self._numbers.setdefault(key_of(row.params), set()).add(row.number)
        kinds = [row.kind for row in history]
        return Rows(
            vectors=self._vectors[[self._places[row.number] for row in history]],
            losses=np.array([row.losses for row in history]).reshape(-1, 3),
            variances=np.array([row.variance for row in history]),
            complete=np.array([kind is Kind.COMPLETE for kind in kinds], dtype=bool),
            diverged=np.array([kind is Kind.DIVERGED for kind in kinds], dtype=bool),
            excesses=excesses(history, self._plan.constraints),
        )

    def has(self, key: Key, numbers: Set[int]) -> bool:
        """Return whether one of these trials has the configuration with this key; call :meth:`rows` first."""
        return not numbers.isdisjoint(self._numbers.get(key, ()))

    def predicted_log_seconds(self, history: Sequence[Observation]) -> Array:
        """Return ln of the predicted seconds of each trial. The model is fitted to the difference from ln measured seconds."""
        for row in history:
            if row.number not in self._seconds:
                self._seconds[row.number] = log_seconds(
                    self._plan.cost(with_fixed(self._plan.space, row.params)).seconds
                )
        return np.array([self._seconds[row.number] for row in history])


def log_seconds(seconds: float) -> float:
    """Return the natural logarithm of predicted seconds; return 0 if the seconds are unknown."""
    return math.log(seconds) if seconds > 0 else 0.0
