"""The study, which starts trials, stores their reports and results, and returns the front.

All state is derived from stored trials.
"""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.progress import Decision, ProgressReport
from cnn_lstm_hyperopt.search.assignment import Assignment, NoTrial
from cnn_lstm_hyperopt.search.databases import persistently
from cnn_lstm_hyperopt.search.distributions import distributions_of, with_fixed
from cnn_lstm_hyperopt.search.initial_trials.kinds import InitialTrial
from cnn_lstm_hyperopt.search.limits import Cost
from cnn_lstm_hyperopt.search.memory_levels import levels_of
from cnn_lstm_hyperopt.search.observations import ObservationCache, observations
from cnn_lstm_hyperopt.search.orphans import fail_lost
from cnn_lstm_hyperopt.search.pareto_front import confirmation_candidates, reported_front
from cnn_lstm_hyperopt.search.proposer import Proposer, TriedConfigurations
from cnn_lstm_hyperopt.search.pruning_audit import WOULD_HAVE_ENDED
from cnn_lstm_hyperopt.search.retry import MAX_FAILURES_IN_A_ROW, Failures, inherited, to_retry
from cnn_lstm_hyperopt.search.running_trials import RunningTrials, Timings, numbered
from cnn_lstm_hyperopt.search.samplers import Proposal
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import LACKED_MEMORY, State, TrialRecord, Values, key_of
from cnn_lstm_hyperopt.space.domains import Scalar

log = logging.getLogger(__name__)

RESTARTS = 10
"""Maximum number of restarts of an interrupted trial at the same epoch, since the trial itself may kill its process each time."""


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
        self._proposer = Proposer(plan)
        self._memory = ObservationCache()
        self._tried = TriedConfigurations()
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

    def candidates(self, top_k: int) -> list[TrialRecord]:
        """Return the trials to confirm for ``top_k`` models; see :func:`confirmation_candidates`."""
        return confirmation_candidates(self.records(), self.plan.skill, top_k)

    def sampler_warning(self) -> str | None:
        """Return the reason why the sampler never uses its model in this study; None if the sampler does."""
        return self._proposer.warning

    def pruner_warning(self) -> str | None:
        """Return the reason why the pruner can never end a trial in this study; None if the pruner can."""
        return self._running.pruner_warning()

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
        with self._claimed():
            if lost := fail_lost(self.storage):
                log.info("the workers of these trials were lost, so others continue them: %s", lost)
            while True:
                try:
                    return self._next_assignment()
                except TrialChangedError as error:  # records do not include this trial; another is started
                    log.info("a trial is not started: %s", error)
                    self._failures.add(str(error))
                    self.check_failures()

    def _next_assignment(self) -> Assignment | NoTrial:
        records = self.storage.records(reread_running=False)
        finished = sum(record.finished for record in records)
        if finished >= self.plan.n_trials:
            return NoTrial.ENOUGH
        unfinished = [record for record in records if not record.state.ended]
        waiting = [record for record in unfinished if self._is_waiting(record)]
        if finished + len(unfinished) - len(waiting) >= self.plan.n_trials:
            return NoTrial.OTHERS_RUN_THE_REST
        for record in waiting:
            with contextlib.suppress(TrialChangedError):  # another program has just ended it
                return self._resume(record)
        place = self.storage.n_started()
        retry = next((record for record in to_retry(records) if self.plan.allows(record.params)), None)
        attributes: dict[str, Any] = {}
        if retry is not None:
            proposal, attributes = Proposal(dict(retry.params)), inherited(retry)
        elif (start := _next_start(self.plan, records)) is not None:
            proposal, attributes = Proposal(dict(start.params)), {"origin": start.origin}
        else:
            begun = time.perf_counter()
            found = self._propose(place, records)
            self.timings.propose_ms[place] = 1000 * (time.perf_counter() - begun)
            if found is None:
                return NoTrial.SPACE_USED_UP
            proposal = found
            stored = {"note": found.note, "expected_score": found.expected_score}
            attributes = {key: value for key, value in stored.items() if value is not None}
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

    def _propose(self, place: int, records: Sequence[TrialRecord]) -> Proposal | None:
        """Propose a configuration; ``place`` is the number that the trial would have without trials of other programs."""
        history = observations(records, self.plan.skill, self.plan.max_epochs, self._memory)
        running = [record.params for record in records if not record.state.ended]
        return self._proposer.propose(place, history, self._tried.keys(records), running)

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
                    shortfall=None if values is None else self.plan.skill.shortfall(values.score),
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


def _next_start(plan: StudyPlan, records: Sequence[TrialRecord]) -> InitialTrial | None:
    """Return the first initial trial of the plan that is within the limits and not yet tried; None without such a trial."""
    if len(records) > 2 * len(plan.starts) + MAX_FAILURES_IN_A_ROW:
        return None  # all initial trials are done
    seen = {key_of(record.params) for record in records}
    left = (start for start in plan.starts if key_of(start.params) not in seen)
    return next((start for start in left if plan.allows(start.params)), None)
