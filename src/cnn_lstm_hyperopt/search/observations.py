"""Observations: what a sampler learns from finished trials. It matters more than which trials are pruned."""

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
    """How far the losses of an observation can be believed."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    """What was expected of it."""
    DIVERGED = "diverged"


class Observation(NamedTuple):
    """A finished trial for a sampler.

    Attributes:
        number: of the trial.
        params: active, searched parameters.
        losses: (−score, ln seconds, ln MB), all minimised.
        kind: how much of that is known.
        variance: of the score, where it is only expected.
        note: what the sampler had stored with the trial for itself.
    """

    number: int
    params: Params
    losses: tuple[float, float, float]
    kind: Kind = Kind.COMPLETE
    variance: float = 0.0
    note: object = None


class ObservationCache:
    """Keeps what was worked out for one study, so that it is worked out once; the answers are the same without it."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, int], Observation] = {}
        self.curves: dict[tuple[int, float], FinishedCurves] = {}


def observations(
    records: Iterable[TrialRecord], skill: SkillThreshold, max_epochs: int, cache: ObservationCache | None = None
) -> list[Observation]:
    """All that has finished, in the order in which it did.

    - COMPLETE: its seconds and MB, and its settled score, so that one lucky reading draws nobody.
    - PRUNED: what was to be expected of it, from the finished curves most like it and what its sampler had expected; as long as
      there are too few of these, the score it had and the seconds it was heading for. Left out, pruned trials would be proposed
      again and again; told as Optuna tells them (no values), its TPE takes them for the best it has. One ended before its first
      validation (by a limit) is told as one at chance.
    - Diverged: at chance, with the most seconds of those before it, since what it would have taken is not known.

    A score beyond ``skill.score_range`` is told as the end of it. Which finished curves a pruned trial is compared with grows in
    steps (of a fifth), so that most answers stay as they were.
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
    """(−score, ln seconds, ln MB); seconds below a millisecond count as one."""
    return -score, math.log(max(seconds, 1e-3)), math.log(size_mb)


def _basis(n_complete: int) -> int:
    """How many of the finished curves pruned trials are compared with: a size of a geometric ladder."""
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
    """Seconds, as the trial itself projected them."""
    return record.projected_seconds or record.seconds
