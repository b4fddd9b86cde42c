"""The Pareto front of a study, and the hypervolume of the front after each trial."""

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

from cnn_lstm_hyperopt.pareto import hypervolume, knee, non_dominated, with_row
from cnn_lstm_hyperopt.search.observations import losses
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold
from cnn_lstm_hyperopt.search.trial import TrialRecord, Values

CONFIRMED_PER_MODEL = 3
"""Number of candidates that the confirmation trains for each model to be retrained."""


def ranked_front(records: Sequence[TrialRecord], skill: SkillThreshold) -> list[TrialRecord]:
    """Return the non-dominated feasible trials above the skill threshold, the best first.

    Trials are ordered by score (descending), then by validation log loss, seconds and MB (ascending). With few validation
    windows, scores are often equal; log losses are rarely equal.
    """
    return _non_dominated([r for r in feasible_trials(records) if above_chance(r, skill)])


def reported_front(records: Sequence[TrialRecord], skill: SkillThreshold) -> list[TrialRecord]:
    """Return the front for users: :func:`ranked_front`, or all non-dominated feasible trials if none beats chance.

    Only reports use a front of trials that do not beat chance, because such a front contains mainly small models without skill.
    """
    return ranked_front(records, skill) or _non_dominated(feasible_trials(records))


def confirmation_candidates(
    records: Sequence[TrialRecord], skill: SkillThreshold, top_k: int, also: Sequence[int | str] = ()
) -> list[TrialRecord]:
    """Return the trials to confirm for ``top_k`` models, in the order of :func:`ranked_front`.

    The best trials by score and the trials of the front take turns, until :data:`CONFIRMED_PER_MODEL` × ``top_k`` trials
    are chosen. So at least half of these trials are the best by score, also those that a faster or smaller trial with an
    equal score keeps off the front. Trials below the skill threshold are chosen only if no trial beats chance. The trials
    ``also`` are chosen in any case; see :func:`chosen_trials`. Infeasible trials are never chosen.
    """
    complete = feasible_trials(records)
    eligible = [record for record in complete if above_chance(record, skill)] or complete
    turns = zip_longest(_best_first(eligible), reported_front(records, skill))
    chosen = dict.fromkeys(record.number for turn in turns for record in turn if record is not None)
    places = set(list(chosen)[: CONFIRMED_PER_MODEL * top_k])
    places |= {record.number for record in chosen_trials(records, skill, also)}
    return _best_first([record for record in complete if record.number in places])


class Picks(NamedTuple):
    """Named trials of a Pareto front. One trial can have several names.

    Attributes:
        best_score: trial with the best score.
        balanced: knee of the front: the trial farthest from the plane through the extremes in (score, ln seconds, ln MB), the
            space of the hypervolume; see :func:`.knee`.
        fastest: trial with the shortest training time.
        smallest: trial with the smallest model.
    """

    best_score: TrialRecord
    balanced: TrialRecord
    fastest: TrialRecord
    smallest: TrialRecord


def named_picks(front: Sequence[TrialRecord]) -> Picks | None:
    """Return the named trials of a front; None if the front is empty. Of equal trials, the trial with the best rank is named.

    ``front`` has COMPLETE trials in the order of :func:`ranked_front`.
    """
    valued = [(record, record.values) for record in front if record.values is not None]
    if not valued:
        return None
    return Picks(
        best_score=valued[0][0],
        balanced=valued[knee([losses(*values) for _, values in valued])][0],
        fastest=min(valued, key=lambda pair: pair[1].seconds)[0],
        smallest=min(valued, key=lambda pair: pair[1].size_mb)[0],
    )


def chosen_trials(
    records: Sequence[TrialRecord], skill: SkillThreshold, chosen: Sequence[int | str]
) -> list[TrialRecord]:
    """Return the trials that a user chose by number, or by the name of a pick of the front (see :class:`Picks`).

    Numbers of trials that are not COMPLETE or not feasible are left out, and names if there is no front.
    """
    picks = named_picks(reported_front(records, skill))
    feasible = {record.number: record for record in feasible_trials(records)}
    found = [feasible.get(each) if isinstance(each, int) else getattr(picks, each, None) for each in chosen]
    return list({record.number: record for record in found if record is not None}.values())


def remaining_candidates(count: int, keep: int) -> int:
    """Return how many of ``count`` candidates remain after a round of the confirmation: the half, but at least ``keep``."""
    return max(min(count, keep), math.ceil(count / 2))


def count_confirmations(count: int, seeds: int, keep: int) -> int:
    """Return the number of trainings of a confirmation of ``count`` candidates without failures."""
    total = 0
    for _ in range(seeds):
        total += count
        count = remaining_candidates(count, keep)
    return total


def above_chance(record: TrialRecord, skill: SkillThreshold) -> bool:
    """Return whether a trial is COMPLETE and above the skill threshold."""
    return record.values is not None and skill.passes(record.values.score)


def feasible_trials(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the COMPLETE trials that keep all constraints."""
    return [record for record in records if record.values is not None and record.feasible]


def _non_dominated(complete: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the non-dominated COMPLETE trials, the best first (see :func:`ranked_front`)."""
    if not complete:
        return []
    rows = [(-v.score, v.seconds, v.size_mb) for v in (r.values for r in complete) if v is not None]
    return _best_first([record for record, keep in zip(complete, non_dominated(rows), strict=True) if keep])


def _best_first(complete: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return COMPLETE trials ordered by score, log loss, seconds and MB (see :func:`ranked_front`)."""
    keys = {
        record.number: (-v.score, math.inf if record.kept is None else record.kept.loss, v.seconds, v.size_mb)
        for record in complete
        if (v := record.values) is not None
    }
    return sorted(complete, key=lambda record: (*keys[record.number], record.number))


def front_hypervolume(records: Sequence[TrialRecord], skill: SkillThreshold) -> tuple[float, dict[str, float]]:
    """Return the hypervolume of the front in (score, ln seconds, ln MB), and the reference point as score, seconds and MB.

    The reference point is the score of chance and the maximum seconds and MB of all COMPLETE trials. The reference point changes
    while the study grows, so compare hypervolumes only with equal reference points.
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
    """An increase of the front's hypervolume by a trial.

    Attributes:
        trials: number of trials that had finished, including the trial that increased the hypervolume.
        seconds: training seconds of these trials.
        hypervolume: hypervolume after the increase, with the reference point of the complete study.
    """

    trials: int
    seconds: float
    hypervolume: float


def hypervolume_history(records: Sequence[TrialRecord], skill: SkillThreshold) -> list[Milestone]:
    """Return the increases of the hypervolume in the order in which trials ended; all use the same, last reference point."""
    _, reference = front_hypervolume(records, skill)
    history: list[Milestone] = []
    rows: list[tuple[float, float, float]] = []
    seconds, trials, reached = 0.0, 0, 0.0
    for record in finish_order(records):
        seconds += record.seconds
        trials += record.finished
        values: Values | None = record.values
        if values is None or not record.feasible or not skill.passes(values.score):
            continue
        before, rows = rows, with_row(rows, losses(*values))
        if rows is before:
            continue
        volume = hypervolume(rows, _corner(reference))
        if volume > reached * (1 + 1e-12):  # more than a trial at the corner adds
            reached = volume
            history.append(Milestone(trials, seconds, reached))
    return history


def milestone_at(history: Sequence[Milestone], share: float) -> Milestone | None:
    """Return the first milestone with at least ``share`` of the final hypervolume; None if the history is empty."""
    return next((step for step in history if step.hypervolume >= share * history[-1].hypervolume), None)


def finish_order(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials that have ended, in the order in which they ended."""
    return sorted((record for record in records if record.state.ended), key=lambda record: record.finish_order)


def _corner(reference: dict[str, float]) -> list[float]:
    """Return the losses of the reference point plus 1e-9, so that also the largest and the slowest trial add hypervolume."""
    corner = losses(*reference.values())
    return [loss + 1e-9 for loss in corner]
