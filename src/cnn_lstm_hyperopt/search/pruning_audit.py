"""Audit of a pruner: what control trials, which are never pruned, show about the benefit of pruning."""

import math
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated
from cnn_lstm_hyperopt.search.learning_curves import believed_scores, settled_score
from cnn_lstm_hyperopt.search.observations import losses
from cnn_lstm_hyperopt.search.skill_threshold import SkillThreshold
from cnn_lstm_hyperopt.search.trial import TrialRecord
from cnn_lstm_hyperopt.utils.rng import stream_seed

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

AUDITED = ("front",)
"""Types of pruners that an audit switches on and off."""
EXEMPT = 12
"""Average number of trials per control trial while a pruner ends trials. A control trial is never pruned."""
EARLY = 25
"""Trial n of a study, counted from 1, is an early control trial of an audited pruner with the probability of this number / n."""
CONTROL, WOULD_HAVE_ENDED = "control", "would_have_ended"
"""Attributes of trials. The first marks early control trials, and trials that started while the pruner only recorded its
decisions: they are control trials too. The second has the epoch and the reason of the decision to end a control trial."""
AUDIT_EVERY = 10
"""Number of ended trials between two audits."""
DOUBT = 0.1
"""Probability that a bound of the share of the front is wrong."""
MAX_LOST = 0.1
"""Upper bound of the lost share of the hypervolume, since a study with a fixed number of trials spends no saved seconds."""
REFERENCE = 1.1
"""Coordinate of the reference point in ln seconds and ln MB, which are scaled to the range of the front."""
MIN_WIDTH = 1e-3
"""Distance in ln seconds and ln MB by which the reference point is at least beyond the front."""


def is_exempt(seed: int, number: int) -> bool:
    """Return whether trial ``number`` is always a control trial, which depends only on a hash of ``seed`` and ``number``."""
    return stream_seed(seed, number, "exempt from pruning") % EXEMPT == 0


def is_early_control(seed: int, number: int) -> bool:
    """Return whether trial ``number``, counted from 0, is an early control trial; this depends only on a hash.

    Few trials have finished when a pruner begins, and the sampler learns little from ended trials. So the share of control trials
    falls slowly, to a quarter after 100 trials.
    """
    return stream_seed(seed, number, "early control trial") % (number + 1) < EARLY


def is_control(record: TrialRecord, seed: int) -> bool:
    """Return whether a trial is a control trial: by :func:`is_exempt`, or marked with :data:`CONTROL` when it started."""
    return CONTROL in record.attributes or is_exempt(seed, record.number)


class Verdict(Enum):
    """Result of an audit: whether pruning gains or loses hypervolume per second, or whether this is not known yet."""

    PAYS = "pays"
    UNKNOWN = "unknown"
    HARMS = "harms"


class Audit(NamedTuple):
    """What the COMPLETE control trials show about the benefit of pruning, since the first decision to end one of them.

    If pruning saves the share s of the seconds and loses the share l of the gain, the gain per second changes by the factor
    (1 − l) / (1 − s). So pruning pays if l < s. Here l is a share of the trials on the front. Trials of the front that the
    pruner would have ended usually contribute little hypervolume, so this share is a careful estimate.

    Attributes:
        controls: number of control trials.
        would_have_ended: number of control trials that the pruner would have ended.
        on_front: number of control trials on the front of feasible trials.
        lost: number of control trials on the front that the pruner would have ended.
        seconds_saved: seconds after the decisions to end control trials, as a share of the seconds of all control trials.
        hypervolume_lost: hypervolume that is lost without the trials that the pruner would have ended, as a share of the
            hypervolume that is lost without all control trials.
    """

    controls: int = 0
    would_have_ended: int = 0
    on_front: int = 0
    lost: int = 0
    seconds_saved: float = 0.0
    hypervolume_lost: float = 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """Lower and upper bound of the share of the front that pruning loses (Clopper & Pearson 1934)."""
        from scipy.special import betaincinv  # what scipy.stats.beta.ppf calls; `status` needs neither

        k, n = self.lost, self.on_front
        low = float(betaincinv(k, n - k + 1, DOUBT)) if k else 0.0
        high = float(betaincinv(k + 1, n - k, 1 - DOUBT)) if k < n else 1.0
        return low, high

    @property
    def verdict(self) -> Verdict:
        """Compare the bounds of the lost share, and the lost hypervolume, with the saved seconds."""
        low, high = self.bounds
        if high < self.seconds_saved and self.hypervolume_lost < min(self.seconds_saved, MAX_LOST):
            return Verdict.PAYS
        return Verdict.HARMS if self.would_have_ended and low > self.seconds_saved else Verdict.UNKNOWN


def audit(
    records: Sequence[TrialRecord],
    skill: SkillThreshold,
    seed: int,
    known: dict[int, tuple[float, float, float]] | None = None,
) -> Audit:
    """Audit the pruner of a study after the last multiple of :data:`AUDIT_EVERY` ended trials.

    Args:
        records: trials of the study.
        skill: skill threshold of the study.
        seed: seed of the study.
        known: cache of losses, see :func:`believed_losses`.
    """
    ended = sorted((r for r in records if r.state.ended), key=lambda record: record.finish_order)
    complete = [r for r in ended[: len(ended) // AUDIT_EVERY * AUDIT_EVERY] if r.values is not None]
    first = min((r.number for r in complete if WOULD_HAVE_ENDED in r.attributes), default=None)
    if first is None:
        return Audit()
    control = np.array([record.number >= first and is_control(record, seed) for record in complete], dtype=bool)
    ends = control & np.array([WOULD_HAVE_ENDED in record.attributes for record in complete], dtype=bool)
    points = believed_losses(complete, skill, known)
    feasible = np.array([record.feasible for record in complete], dtype=bool)
    skilled = np.flatnonzero((-points[:, 0] > skill.threshold) & feasible)
    on_front = np.zeros(len(complete), dtype=bool)
    on_front[skilled[non_dominated(points[skilled])]] = True
    seconds = np.array([record.seconds for record in complete])
    left = np.array([seconds_left(record) for record in complete])
    return Audit(
        int(control.sum()),
        int(ends.sum()),
        int((on_front & control).sum()),
        int((on_front & ends).sum()),
        float(left[ends].sum() / max(seconds[control].sum(), 1e-9)),
        _share_lost(points[skilled], skill.threshold, control[skilled], ends[skilled]),
    )


def seconds_left(record: TrialRecord) -> float:
    """Return the training seconds of a trial after the decision to end it; 0 without such a decision."""
    decision = record.attributes.get(WOULD_HAVE_ENDED)
    if decision is None:
        return 0.0
    return record.seconds - max(
        (p.seconds for p in record.curve if p.epoch <= decision["epoch"]), default=record.seconds
    )


def believed_losses(
    complete: Sequence[TrialRecord], skill: SkillThreshold, known: dict[int, tuple[float, float, float]] | None = None
) -> Array:
    """Return −score, ln seconds and ln MB of COMPLETE trials, ``(trials, 3)``; scores are those of :func:`.believed_scores`.

    Args:
        complete: COMPLETE trials.
        skill: skill threshold of the study, which knows the errors of scores.
        known: cache of losses with measured scores by trial number, to which this function adds losses.
    """
    known = {} if known is None else known
    for record in complete:
        if record.number not in known and record.values is not None:
            known[record.number] = losses(settled_score(record), record.values.seconds, record.values.size_mb)
    points = np.array([known[record.number] for record in complete]).reshape(-1, 3)
    expected = [math.nan if record.expected_score is None else record.expected_score for record in complete]
    errors = [skill.standard_error(-loss) for loss in points[:, 0]]
    points[:, 0] = -believed_scores(-points[:, 0], np.array(expected), np.array(errors))
    return points


def _share_lost(points: Array, threshold: float, control: Mask, ends: Mask) -> float:
    """Return ``hypervolume_lost`` of an :class:`Audit`; see :class:`Audit`.

    Args:
        points: losses of the trials above the skill threshold, ``(trials, 3)``.
        threshold: skill threshold, where the hypervolume ends.
        control: which trials are control trials, ``(trials,)``.
        ends: which control trials the pruner would have ended, ``(trials,)``.
    """
    if not len(points):
        return 0.0
    front = points[non_dominated(points)]
    low, high = front.min(axis=0), front.max(axis=0)
    corner = (-threshold, *(low + REFERENCE * (high - low) + MIN_WIDTH)[1:].tolist())
    whole = hypervolume(points, corner)
    gained, lost = (whole - hypervolume(points[~each], corner) for each in (control, ends))
    return lost / gained if gained > 0 else 0.0
