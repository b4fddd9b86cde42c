"""Learning curves: what a trial is worth at an epoch, and what may become of it, read from similar finished ones."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.search.trial import Point, TrialRecord

Array = NDArray[np.float64]

MIN_CURVES = 10
"""Finished curves below which nothing is predicted."""
MIN_EXPECTED = 20
"""Of them, those whose score the sampler had expected, below which that is not compared."""
NEIGHBOURS = 60
PENALTY = 0.3
"""Of the ridge regression, on its slopes."""


def smoothed_score(curve: Sequence[Point], epoch: float) -> float:
    """Mean score of the last quarter of the whole epochs up to ``epoch``, of one at least.

    Within the first epoch: the last reading. NaN when there is none.
    """
    if epoch < 1:
        return next((p.score for p in reversed(curve) if p.epoch <= epoch), math.nan)
    window = max(1, int(epoch) // 4)
    seen = [p.score for p in curve if epoch - window < p.epoch <= epoch and p.epoch >= 1]
    return sum(seen) / len(seen) if seen else math.nan


def settled_score(record: TrialRecord) -> float:
    """What a COMPLETE trial is worth without its luck: smoothed up to the epoch whose weights are its own.

    The value of one epoch is a reading with an error; the best of hundreds of readings is a lucky one.
    """
    if record.values is None:
        raise ValueError(f"trial {record.number} is {record.state.value}: only a COMPLETE one has a score")
    point = record.kept
    if point is None:
        return record.values.score
    smoothed = smoothed_score(record.curve, point.epoch)
    # The window may hold a reading less than was stored (a trial that is read in part); the stored value then stands.
    return record.values.score if math.isnan(smoothed) else smoothed


def believed_scores(scores: Array, expected: Array, errors: Array) -> Array:
    """What readings are worth without their luck: each drawn towards what the sampler had expected; shape as given.

    Of hundreds of readings the luckiest would be the front. With a normal prior around what was expected, of variance τ², and a
    reading of variance σ², the mean is (τ² · reading + σ² · expected) / (τ² + σ²); τ² is what the readings are off by beyond
    their own error, a tenth of σ² at least (empirical Bayes, Efron & Morris 1973).

    Args:
        scores: ``(k,)``.
        expected: ``(k,)``, NaN where nothing was; these readings stay, and all do where fewer than 20 were expected.
        errors: standard errors of the readings, ``(k,)``.
    """
    known = ~np.isnan(expected)
    if known.sum() < MIN_EXPECTED:
        return scores
    noise = errors**2
    typical = float(noise[known].mean())
    prior = max(float(((scores - expected)[known] ** 2).mean()) - typical, LEAST_PRIOR * typical)
    weight = prior / (prior + noise) if prior > 0 else np.ones(len(scores))
    return np.where(known, weight * scores + (1 - weight) * np.nan_to_num(expected), scores)


def within(score: float, score_range: tuple[float, float]) -> float:
    """The score, or the end of the range beyond which it lies; NaN stays NaN."""
    if math.isnan(score):
        return score
    return min(max(score, score_range[0]), score_range[1])


def projected_seconds(curve: Sequence[Point], max_epochs: int) -> float:
    """Seconds of all epochs at the speed so far; the first epoch, which warms up, is left out of the slope."""
    last = curve[-1]
    first = next((p for p in curve if p.epoch >= 1), last)
    if last.epoch <= 1 or first.epoch >= last.epoch:
        return last.seconds * max_epochs / last.epoch
    slope = (last.seconds - first.seconds) / (last.epoch - first.epoch)
    return last.seconds + slope * (max_epochs - last.epoch)


def up_to(curve: Sequence[Point], epoch: float) -> tuple[Point, ...]:
    """The part of the curve that ends with ``epoch``; empty when it has no point there."""
    part = tuple(p for p in curve if p.epoch <= epoch)
    return part if part and part[-1].epoch == epoch else ()


@dataclass(frozen=True)
class Outcomes:
    """What may become of a trial, equally likely.

    Attributes:
        scores: shape ``(k,)``, settled.
        log_seconds: shape ``(k,)``, natural logarithm of the training seconds.
        score: their expectation.
        seconds: exp of the expected logarithm.
    """

    scores: Array
    log_seconds: Array
    score: float
    seconds: float

    @property
    def variance(self) -> float:
        """Of the score."""
        return float(self.scores.var())


LEAST_SPREAD = 1e-9
"""Of a coordinate, below which all curves are alike in it."""
LEAST_PRIOR = 0.1
"""Of a reading's variance: that of what a sampler expects, at least."""
WEIGHTS = np.array([4.0, 1.0, 1.0, 1.0, 2.0])
"""Of the coordinates' squares in the distance between curves: where they stand in score tells most."""

Position = tuple[float, float, float, float, float]
"""Where a curve stands: smoothed score, how it rises, ln of its projected seconds, ln MB, what the sampler expected (NaN: it
had no model)."""
Row = tuple[Position, tuple[float, float]]
"""Where a finished curve stood at an epoch, and what became of it: settled score, ln seconds less what was projected."""


class _Compared(NamedTuple):
    """Positions ``(rows, coordinates)`` of finished curves, their ends ``(rows, 2)``, and each coordinate's scale: its standard
    deviation, or infinity where all are alike, so that it says nothing of one that is not."""

    positions: Array
    ends: Array
    scale: Array

    @classmethod
    def of(cls, positions: Array, ends: Array) -> "_Compared":
        spread = positions.std(axis=0) if len(positions) else np.zeros(positions.shape[1])
        return cls(positions, ends, np.where(spread > LEAST_SPREAD, spread, math.inf))


class FinishedCurves:
    """COMPLETE trials that had a reading at one epoch: where they stood then, and what became of them.

    Args:
        complete: the trials.
        epoch: at which they are compared.
        max_epochs: of a trial.
        known: rows worked out earlier, by (number, epoch); grows.
        score_range: the worst and the best score that count as such; what is beyond counts as these.
    """

    def __init__(
        self,
        complete: Sequence[TrialRecord],
        epoch: float,
        max_epochs: int,
        known: dict[tuple[int, float], Row | None] | None = None,
        *,
        score_range: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        known = {} if known is None else known
        for record in complete:
            if (record.number, epoch) not in known:
                known[record.number, epoch] = _row(record, epoch, max_epochs, score_range)
        rows = [row for record in complete if (row := known[record.number, epoch]) is not None]
        self.epoch, self.max_epochs, self._score_range = epoch, max_epochs, score_range
        positions: Array = np.array([position for position, _ in rows], dtype=float).reshape(-1, 5)
        ends: Array = np.array([end for _, end in rows], dtype=float).reshape(-1, 2)
        expected = ~np.isnan(positions[:, 4])
        self._plain = _Compared.of(positions[:, :4], ends)
        self._expected = _Compared.of(positions[expected], ends[expected])

    def __len__(self) -> int:
        return len(self._plain.ends)

    def outcomes(self, curve: Sequence[Point], size_mb: float, expected_score: float | None = None) -> Outcomes | None:
        """What may become of a trial whose curve has come to this epoch; None with too few finished ones.

        A ridge regression on the nearest finished curves, and its leave-one-out residuals, both losses jointly. The nearest
        only: over all of them, the best trials are underrated, since most curves flatten out lower. Where the sampler's model
        expected a score, that is a coordinate as well, as soon as it had expected something of enough finished ones: it knows
        the configuration, which the curve does not show yet.
        """
        part = up_to(curve, self.epoch)
        if len(self) < MIN_CURVES or not part:
            return None
        position = np.array(_position(part, size_mb, self.max_epochs, self._score_range, expected_score))
        known = expected_score is not None and len(self._expected.ends) >= MIN_EXPECTED
        table, x = (self._expected, position) if known else (self._plain, position[:4])
        offsets = (table.positions - x) / table.scale
        distances = (offsets * offsets) @ WEIGHTS[: len(x)]
        k = min(NEIGHBOURS, len(table.ends))
        nearest = np.sort(np.argpartition(distances, k - 1)[:k]) if k < len(table.ends) else np.arange(k)
        design, ends = np.column_stack([np.ones(k), offsets[nearest]]), table.ends[nearest]
        gram = design.T @ design + np.diag([0.0, *[PENALTY] * len(x)])
        inverse = np.linalg.inv(gram + 1e-9 * np.eye(1 + len(x)))
        coefficients = inverse @ design.T @ ends  # (1 + coordinates, 2)
        leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
        residuals = (ends - design @ coefficients) / np.maximum(1 - leverage, 0.05)[:, None]
        score, log_ratio = coefficients[0]
        drawn = coefficients[0] + residuals
        return Outcomes(
            scores=np.clip(drawn[:, 0], *self._score_range),
            log_seconds=drawn[:, 1] + x[2],
            score=float(np.clip(score, *self._score_range)),
            seconds=math.exp(log_ratio + x[2]),
        )


def _row(record: TrialRecord, epoch: float, max_epochs: int, score_range: tuple[float, float]) -> Row | None:
    part = up_to(record.curve, epoch)
    if not part or record.values is None:
        return None
    position = _position(part, record.size_mb, max_epochs, score_range, record.expected_score)
    return position, (
        within(settled_score(record), score_range),
        math.log(max(record.values.seconds, 1e-3)) - position[2],
    )


def _position(
    part: Sequence[Point],
    size_mb: float,
    max_epochs: int,
    score_range: tuple[float, float],
    expected_score: float | None,
) -> Position:
    epoch = part[-1].epoch
    now = within(smoothed_score(part, epoch), score_range)
    earlier = within(smoothed_score(part, max(1, int(epoch) // 2)), score_range) if epoch > 1 else now
    rise = 0.0 if math.isnan(earlier) else now - earlier
    expected = math.nan if expected_score is None else within(expected_score, score_range)
    return now, rise, math.log(max(projected_seconds(part, max_epochs), 1e-3)), math.log(size_mb), expected
