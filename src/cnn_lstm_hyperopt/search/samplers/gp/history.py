"""The observations of finished trials as arrays. Each trial is encoded only once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.search.distributions import with_fixed
from cnn_lstm_hyperopt.search.observations import Kind, Observation
from cnn_lstm_hyperopt.search.samplers.encoding import Encoding
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import key_of
from cnn_lstm_hyperopt.space.domains import Scalar

Array = NDArray[np.float64]
Key = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class Rows:
    """Observations of finished trials as arrays, with one row for each trial.

    Attributes:
        vectors: vectors of the configurations (see :class:`.Encoding`), shape ``(rows, axes)``.
        losses: (−score, ln seconds, ln MB), shape ``(rows, 3)``.
        variances: variance of each score, shape ``(rows,)``; infinite if the score is unknown.
        complete, diverged: masks of COMPLETE and of diverged trials, shape ``(rows,)``.
    """

    vectors: Array
    losses: Array
    variances: Array
    complete: NDArray[np.bool_]
    diverged: NDArray[np.bool_]

    def known(self, i: int) -> NDArray[np.bool_]:
        """Return a mask of the rows in which loss i (index in ``losses``) is known."""
        if i == 0:
            return np.isfinite(self.variances)
        return ~self.diverged if i == 1 else np.ones(len(self.losses), dtype=bool)


class History:
    """Cache of the vectors, keys and predicted seconds of trials, by trial number."""

    def __init__(self, plan: StudyPlan, encoding: Encoding) -> None:
        self._plan = plan
        self._encoding = encoding
        self._vectors: dict[int, Array] = {}
        self._keys: dict[int, Key] = {}
        self._seconds: dict[int, float] = {}

    def rows(self, history: Sequence[Observation]) -> Rows:
        """Return the observations as arrays."""
        for row in history:
            if row.number not in self._vectors:
                self._vectors[row.number] = self._encoding.vector(row.params)
                self._keys[row.number] = key_of(row.params)
        kinds = [row.kind for row in history]
        return Rows(
            vectors=np.array([self._vectors[row.number] for row in history]).reshape(-1, len(self._encoding.axes)),
            losses=np.array([row.losses for row in history]).reshape(-1, 3),
            variances=np.array([row.variance for row in history]),
            complete=np.array([kind is Kind.COMPLETE for kind in kinds], dtype=bool),
            diverged=np.array([kind is Kind.DIVERGED for kind in kinds], dtype=bool),
        )

    def taken(self, history: Sequence[Observation], running: Sequence[Params]) -> set[Key]:
        """Return the keys of finished and of running configurations; call :meth:`rows` first."""
        return {self._keys[row.number] for row in history} | {key_of(each) for each in running}

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
