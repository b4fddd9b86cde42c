"""The study, which starts trials, stores their reports and results, and returns the front.

All state is derived from stored trials.
"""

import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.progress import Decision, ProgressReport
from cnn_lstm_hyperopt.search.assignment import Assignment, NoTrial
from cnn_lstm_hyperopt.search.databases.base import persistently
from cnn_lstm_hyperopt.search.distributions import distributions_of, with_fixed
from cnn_lstm_hyperopt.search.initial_trials.kinds import InitialTrial
from cnn_lstm_hyperopt.search.limits import Cost
from cnn_lstm_hyperopt.search.memory_levels import levels_of
from cnn_lstm_hyperopt.search.orphans import fail_lost
from cnn_lstm_hyperopt.search.pareto_front import reported_front
from cnn_lstm_hyperopt.search.proposer import Proposals, TimedProposal
from cnn_lstm_hyperopt.search.pruning_audit import WOULD_HAVE_ENDED
from cnn_lstm_hyperopt.search.retry import MAX_FAILURES_IN_A_ROW, Failures, inherited, to_retry
from cnn_lstm_hyperopt.search.running_trials import RunningTrials, Timings, numbered
from cnn_lstm_hyperopt.search.samplers import Proposal
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import CONSTRAINTS, LACKED_MEMORY, State, TrialRecord, Values, key_of
from cnn_lstm_hyperopt.space.domains import Scalar

log = logging.getLogger(__name__)

RESTARTS = 10
"""Maximum number of restarts of an interrupted trial at the same epoch, since the trial itself may kill its process each time."""
LOST_RACES = 5
"""Maximum number of proposals for a trial that are outdated because other workers started almost the same trials meanwhile."""


class Study:
    """A search. A new Study with the same storage continues the search as if it had never stopped.

    Args:
        storage: storage of the study.
        plan: definition of the search.
        claim: lock held while a trial is chosen and inserted. The lock prevents workers from running the same trial or too many
            trials. None: the lock of the storage, which only a study on a server has.
        worker: identifier of this worker, stored with its trials; None if this is the only process of this machine.
    """

    def __init__(
        self,
        storage: StudyStorage,
        plan: StudyPlan,
        *,
        claim: AbstractContextManager[object] | None = None,
        worker: int | str | None = None,
    ) -> None:
        self.storage = storage
        self.plan = plan
        self._claim = claim
        self._worker = storage.worker_id(worker)
        self._proposals = Proposals(plan, self._worker)
        self.timings = Timings()
        self._running = RunningTrials(storage, plan, self.timings)
        self._failures = Failures()

    def records(self) -> list[TrialRecord]:
        """Return this program's trials in order of number."""
        return self.storage.records()

    def n_finished(self) -> int:
        """Return the number of COMPLETE and PRUNED trials."""
        return sum(record.finished for record in self.storage.records(reread_running=False))

    def front(self) -> list[TrialRecord]:
        """Return the front for users, the best trial first; see :func:`reported_front`."""
        return reported_front(self.records(), self.plan.skill)

    def warnings(self) -> list[str]:
        """Return the reasons why the sampler never uses its model in this study, or why the pruner can never end a trial."""
        return [warning for warning in (self._proposals.warning, self._running.pruner_warning()) if warning is not None]

    def needed_states(self) -> set[int]:
        """Return the numbers of the checkpoints (``seeded_as``) from which unfinished trials or retries may continue."""
        records = self.records()
        needed = {record.seeded_as for record in records if not record.state.ended}
        needed |= {record.seeded_as for record in to_retry(records) if record.attributes.get("cut_off_by") is not None}
        return needed

    def next_assignment(self) -> Assignment | NoTrial:
        """Start the next trial: an interrupted trial, else a retry, else a new trial; if there is none, return the reason.

        Raises:
            StudyFailedError: another program changed ten trials in a row while they started.
        """
        return persistently(self._claim_assignment)

    def _claimed(self) -> AbstractContextManager[object]:
        return self._claim if self._claim is not None else self.storage.exclusive()

    def _claim_assignment(self) -> Assignment | NoTrial:
        """Propose without the lock, then check and insert the trial with it; after :data:`LOST_RACES`, propose with the lock."""
        for race in range(LOST_RACES + 1):
            ahead = self._propose_ahead() if race < LOST_RACES else None
            with self._claimed():
                if lost := fail_lost(self.storage):
                    log.info("the workers of these trials were lost, so others continue them: %s", lost)
                while True:
                    try:
                        found = self._next_assignment(ahead)
                        break
                    except TrialChangedError as error:  # records do not include this trial; another is started
                        log.info("a trial is not started: %s", error)
                        self._failures.add(str(error))
                        self.check_failures()
            if found is not None:
                return found
        raise RuntimeError("with the lock, a trial or a reason is found")

    def _propose_ahead(self) -> TimedProposal | None:
        """Return a proposal for the next trial if other workers must not wait for its computation."""
        if not self.storage.shared and (self._claim is None or self.storage.path is None):
            return None  # no other process has this study
        records = self.storage.records(reread_running=False)
        waiting = [record for record in records if self._is_waiting(record)]
        if waiting or _nothing_to_start(self.plan, records, waiting) or _known(self.plan, records):
            return None
        return self._proposals.ahead(self.storage.n_started(), records)

    def _next_assignment(self, ahead: TimedProposal | None) -> Assignment | NoTrial | None:
        """Start the next trial; return None if the proposal ``ahead`` is outdated."""
        records = self.storage.records(reread_running=False)
        waiting = [record for record in records if self._is_waiting(record)]
        if (reason := _nothing_to_start(self.plan, records, waiting)) is not None:
            return reason
        for record in waiting:
            with contextlib.suppress(TrialChangedError):  # another program has just ended it
                return self._resume(record)
        place = self.storage.n_started()
        if (known := _known(self.plan, records)) is not None:
            proposal, attributes = known
        else:
            if ahead is not None and not self._proposals.is_current(ahead, records):
                return None
            made = self._proposals.propose(place, records) if ahead is None else ahead
            if made is None:
                return NoTrial.SPACE_USED_UP
            self.timings.propose_ms[place] = made.milliseconds
            proposal, attributes = made.proposal, made.attributes
        return self._start(proposal, {**attributes, **self._running.initial_attributes(place, records)}, place)

    def _is_waiting(self, record: TrialRecord) -> bool:
        """Return whether a trial is unfinished and no process runs it.

        Such a trial may be RUNNING instead of WAITING, since ``study.ask()`` of another program sets WAITING trials to RUNNING. A
        worker's trials have the attribute ``worker`` from their start until they are paused.
        """
        if record.state is not State.RUNNING:
            return record.state is State.WAITING
        if record.number in self._running:
            return False
        return self._worker is None or record.attributes.get("worker") in (None, self._worker)

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
        if number != place and "seeded_as" not in attributes:  # seeds as without trials of other programs
            attributes["seeded_as"] = place
            self.storage.note(trial_id, "seeded_as", place)
        return self._assignment(trial_id, number, params, cost, attributes)

    def _resume(self, record: TrialRecord) -> Assignment:
        """Resume an interrupted trial. The trial keeps its number, so that its random numbers and its result do not change."""
        trial_id = self.storage.claim(record.number, worker=self._worker)
        params = with_fixed(self.plan.space, record.params)
        assignment = self._assignment(trial_id, record.number, params, self.plan.cost(params), record.attributes)
        return replace(assignment, cut_off=tuple(record.attributes.get("cut_off", (-1, 0))))

    def _assignment(
        self, trial_id: int, number: int, params: dict[str, Scalar], cost: Cost, attributes: Mapping[str, Any]
    ) -> Assignment:
        """Register a running trial and return its assignment, which depends on the trial's stored attributes."""
        self._running.begin(trial_id, number, would_have_ended=WOULD_HAVE_ENDED in attributes)
        return Assignment(
            trial_id,
            number,
            params,
            cost,
            retry_of=attributes.get("retry_of"),
            seeded_as=attributes.get("seeded_as", number),
            memory_level=attributes.get("saving", 0),
        )

    def restart(self, assignment: Assignment) -> None:
        """Discard the curve of a trial that starts again and repeats its reports."""
        self._running.restart(assignment)

    def note_restart(self, assignment: Assignment, why: str) -> None:
        """Record that a trial starts again because its checkpoint can't be used."""
        self.storage.note(assignment.trial_id, "trained_anew", why)

    def reason_to_give_up(self, assignment: Assignment, epoch: int) -> str | None:
        """Count a start of a trial at ``epoch``; return the reason to give up the trial, or None if the trial continues."""
        if assignment.memory_level >= len(levels_of(assignment.params)):
            return LACKED_MEMORY
        if assignment.cut_off is None:
            return None
        before, starts = assignment.cut_off
        starts = starts + 1 if epoch == before else 1
        self.storage.note(assignment.trial_id, "cut_off", [epoch, starts])
        where = f"after epoch {epoch}" if epoch else "before its first epoch was over"
        return f"its process ended more than {RESTARTS} times {where}" if starts > RESTARTS else None

    def note_memory_level(self, assignment: Assignment, memory_level: int) -> None:
        """Store the memory level at which a trial continues, also after an interruption: an index in :func:`.memory_levels`."""
        self.storage.note(assignment.trial_id, "saving", memory_level)

    def report(self, assignment: Assignment, report: ProgressReport) -> Decision:
        """Store the report of an epoch and decide whether the trial continues."""
        return self._running.report(assignment, report)

    def finish(
        self, assignment: Assignment, state: State, values: Values | None, attributes: dict[str, Any]
    ) -> TrialRecord:
        """Store the result of a trial, and the trial's position in the order in which trials end (the order of observations)."""
        curve = [list(point) for point in self._running.curve(assignment)]
        attributes = {**({"curve": curve} if curve else {}), **attributes}

        def store() -> None:
            with self._claimed():
                self.storage.finish(
                    assignment.trial_id,
                    state,
                    values,
                    {**attributes, "finish_order": self.storage.n_ended()},
                    excesses=_excesses(self.plan, values, attributes),
                )

        persistently(store)
        self._running.end(assignment)
        if state is State.FAIL:
            self._failures.add(str(attributes.get("reason", "")))
        else:
            self._failures.reset()
        return numbered(self.storage.records(reread_running=False), assignment.number)

    def pause(self, assignment: Assignment) -> None:
        """Set a trial to WAITING, so that the next run resumes it."""
        self.storage.note(assignment.trial_id, "cut_off", [-1, 0])
        self.storage.pause(assignment.trial_id)
        self._running.end(assignment)

    def requeue(self, assignment: Assignment) -> None:
        """Set a trial whose process is lost to WAITING; the trial keeps the count of its starts, since it may be the cause."""
        self.storage.pause(assignment.trial_id)
        self._running.end(assignment)

    def drop(self, assignment: Assignment, why: str) -> None:
        """Discard a trial that another program changed while the trial ran; a new trial replaces the discarded trial.

        The discarded trial counts as a failure. Otherwise the search would never end if a program changed every trial.
        """
        self._running.end(assignment)
        self.storage.discard(assignment.trial_id, why)
        self._failures.add(why)

    def check_failures(self) -> None:
        """Raise StudyFailedError if ten trials of this process failed in a row."""
        self._failures.check()


def _excesses(plan: StudyPlan, values: Values | None, attributes: Mapping[str, Any]) -> list[float]:
    """Return skill threshold minus score, then value minus bound of each constraint; empty without a score."""
    if values is None:
        return []
    measured = attributes.get(CONSTRAINTS, {}).values()
    return [plan.skill.shortfall(values.score), *(each["value"] - each["bound"] for each in measured)]


def _nothing_to_start(
    plan: StudyPlan, records: Sequence[TrialRecord], waiting: Collection[TrialRecord]
) -> NoTrial | None:
    """Return the reason why no trial may start now, neither one of the waiting trials nor another."""
    finished = sum(record.finished for record in records)
    if finished >= plan.n_trials:
        return NoTrial.ENOUGH
    running = sum(not record.state.ended for record in records) - len(waiting)
    return NoTrial.OTHERS_RUN_THE_REST if finished + running >= plan.n_trials else None


def _known(plan: StudyPlan, records: Sequence[TrialRecord]) -> tuple[Proposal, dict[str, Any]] | None:
    """Return the configuration of a retry or of an initial trial, with attributes of the trial; None if there is none."""
    retry = next((record for record in to_retry(records) if plan.allows(record.params)), None)
    if retry is not None:
        return Proposal(dict(retry.params)), inherited(retry)
    start = _next_start(plan, records)
    return None if start is None else (Proposal(dict(start.params)), {"origin": start.origin})


def _next_start(plan: StudyPlan, records: Sequence[TrialRecord]) -> InitialTrial | None:
    """Return the first initial trial of the plan that is within the limits and not yet tried; None without such a trial."""
    if len(records) > 2 * len(plan.starts) + MAX_FAILURES_IN_A_ROW:
        return None  # all initial trials are done
    seen = {key_of(record.params) for record in records}
    left = (start for start in plan.starts if key_of(start.params) not in seen)
    return next((start for start in left if plan.allows(start.params)), None)
