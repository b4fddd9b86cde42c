"""The study: which trial comes next, what becomes of it, and what the front is. All of it derived from stored trials."""

import contextlib
import logging
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from cnn_lstm_hyperopt.config import Params
from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.errors import StudyFailedError, TrialChangedError
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search.distributions import distributions_of, with_fixed
from cnn_lstm_hyperopt.search.initial_trials.kinds import Start
from cnn_lstm_hyperopt.search.limits import Cost
from cnn_lstm_hyperopt.search.memory_levels import levels_of
from cnn_lstm_hyperopt.search.observations import Memory, Told, told
from cnn_lstm_hyperopt.search.pareto_front import reported_front
from cnn_lstm_hyperopt.search.pruners import PRUNERS, is_exempt
from cnn_lstm_hyperopt.search.samplers import SAMPLERS, Proposal, Question, RandomSampler
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import (
    KILLED,
    LACKED_MEMORY,
    Point,
    State,
    TrialRecord,
    Values,
    key_of,
)

log = logging.getLogger(__name__)

SAMPLER_ATTEMPTS, RANDOM_ATTEMPTS = 10, 1000
MAX_FAILURES_IN_A_ROW = 10
LOOK_SECONDS = 2.0
RESTARTS = 10
"""How often a trial that was cut off starts again without getting further: it may be what ends the process each time."""
_KEPT_IN_RETRY = ("note", "origin", "expected_score")
LIMIT_TOLERANCE, LIMIT_EVIDENCE = 1.25, 0.05
"""A running trial was predicted to keep the limit of seconds. It ends if it is projected to need so many times the limit, but
not before this share of the limit is spent: a neighbour can slow the first few steps by any factor."""


@dataclass(frozen=True)
class Assignment:
    """A trial to be run.

    Attributes:
        params: its whole configuration, fixed parameters included.
        retry_of: number of the failed trial that it repeats.
        seeded_as: number that seeds it and names its checkpoint: its own, or that of the trial whose process died.
        saving: place in its :func:`.memory_levels` of how it is to be trained.
        cut_off: where it stood when it was started before, and how often it has started there; None: this is its first start.
    """

    trial_id: int
    number: int
    params: dict[str, Scalar]
    cost: Cost
    retry_of: int | None = None
    seeded_as: int = -1
    saving: int = 0
    cut_off: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.seeded_as < 0:
            object.__setattr__(self, "seeded_as", self.number)


@dataclass
class Timings:
    """Milliseconds that the search itself took, by trial number.

    Attributes:
        propose_ms: to choose its configuration.
        prune_ms: for all decisions about it.
        decisions: how many there were.
    """

    propose_ms: dict[int, float] = field(default_factory=dict)
    prune_ms: dict[int, float] = field(default_factory=dict)
    decisions: dict[int, int] = field(default_factory=dict)


class Study:
    """A search on a storage. It can be built anew at any time and goes on as if it had never stopped.

    Args:
        storage: of the study.
        plan: what defines it.
        claim: held while a trial is chosen and inserted, so that several workers neither take the same one nor too many.
        worker: number that its trials carry; None: there is one process, so that no other one runs trials of this program.
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
        self._pruner = PRUNERS[plan.pruner.type](plan)
        self._memory = Memory()
        self._keys: dict[int, tuple[tuple[str, Scalar], ...]] = {}
        self.timings = Timings()
        self._curves: dict[int, tuple[Point, ...]] = {}
        self._held: set[int] = set()
        self._would_have_ended: set[int] = set()
        self._kept = time.monotonic()
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
        """The front that users get, ranked; see :func:`reported_front`."""
        return reported_front(self.records(), self.plan.gate)

    def sampler_warning(self) -> str | None:
        """Why the sampler can't learn anything in this study, or None."""
        return self._proposer.warning

    def pruner_warning(self) -> str | None:
        """Why pruning can't act in this study, or None."""
        return self._pruner.inactive_because()

    def needed_states(self) -> set[int]:
        """Numbers by which those trials were seeded whose states a trial to come, or one that runs, may go on from."""
        records = self.records()
        needed = {record.seeded_as for record in records if not record.state.ended}
        needed |= {record.seeded_as for record in _to_retry(records) if record.attributes.get("cut_off_by") is not None}
        return needed

    # ------------------------------------------------------------------ the next trial

    def next_assignment(self) -> "Assignment | NoTrial":
        """Starts the next trial: one that was cut off, or failed and was not yet tried again, else a new proposal.

        Or says why there is none.

        Raises:
            StudyFailedError: another program changed trial after trial while it was begun.
        """
        with self._claim:
            while True:
                try:
                    return self._next_assignment()
                except (
                    TrialChangedError
                ) as error:  # it is in no record any more, so that the next look begins another one
                    log.info("a trial is not begun: %s", error)
                    self._failures_in_a_row += 1
                    self._last_failure = str(error)
                    self.check_failures()

    def _next_assignment(self) -> "Assignment | NoTrial":
        records = self.records()
        finished = sum(record.finished for record in records)
        if finished >= self.plan.n_trials:
            return NoTrial.ENOUGH
        waiting = [record for record in records if self._nobody_runs(record)]
        unfinished = sum(not record.state.ended for record in records)
        if finished + unfinished - len(waiting) >= self.plan.n_trials:
            return NoTrial.OTHERS_RUN_THE_REST
        for record in waiting:
            with contextlib.suppress(TrialChangedError):  # another program ended it at this moment
                return self._go_on(record)
        place = self.storage.n_begun()
        retry = next((record for record in _to_retry(records) if self.plan.allows(record.params)), None)
        attributes: dict[str, Any] = {}
        if retry is not None:
            kept = {key: retry.attributes[key] for key in _KEPT_IN_RETRY if key in retry.attributes}
            if retry.attributes.get("cut_off_by") is not None:
                kept |= {
                    "seeded_as": retry.seeded_as,
                    "saving": retry.saving + (retry.attributes["cut_off_by"] == KILLED),
                }
            proposal, attributes = Proposal(dict(retry.params)), {**kept, "retry_of": retry.number}
        elif (start := self._next_start(records)) is not None:
            proposal, attributes = Proposal(dict(start.params)), {"origin": start.origin}
        else:
            begun = time.perf_counter()
            found = self._propose(place, records)
            self.timings.propose_ms[place] = 1000 * (time.perf_counter() - begun)
            if found is None:
                return NoTrial.SPACE_USED_UP
            proposal = found
            given = {
                "note": found.note,
                "expected_score": found.expected_score,
            }
            attributes = {key: value for key, value in given.items() if value is not None}
        return self._start(proposal, attributes, place)

    def _nobody_runs(self, record: TrialRecord) -> bool:
        """Whether an unfinished trial waits for a process: also one that ``study.ask()`` of another program set to RUNNING.

        A worker's trials carry its number from their start until they are paused.
        """
        if record.state is not State.RUNNING:
            return record.state is State.WAITING
        if record.number in self._held:
            return False
        return self._worker is None or record.attributes.get("worker") in (None, self._worker)

    def _next_start(self, records: Sequence[TrialRecord]) -> Start | None:
        """The first of the configurations to begin with that no trial has had."""
        if len(records) > 2 * len(self.plan.starts) + MAX_FAILURES_IN_A_ROW:
            return None  # the beginning is over
        seen = {key_of(record.params) for record in records}
        left = (start for start in self.plan.starts if key_of(start.params) not in seen)
        return next((start for start in left if self.plan.allows(start.params)), None)

    def _propose(self, place: int, records: Sequence[TrialRecord]) -> Proposal | None:
        """Args: place: of the trial among those of this program, which its number is without trials of others."""
        history = told(records, self.plan.gate, self.plan.max_epochs, self._memory)
        running = [record.params for record in records if not record.state.ended]
        for record in records:
            if record.number not in self._keys:
                self._keys[record.number] = key_of(record.params)
        seen = {self._keys[record.number] for record in records}
        return self._proposer.propose(place, history, seen, running)

    def _start(self, proposal: Proposal, attributes: dict[str, Any], place: int) -> Assignment:
        searched = proposal.params
        params = with_fixed(self.plan.space, searched)
        cost = self.plan.cost(params)
        if not cost.size_mb > 0:
            raise ValueError(f"size_mb must be above 0, but the cost of {params} is {cost}")
        attributes = {
            "size_mb": cost.size_mb,
            "estimated_seconds": cost.seconds,
            "memory_levels": len(levels_of(params)),
            **attributes,
        }
        if self._worker is not None:
            attributes["worker"] = self._worker
        trial_id, number = self.storage.start(searched, distributions_of(self.plan.space, searched), attributes)
        if number != place and "seeded_as" not in attributes:  # the same seeds as without the trials of other programs
            attributes["seeded_as"] = place
            self.storage.note(trial_id, "seeded_as", place)
        return self._assignment(trial_id, number, params, cost, attributes)

    def _go_on(self, record: TrialRecord) -> Assignment:
        """Starts a trial again that was cut off: it keeps its number, so that it becomes what it would have been."""
        trial_id = self.storage.claim(record.number, worker=self._worker)
        params = with_fixed(self.plan.space, record.params)
        assignment = self._assignment(trial_id, record.number, params, self.plan.cost(params), record.attributes)
        if "would_have_ended" in record.attributes:
            self._would_have_ended.add(trial_id)
        return replace(assignment, cut_off=tuple(record.attributes.get("cut_off", (-1, 0))))

    def _assignment(
        self, trial_id: int, number: int, params: dict[str, Scalar], cost: Cost, attributes: Mapping[str, Any]
    ) -> Assignment:
        """Of a trial that runs now, by what is stored with it."""
        self._curves[trial_id] = ()
        self._held.add(number)
        return Assignment(
            trial_id,
            number,
            params,
            cost,
            retry_of=attributes.get("retry_of"),
            seeded_as=attributes.get("seeded_as", number),
            saving=attributes.get("saving", 0),
        )

    def begin_again(self, assignment: Assignment) -> None:
        """What it has told so far it will tell again."""
        self._curves[assignment.trial_id] = ()

    def note_trained_anew(self, assignment: Assignment, why: str) -> None:
        """The trial can't go on from its state, so it begins again."""
        self.storage.note(assignment.trial_id, "trained_anew", why)

    def why_not_again(self, assignment: Assignment, epoch: int) -> str | None:
        """Counts that a trial is trained on from ``epoch``; why it is not to be, after too many starts there, else None."""
        if assignment.saving >= len(levels_of(assignment.params)):
            return LACKED_MEMORY
        if assignment.cut_off is None:
            return None
        before, starts = assignment.cut_off
        starts = starts + 1 if epoch == before else 1
        self.storage.note(assignment.trial_id, "cut_off", [epoch, starts])
        where = f"after epoch {epoch}" if epoch else "before its first epoch was over"
        return f"its process ended again and again {where}" if starts > RESTARTS else None

    def note_saving(self, assignment: Assignment, saving: int) -> None:
        """The trial is trained on like that, also when it is cut off: place in its :func:`.memory_levels`."""
        self.storage.note(assignment.trial_id, "saving", saving)

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
        if report.score is None or report.loss is None:
            return over_limit
        point = Point(report.epoch, report.score, report.loss, seconds)
        curve = (*self._curves[assignment.trial_id], point)
        self._curves[assignment.trial_id] = curve
        self._keep(assignment.trial_id, curve)
        if report.last or report.again:
            return CONTINUE
        if over_limit.action is not Action.CONTINUE:
            return over_limit
        return self._decide(assignment, curve)

    def _keep(self, trial_id: int, curve: tuple[Point, ...]) -> None:
        """Stores a running trial's curve where another one's pruning needs it, and now and then for those who look on.

        A write takes a millisecond or two, epochs of small models little more; all of the curve is stored with the trial's end.
        """
        now = time.monotonic()
        if (self._pruner.compares_running and self._pruner.acts(curve)) or now - self._kept > LOOK_SECONDS:
            self.storage.record_curve(trial_id, curve)
            self._kept = now

    def _decide(self, assignment: Assignment, curve: tuple[Point, ...]) -> Decision:
        """The pruner's word, which is only noted where the trial is exempt."""
        number, trial_id = assignment.number, assignment.trial_id
        if not self._pruner.acts(curve) or trial_id in self._would_have_ended:
            return CONTINUE
        records = self.records()
        begun = time.perf_counter()
        trial = replace(_numbered(records, number), curve=curve, seconds=curve[-1].seconds)
        reason = self._pruner.reason_to_prune(trial, [record for record in records if record.number != number])
        took = 1000 * (time.perf_counter() - begun)
        self.timings.prune_ms[number] = self.timings.prune_ms.get(number, 0.0) + took
        self.timings.decisions[number] = self.timings.decisions.get(number, 0) + 1
        if reason is None:
            return CONTINUE
        if is_exempt(self.plan.seed, number):
            self._would_have_ended.add(trial_id)
            self.storage.note(trial_id, "would_have_ended", {"epoch": curve[-1].epoch, "reason": reason})
            return CONTINUE
        return Decision(Action.PRUNE, reason)

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
        """Stores the trial's end; what is told of trials goes by the order in which they ended."""
        curve = self._curves[assignment.trial_id]
        if curve:
            self.storage.record_curve(assignment.trial_id, curve)
        with self._claim:
            ended = (record.finish_order[0] for record in self.records() if record.state.ended)
            self.storage.finish(
                assignment.trial_id,
                state,
                values,
                {**attributes, "finish_order": max(ended, default=-1) + 1},
                shortfall=None if values is None else self.plan.gate.shortfall(values.score),
            )
        self._let_go(assignment)
        reason = str(attributes.get("reason", ""))
        self._failures_in_a_row = self._failures_in_a_row + 1 if state is State.FAIL else 0
        self._last_failure = reason
        return _numbered(self.records(), assignment.number)

    def pause(self, assignment: Assignment) -> None:
        """The run ends before the trial does: the next one goes on with it."""
        self.storage.note(assignment.trial_id, "cut_off", [-1, 0])
        self.storage.pause(assignment.trial_id)
        self._let_go(assignment)

    def drop(self, assignment: Assignment, why: str) -> None:
        """Another program changed the trial while it ran: it is in no record any more, and another one takes its place.

        It counts among the failures in a row: a program that ends each trial would keep the search running without end.
        """
        self._let_go(assignment)
        self.storage.discard(assignment.trial_id, why)
        self._failures_in_a_row += 1
        self._last_failure = why

    def _let_go(self, assignment: Assignment) -> None:
        self._curves.pop(assignment.trial_id, None)
        self._would_have_ended.discard(assignment.trial_id)
        self._held.discard(assignment.number)

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
        self._sampler = SAMPLERS[plan.sampler.type](plan)
        self._random = RandomSampler(plan)
        self.warning = self._sampler.inactive_because()

    def propose(
        self,
        number: int,
        history: Sequence[Told],
        seen: Collection[tuple[tuple[str, Scalar], ...]],
        running: Sequence[Params] = (),
    ) -> Proposal | None:
        """Of the sampler, or at random when it keeps proposing what can't be taken; None when the space is used up."""
        for attempt in range(SAMPLER_ATTEMPTS + RANDOM_ATTEMPTS):
            question = Question(number, history, running, attempt)
            proposal = (self._sampler if attempt < SAMPLER_ATTEMPTS else self._random).propose(question)
            if key_of(proposal.params) not in seen and self._plan.allows(proposal.params):
                return proposal
        return None

    def first(self, count: int) -> list[Proposal]:
        """What the first trials of the study will be: before the sampler models anything, they depend on the seed alone."""
        found = [Proposal(dict(start.params)) for start in self._plan.starts[:count]]
        for number in range(len(found), min(count, self._sampler.n_blind)):
            proposal = self.propose(number, [], {key_of(each.params) for each in found})
            if proposal is None:
                break
            found.append(proposal)
        return found


class NoTrial(Enum):
    """Why there is no next trial."""

    ENOUGH = "the study has all its trials"
    OTHERS_RUN_THE_REST = "the last ones are running elsewhere"
    SPACE_USED_UP = "every configuration of the space that keeps the limits was tried"


def _numbered(records: Sequence[TrialRecord], number: int) -> TrialRecord:
    """Raises TrialChangedError: another program changed it, so that it is in no record any more."""
    found = next((record for record in reversed(records) if record.number == number), None)
    if found is None:
        raise TrialChangedError(f"another program changed trial {number}")
    return found


def _to_retry(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    """The failed trials that are still owed another try."""
    retried = {record.retry_of for record in records}
    return [record for record in records if record.owed_another_try and record.number not in retried]
