"""The study: which trial comes next, what becomes of it, and what the front is. All of it derived from stored trials."""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from cnn_lstm_hyperopt.config import Params, PrunerSettings, SamplerSettings, SearchSpace
from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.exceptions import StudyFailedError
from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search.distributions import distributions_of, with_fixed
from cnn_lstm_hyperopt.search.gate import SkillGate
from cnn_lstm_hyperopt.search.limits import Cost, Limits
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, RandomSampler
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.told import Told, losses, told
from cnn_lstm_hyperopt.search.trial import Point, State, TrialRecord, Values

log = logging.getLogger(__name__)

INTERRUPTED = "interrupted: "
"""How the reason of a trial starts that the run had to end; it is tried again however often that happens."""
SAMPLER_ATTEMPTS, RANDOM_ATTEMPTS = 10, 1000
MAX_FAILURES_IN_A_ROW = 10
LIMIT_TOLERANCE, LIMIT_EVIDENCE = 1.25, 0.05
"""A running trial was predicted to keep the limit of seconds. It ends if it is projected to need so many times the limit, but
not before this share of the limit is spent: a neighbour can slow the first few steps by any factor."""


@dataclass(frozen=True)
class StudyPlan:
    """What defines a search.

    Attributes:
        n_trials: COMPLETE and PRUNED trials that the study is to have.
        max_epochs: epochs of a trial at most.
        limits: a proposal beyond them is drawn anew; a trial that turns out to be slower than its limit ends.
        cost: of a whole configuration, known without building it.
        estimated_time: whether ``cost``, not the clock, says what a trial's training seconds are.
    """

    space: SearchSpace
    sampler: SamplerSettings
    pruner: PrunerSettings
    seed: int
    n_trials: int
    max_epochs: int
    limits: Limits
    gate: SkillGate
    cost: Callable[[Params], Cost]
    estimated_time: bool = False


@dataclass(frozen=True)
class Assignment:
    """A trial to be run: its number and its whole configuration, fixed parameters included."""

    trial_id: int
    number: int
    params: dict[str, Scalar]
    cost: Cost
    retry_of: int | None


class Study:
    """A search on a storage. It can be built anew at any time and goes on as if it had never stopped.

    Args:
        storage: of the study.
        plan: what defines it.
        claim: held while a trial is chosen and inserted, so that several workers neither take the same one nor too many.
        worker: number that its trials carry; None: there is one process.
    """

    def __init__(
        self,
        storage: StudyStorage,
        plan: StudyPlan,
        *,
        claim: AbstractContextManager[object] | None = None,
        worker: int | None = None,
    ) -> None:
        self.storage = storage
        self.plan = plan
        self._claim = claim if claim is not None else nullcontext()
        self._worker = worker
        self._proposer = Proposer(plan)
        self._pruner = PRUNERS[plan.pruner.type](plan.pruner, plan.gate)
        self._curves: dict[int, tuple[Point, ...]] = {}
        self._failures_in_a_row = 0
        self._last_failure = ""

    # ------------------------------------------------------------------ what is there

    def records(self) -> list[TrialRecord]:
        """All trials in order of number."""
        return self.storage.records()

    def n_finished(self) -> int:
        """COMPLETE and PRUNED trials: what ``n_trials`` counts."""
        return sum(record.finished for record in self.records())

    def front(self) -> list[TrialRecord]:
        """The non-dominated trials that passed the gate, ranked; see :func:`ranked_front`."""
        return ranked_front(self.records(), self.plan.gate)

    def pruner_warning(self) -> str | None:
        """Why pruning can't act in this study, or None."""
        return self._pruner.inactive_because(n_trials=self.plan.n_trials, max_epochs=self.plan.max_epochs)

    # ------------------------------------------------------------------ the next trial

    def next_assignment(self) -> "Assignment | NoTrial":
        """Starts the next trial: one that failed and was not yet tried again, else a new proposal; or says why there is none."""
        with self._claim:
            return self._next_assignment()

    def _next_assignment(self) -> "Assignment | NoTrial":
        records = self.records()
        finished = sum(record.finished for record in records)
        if finished >= self.plan.n_trials:
            return NoTrial.ENOUGH
        if finished + sum(record.state is State.RUNNING for record in records) >= self.plan.n_trials:
            return NoTrial.OTHERS_RUN_THE_REST
        retry = _to_retry(records)
        if retry is not None:
            searched = dict(retry.params)
        else:
            history = told(records, self.plan.gate)
            seen = {_key(record.params) for record in records}
            proposal = self._proposer.propose(self.storage.next_number(), history, seen)
            if proposal is None:
                return NoTrial.SPACE_USED_UP
            searched = proposal
        params = with_fixed(self.plan.space, searched)
        cost = self.plan.cost(params)
        attributes: dict[str, Any] = {"size_mb": cost.size_mb, "estimated_seconds": cost.seconds}
        if retry is not None:
            attributes["retry_of"] = retry.number
        if self._worker is not None:
            attributes["worker"] = self._worker
        trial_id, number = self.storage.start(searched, distributions_of(self.plan.space, searched), attributes)
        self._curves[trial_id] = ()
        return Assignment(trial_id, number, params, cost, retry.number if retry else None)

    # ------------------------------------------------------------------ while it runs

    def report(self, assignment: Assignment, report: ProgressReport) -> Decision:
        """Stores an epoch's record and decides how the trial goes on."""
        limit = self.plan.limits.seconds
        seconds, projected = self.training_seconds(
            assignment, report.epoch, measured=(report.seconds, report.projected_seconds)
        )
        over_limit = (
            Decision(Action.PRUNE, f"limit: projected {projected:.0f} s exceed limits.trial_seconds={limit:g}")
            if limit is not None
            and projected is not None
            and projected > LIMIT_TOLERANCE * limit
            and seconds >= LIMIT_EVIDENCE * limit
            else CONTINUE
        )
        if report.accuracy is None or report.loss is None:
            return over_limit
        point = Point(report.epoch, report.accuracy, report.loss, seconds)
        curve = (*self._curves[assignment.trial_id], point)
        self._curves[assignment.trial_id] = curve
        self.storage.record_curve(assignment.trial_id, curve)
        if report.last:
            return CONTINUE
        if over_limit.action is not Action.CONTINUE:
            return over_limit
        records = self.records()
        trial = replace(_numbered(records, assignment.number), curve=curve, seconds=seconds)
        complete = [record for record in records if record.state is State.COMPLETE]
        reason = self._pruner.reason_to_prune(trial, complete, ranked_front(complete, self.plan.gate))
        return CONTINUE if reason is None else Decision(Action.PRUNE, reason)

    def training_seconds(
        self, assignment: Assignment, epochs: float, *, measured: tuple[float, float | None]
    ) -> tuple[float, float | None]:
        """Seconds so far and of all epochs: what the study's time objective counts, ``measured`` or estimated."""
        if not self.plan.estimated_time:
            return measured
        return assignment.cost.seconds * epochs / self.plan.max_epochs, assignment.cost.seconds

    def finish(
        self, assignment: Assignment, state: State, values: Values | None, attributes: dict[str, Any]
    ) -> TrialRecord:
        """Stores the trial's end."""
        self.storage.finish(assignment.trial_id, state, values, attributes)
        del self._curves[assignment.trial_id]
        reason = str(attributes.get("reason", ""))
        failed = state is State.FAIL and not reason.startswith(INTERRUPTED)
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed else 0
        self._last_failure = reason
        return _numbered(self.records(), assignment.number)

    def check_failures(self) -> None:
        """Raises StudyFailedError when ten trials of this process failed in a row: going on would only repeat it."""
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            raise StudyFailedError(
                f"{MAX_FAILURES_IN_A_ROW} trials failed in a row, the last with: {self._last_failure}"
            )


class Proposer:
    """Proposes configurations that no trial had and that keep the limits."""

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        self._sampler = SAMPLERS[plan.sampler.type](plan.space, plan.sampler, plan.seed)
        self._random = RandomSampler(plan.space, plan.sampler, plan.seed)

    def propose(
        self, number: int, history: Sequence[Told], seen: Collection[tuple[tuple[str, Scalar], ...]]
    ) -> dict[str, Scalar] | None:
        """Of the sampler, or at random when it keeps proposing what can't be taken; None when the space is used up."""
        for attempt in range(SAMPLER_ATTEMPTS + RANDOM_ATTEMPTS):
            sampler = self._sampler if attempt < SAMPLER_ATTEMPTS else self._random
            params = sampler.propose(number, history, attempt)
            if _key(params) not in seen and self._keeps_limits(params):
                return params
        return None

    def first(self, count: int) -> list[dict[str, Scalar]]:
        """What the first trials of the study will be: before the sampler models anything, they depend on the seed alone."""
        found: list[dict[str, Scalar]] = []
        for number in range(min(count, self._plan.sampler.n_startup_trials)):
            params = self.propose(number, [], {_key(each) for each in found})
            if params is None:
                break
            found.append(params)
        return found

    def _keeps_limits(self, searched: Params) -> bool:
        return self._plan.limits.allow(self._plan.cost(with_fixed(self._plan.space, searched)))


class NoTrial(Enum):
    """Why there is no next trial."""

    ENOUGH = "the study has all its trials"
    OTHERS_RUN_THE_REST = "the last ones are running elsewhere"
    SPACE_USED_UP = "every configuration of the space that keeps the limits was tried"


def ranked_front(records: Sequence[TrialRecord], gate: SkillGate) -> list[TrialRecord]:
    """The non-dominated trials among those that passed the gate, by accuracy, then fewer seconds, then fewer MB."""
    skilled = [r for r in records if r.values is not None and gate.passes(r.values.accuracy)]
    if not skilled:
        return []
    rows = [(-v.accuracy, v.seconds, v.size_mb) for v in (r.values for r in skilled) if v is not None]
    front = [(row, record) for row, record, keep in zip(rows, skilled, non_dominated(rows), strict=True) if keep]
    return [record for _, record in sorted(front, key=lambda item: (*item[0], item[1].number))]


def front_hypervolume(records: Sequence[TrialRecord], gate: SkillGate) -> tuple[float, dict[str, float]]:
    """Hypervolume of the front in (accuracy, ln seconds, ln MB), and its reference point in plain units.

    The reference is the gate's chance and the most seconds and MB of any COMPLETE trial, so it moves while the study grows:
    compare hypervolumes only at one reference.
    """
    complete = [r.values for r in records if r.values is not None]
    if not complete:
        return 0.0, {}
    reference = {
        "accuracy": gate.chance,
        "training_seconds": max(v.seconds for v in complete),
        "size_mb": max(v.size_mb for v in complete),
    }
    corner = losses(reference["accuracy"], reference["training_seconds"], reference["size_mb"])
    rows = [losses(*r.values) for r in ranked_front(records, gate) if r.values is not None]
    # A hair beyond the corner, so that the largest and the slowest trial count too.
    return hypervolume(rows, [c + 1e-9 for c in corner]) if rows else 0.0, reference


def _numbered(records: Sequence[TrialRecord], number: int) -> TrialRecord:
    return next(record for record in reversed(records) if record.number == number)


def _key(params: Params) -> tuple[tuple[str, Scalar], ...]:
    return tuple(sorted(params.items()))


def _to_retry(records: Sequence[TrialRecord]) -> TrialRecord | None:
    """The first failed trial that is still owed another try: one each, but as many as it takes after interruptions."""
    retried = {record.retry_of for record in records}
    for record in records:
        owed = record.retry_of is None or record.reason.startswith(INTERRUPTED)
        if record.state is State.FAIL and owed and record.number not in retried:
            return record
    return None


__all__ = [
    "INTERRUPTED",
    "Assignment",
    "NoTrial",
    "Proposer",
    "Study",
    "StudyPlan",
    "front_hypervolume",
    "ranked_front",
]
