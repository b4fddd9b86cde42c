"""The Pareto front of a study and its hypervolume, at its end and on the way there."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated, with_row
from cnn_lstm_hyperopt.search.observations import losses
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold
from cnn_lstm_hyperopt.search.trial import TrialRecord, Values


def ranked_front(records: Sequence[TrialRecord], skill: SkillThreshold) -> list[TrialRecord]:
    """The non-dominated trials among those that passed the skill threshold, ranked.

    By score, then lower validation log loss, then fewer seconds, then fewer MB: with few validation windows scores are often
    equal, and the log loss tells more.
    """
    return _non_dominated([r for r in records if r.values is not None and skill.passes(r.values.score)])


def reported_front(records: Sequence[TrialRecord], skill: SkillThreshold) -> list[TrialRecord]:
    """The front that users get: :func:`ranked_front`, or all non-dominated COMPLETE trials where none passed the skill threshold.

    The search itself never uses the latter: small models that do not beat chance would fill it. :func:`above_chance` tells
    which of the two it is.
    """
    return ranked_front(records, skill) or _non_dominated([r for r in records if r.values is not None])


def above_chance(record: TrialRecord, skill: SkillThreshold) -> bool:
    """Whether a trial was completed and passed the skill threshold."""
    return record.values is not None and skill.passes(record.values.score)


def _non_dominated(complete: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Of trials with values, ranked."""
    if not complete:
        return []
    rows = [(-v.score, v.seconds, v.size_mb) for v in (r.values for r in complete) if v is not None]
    front = [(row, record) for row, record, keep in zip(rows, complete, non_dominated(rows), strict=True) if keep]
    return [record for _, record in sorted(front, key=_rank_key)]


def _rank_key(item: tuple[tuple[float, float, float], TrialRecord]) -> tuple[float, ...]:
    (score, seconds, size_mb), record = item
    return (score, math.inf if record.kept is None else record.kept.loss, seconds, size_mb, record.number)


def front_hypervolume(records: Sequence[TrialRecord], skill: SkillThreshold) -> tuple[float, dict[str, float]]:
    """Hypervolume of the front in (score, ln seconds, ln MB), and its reference point in plain units.

    The reference is the threshold's chance and the most seconds and MB of any COMPLETE trial, so it moves while the study grows:
    compare hypervolumes only at one reference.
    """
    complete = [r.values for r in records if r.values is not None]
    if not complete:
        return 0.0, {}
    reference = {
        skill.objective: skill.chance,
        "training_seconds": max(v.seconds for v in complete),
        "size_mb": max(v.size_mb for v in complete),
    }
    rows = [losses(*r.values) for r in ranked_front(records, skill) if r.values is not None]
    return hypervolume(rows, _corner(reference)) if rows else 0.0, reference


class Milestone(NamedTuple):
    """The hypervolume at the moment when a trial raised it.

    Attributes:
        trials: finished by then, this one included.
        seconds: in training steps of all trials by then.
        hypervolume: at the reference of the whole study.
    """

    trials: int
    seconds: float
    hypervolume: float


def hypervolume_history(records: Sequence[TrialRecord], skill: SkillThreshold) -> list[Milestone]:
    """Each rise of the hypervolume, in the order in which trials finished; all at the reference of the whole study."""
    _, reference = front_hypervolume(records, skill)
    history: list[Milestone] = []
    rows: list[tuple[float, float, float]] = []
    seconds, trials, reached = 0.0, 0, 0.0
    for record in finish_order(records):
        seconds += record.seconds
        trials += record.finished
        values: Values | None = record.values
        if values is None or not skill.passes(values.score):
            continue
        before, rows = rows, with_row(rows, losses(*values))
        if rows is before:
            continue
        volume = hypervolume(rows, _corner(reference))
        if volume > reached * (1 + 1e-12):  # more than what a trial at the very corner adds
            reached = volume
            history.append(Milestone(trials, seconds, reached))
    return history


def milestone_at(history: Sequence[Milestone], share: float) -> Milestone | None:
    """The first milestone with at least ``share`` of the final hypervolume; None without a history."""
    return next((step for step in history if step.hypervolume >= share * history[-1].hypervolume), None)


def finish_order(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Trials that have ended, in the order in which they did."""
    return sorted((record for record in records if record.state.ended), key=lambda record: record.finish_order)


def _corner(reference: dict[str, float]) -> list[float]:
    """A hair beyond the reference (score, seconds, MB), so that the largest and the slowest trial count too."""
    corner = losses(*reference.values())
    return [loss + 1e-9 for loss in corner]
