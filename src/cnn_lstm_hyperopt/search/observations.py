"""Observations: the data about finished trials that a sampler receives."""

import math
from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.search.learning_curves import (
    MIN_CURVES,
    FinishedCurves,
    Outcomes,
    settled_score,
    within,
)
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold
from cnn_lstm_hyperopt.search.trial import State, TrialRecord, selected

BASIS_GROWTH = 1.2


class Kind(Enum):
    """Kind of an observation, which says how reliable its losses are."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    """The trial was pruned; its losses are predictions."""
    DIVERGED = "diverged"


class Observation(NamedTuple):
    """The data about a finished trial that a sampler receives.

    Attributes:
        number: trial number.
        params: active, searched parameters.
        losses: (−score, ln seconds, ln MB), all minimised.
        kind: how reliable the losses are.
        variance: variance of a predicted score; infinite if the score is unknown.
        note: data that the sampler stored with the trial.
        constraints: measured values of the constraints by name; empty unless the trial is COMPLETE.
    """

    number: int
    params: Params
    losses: tuple[float, float, float]
    kind: Kind = Kind.COMPLETE
    variance: float = 0.0
    note: object = None
    constraints: Mapping[str, float] = MappingProxyType({})


class ObservationCache:
    """Cache of the observations of one study. Observations are the same with and without the cache.

    Attributes:
        ended: ended trials in the order in which they ended.
        rows: observations of the first ``n_read`` ended trials, predicted from the first ``basis`` completed trials.
        curves: finished curves by ``basis`` and epoch.
    """

    def __init__(self) -> None:
        self.ended: list[TrialRecord] = []
        self.rows: list[Observation] = []
        self.n_read = self.basis = self.n_complete = 0
        self.curves: dict[tuple[int, float], FinishedCurves] = {}
        self._numbers: set[int] = set()

    def update(self, records: Iterable[TrialRecord]) -> None:
        """Add the trials that have ended since the last call; start anew if another program removed a trial."""
        records = list(records)
        new = [record for record in records if record.number not in self._numbers and record.state.ended]
        missing = len(self._numbers) - sum(record.number in self._numbers for record in records)
        last = self.ended[-1].finish_order if self.ended else (-1, -1)
        if missing or min((record.finish_order for record in new), default=last) < last:
            new = [record for record in records if record.state.ended]
            self.ended, self.rows, self.n_read, self.n_complete, self._numbers = [], [], 0, 0, set()
            self.curves.clear()
        self.ended += sorted(new, key=lambda record: record.finish_order)
        self._numbers.update(record.number for record in new)
        self.n_complete += sum(record.state is State.COMPLETE for record in new)
        if (basis := _basis(self.n_complete)) != self.basis:
            self.basis, self.rows, self.n_read = basis, [], 0


def observations(
    records: Iterable[TrialRecord], skill: SkillThreshold, max_epochs: int, cache: ObservationCache | None = None
) -> list[Observation]:
    """Return the observations of all ended trials, in the order in which they ended.

    - The losses of a COMPLETE trial are computed from its seconds, its MB and its settled score. The settled score has less
      selection noise than a single score.
    - The losses of a PRUNED trial are predicted from similar finished curves and from the sampler's expected score. With too few
      finished curves, the losses are computed from the score at the epoch with the lowest validation loss and from the projected
      seconds. Without observations of pruned trials, the sampler would propose the configurations of pruned trials again. Optuna
      stores no objective values of pruned trials, so Optuna's TPE sampler would rank these trials best. A trial that a limit
      pruned before its first validation gets the score of chance.
    - A diverged trial gets the score of chance and the maximum seconds of all earlier trials, since its own seconds are unknown.

    Scores are clipped to ``skill.score_range``. Predictions use a set of finished curves that grows in steps of about a fifth, so
    that new trials rarely change earlier predictions.
    """
    cache = cache or ObservationCache()
    cache.update(records)

    def outcomes_of(record: TrialRecord) -> Outcomes | None:
        if not record.curve:
            return None
        key = cache.basis, record.curve[-1].epoch
        if key not in cache.curves:
            complete = islice((each for each in cache.ended if each.state is State.COMPLETE), cache.basis)
            cache.curves[key] = FinishedCurves(list(complete), key[1], max_epochs, score_range=skill.score_range)
        return cache.curves[key].outcomes(record.curve, record.size_mb, record.expected_score)

    for record in cache.ended[cache.n_read :]:
        if record.state is State.COMPLETE:
            cache.rows.append(_complete(record, skill))
        elif record.state is State.PRUNED:
            cache.rows.append(_pruned(record, skill, outcomes_of(record)))
        elif record.attributes.get("diverged"):
            slowest = max((row.losses[1] for row in cache.rows), default=0.0)
            cache.rows.append(_row(record, (-skill.chance, slowest, math.log(record.size_mb)), Kind.DIVERGED))
    cache.n_read = len(cache.ended)
    return list(cache.rows)


def losses(score: float, seconds: float, size_mb: float) -> tuple[float, float, float]:
    """Return the losses (−score, ln seconds, ln MB); durations below a millisecond count as a millisecond."""
    return -score, math.log(max(seconds, 1e-3)), math.log(size_mb)


def _basis(n_complete: int) -> int:
    """Return the number of finished curves used for predictions: a term of a geometric series, at most ``n_complete``."""
    size, basis = MIN_CURVES, 0
    while size <= n_complete:
        basis, size = size, max(size + 1, int(size * BASIS_GROWTH))
    return basis


def _row(record: TrialRecord, values: tuple[float, float, float], kind: Kind, variance: float = 0.0) -> Observation:
    measured = {name: value for name, (value, _) in record.constraints.items()}
    return Observation(record.number, record.params, values, kind, variance, record.attributes.get("note"), measured)


def _complete(record: TrialRecord, skill: SkillThreshold) -> Observation:
    if record.values is None:
        raise ValueError(f"trial {record.number} is COMPLETE without values")
    _, seconds, size_mb = record.values
    return _row(record, losses(within(settled_score(record), skill.score_range), seconds, size_mb), Kind.COMPLETE)


def _pruned(record: TrialRecord, skill: SkillThreshold, outcomes: Outcomes | None) -> Observation:
    point = selected(record.curve, math.inf)
    if point is not None and outcomes is not None:
        expected = losses(outcomes.score, outcomes.seconds, record.size_mb)
        return _row(record, expected, Kind.PRUNED, outcomes.variance)
    score = skill.chance if point is None else within(point.score, skill.score_range)
    variance = math.inf if point is None else skill.standard_error(score) ** 2
    return _row(record, losses(score, _headed_for(record), record.size_mb), Kind.PRUNED, variance)


def _headed_for(record: TrialRecord) -> float:
    """Return the projected seconds of a trial; if they are unknown, return the trial's seconds so far."""
    return record.projected_seconds or record.seconds
