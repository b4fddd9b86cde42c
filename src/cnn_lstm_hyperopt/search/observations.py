"""Observations: the data about finished trials that a sampler receives."""

import math
from collections.abc import Iterable
from enum import Enum
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
    """

    number: int
    params: Params
    losses: tuple[float, float, float]
    kind: Kind = Kind.COMPLETE
    variance: float = 0.0
    note: object = None


class ObservationCache:
    """Cache of the observations of one study. Observations are the same with and without the cache."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], Observation] = {}
        self.curves: dict[tuple[int, float], FinishedCurves] = {}


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
    ended = sorted((r for r in records if r.state.ended), key=lambda r: r.finish_order)
    complete = [r for r in ended if r.state is State.COMPLETE]
    basis = _basis(len(complete))

    def outcomes_of(record: TrialRecord) -> Outcomes | None:
        if not record.curve:
            return None
        epoch = record.curve[-1].epoch
        if (basis, epoch) not in cache.curves:
            cache.curves[basis, epoch] = FinishedCurves(
                complete[:basis], epoch, max_epochs, score_range=skill.score_range
            )
        return cache.curves[basis, epoch].outcomes(record.curve, record.size_mb, record.expected_score)

    rows: list[Observation] = []
    for record in ended:
        if record.state is State.FAIL:
            if record.attributes.get("diverged"):
                slowest = max((row.losses[1] for row in rows), default=0.0)
                rows.append(_row(record, (-skill.chance, slowest, math.log(record.size_mb)), Kind.DIVERGED))
        else:
            key = (record.number, 0 if record.state is State.COMPLETE else basis)
            row = cache.rows.get(key)
            if row is None:
                complete_one = record.state is State.COMPLETE
                row = _complete(record, skill) if complete_one else _pruned(record, skill, outcomes_of(record))
                cache.rows[key] = row
            rows.append(row)
    return rows


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
    return Observation(record.number, record.params, values, kind, variance, record.attributes.get("note"))


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
