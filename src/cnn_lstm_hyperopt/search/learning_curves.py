"""Learning curves: smoothed scores, and predictions from similar finished curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.search.trial import Point, TrialRecord

Array = NDArray[np.float64]

MIN_CURVES = 10
"""Minimum number of finished curves for a prediction."""
MIN_EXPECTED = 20
"""Expected scores are used only if at least this many finished curves have an expected score."""
NEIGHBOURS = 60
PENALTY = 0.3
"""Penalty on the squared slopes of the ridge regression that predicts outcomes."""


def smoothed_score(curve: Sequence[Point], epoch: float) -> float:
    """Return the mean score over the last quarter (at least one epoch) of the full epochs up to ``epoch``.

    Before the end of the first epoch, return the last score. If the curve has no score, return NaN.
    """
    if epoch < 1:
        return next((p.score for p in reversed(curve) if p.epoch <= epoch), math.nan)
    window = max(1, int(epoch) // 4)
    seen = [p.score for p in curve if epoch - window < p.epoch <= epoch and p.epoch >= 1]
    return sum(seen) / len(seen) if seen else math.nan


def settled_score(record: TrialRecord) -> float:
    """Return the smoothed score of a COMPLETE trial at the epoch whose weights the trial kept.

    Smoothing reduces the random error of a single score. Without smoothing, the best of hundreds of scores is usually too high.
    If epochs were evaluated on some of the validation windows, the score of the trial, which is that on all windows, is returned:
    the epoch was not chosen by this score, and it has a smaller error than the curve.
    """
    if record.values is None:
        raise ValueError(f"trial {record.number} is {record.state.value}: only a COMPLETE one has a score")
    point = record.kept
    if point is None:
        return record.values.score
    smoothed = smoothed_score(record.curve, point.epoch)
    # A partly read curve may have no score in these epochs; then the stored value is used.
    partly = point.score != record.values.score
    return record.values.score if partly or math.isnan(smoothed) else smoothed


def believed_scores(scores: Array, expected: Array, errors: Array) -> Array:
    """Return the scores of trials, each shrunk towards the score that the sampler expected, shape ``(trials,)``.

    A front of unchanged scores would consist mainly of scores with large positive errors. The expected score is the mean of a
    normal prior with variance τ², and the measured score has variance σ². The posterior mean is then (τ² · score + σ² · expected)
    / (τ² + σ²). τ² is the mean squared difference between measured and expected scores minus σ², and at least a tenth of σ²
    (empirical Bayes, Efron & Morris 1973).

    Args:
        scores: measured scores, ``(trials,)``.
        expected: expected scores, ``(trials,)``. A score whose expected score is unknown (NaN) stays unchanged; with fewer than
            20 known expected scores, all scores stay unchanged.
        errors: standard errors of the measured scores, ``(trials,)``.
    """
    known = ~np.isnan(expected)
    if known.sum() < MIN_EXPECTED:
        return scores
    noise = errors**2
    typical = float(noise[known].mean())
    prior = max(float(((scores - expected)[known] ** 2).mean()) - typical, MIN_PRIOR * typical)
    weight = prior / (prior + noise) if prior > 0 else np.ones(len(scores))
    return np.where(known, weight * scores + (1 - weight) * np.nan_to_num(expected), scores)


def within(score: float, score_range: tuple[float, float]) -> float:
    """Clip a score to ``score_range``; NaN stays NaN."""
    if math.isnan(score):
        return score
    return min(max(score, score_range[0]), score_range[1])


def projected_seconds(curve: Sequence[Point], max_epochs: int) -> float:
    """Return the projected training seconds of all epochs, from the speed of the epochs so far without the first (warm-up)."""
    last = curve[-1]
    first = next((p for p in curve if p.epoch >= 1), last)
    if last.epoch <= 1 or first.epoch >= last.epoch:
        return last.seconds * max_epochs / last.epoch
    slope = (last.seconds - first.seconds) / (last.epoch - first.epoch)
    return last.seconds + slope * (max_epochs - last.epoch)


def up_to(curve: Sequence[Point], epoch: float) -> tuple[Point, ...]:
    """Return the points of the curve up to ``epoch``; return no point if the curve has no point at ``epoch``."""
    part = tuple(p for p in curve if p.epoch <= epoch)
    return part if part and part[-1].epoch == epoch else ()


@dataclass(frozen=True)
class Outcomes:
    """Equally likely final results of a trial, as predicted from finished trials.

    Attributes:
        scores: settled score of each outcome, ``(outcomes,)``.
        log_seconds: natural logarithm of the training seconds of each outcome, ``(outcomes,)``.
        score: expected score of the trial.
        seconds: exponential of the expected logarithm of the trial's training seconds.
    """

    scores: Array
    log_seconds: Array
    score: float
    seconds: float

    @property
    def variance(self) -> float:
        """Variance of the scores of the likely outcomes."""
        return float(self.scores.var())


MIN_SPREAD = 1e-9
"""If the standard deviation of a feature is below this bound, all curves count as equal in this feature."""
MIN_PRIOR = 0.1
"""Lower bound of the prior variance τ² in :func:`believed_scores`, as a share of the variance σ² of a measured score."""
WEIGHTS = np.array([4.0, 1.0, 1.0, 1.0, 2.0])
"""Weights of the features (see ``Position``) in the squared distance between curves; the smoothed score is the most informative
feature."""

Position = tuple[float, float, float, float, float]
"""Features of a curve: smoothed score, rise of the smoothed score, ln projected seconds, ln MB, expected score (NaN if
unknown)."""
Row = tuple[Position, tuple[float, float]]
"""Features of a finished curve at an epoch, and the curve's outcome: settled score, ln seconds minus ln projected seconds."""


class _Compared(NamedTuple):
    """Features ``(rows, features)`` and outcomes ``(rows, 2)`` of finished curves, and the scale of each feature.

    The scale is the standard deviation, or infinity if all curves are equal in the feature.
    """

    positions: Array
    ends: Array
    scale: Array

    @classmethod
    def of(cls, positions: Array, ends: Array) -> "_Compared":
        spread = positions.std(axis=0) if len(positions) else np.zeros(positions.shape[1])
        return cls(positions, ends, np.where(spread > MIN_SPREAD, spread, math.inf))


class FinishedCurves:
    """Outcomes of COMPLETE trials, and the features of their learning curves at one epoch.

    Args:
        complete: COMPLETE trials; trials without a score at the epoch are ignored.
        epoch: epoch at which the curves are compared.
        max_epochs: maximum number of epochs of a trial.
        known: cache of computed rows by (trial number, epoch), to which this class adds rows.
        score_range: worst and best score to which scores are clipped.
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
        """Return the likely outcomes of a trial whose curve has reached this epoch; None with too few finished curves.

        A ridge regression on the nearest finished curves predicts the outcome. Each likely outcome is the prediction plus one of
        the regression's leave-one-out residuals. A regression on all curves would underestimate the best trials, since most
        curves flatten at lower scores. If enough finished trials have an expected score of the sampler, this score is a further
        feature, because a short curve contains less information about the configuration.
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
