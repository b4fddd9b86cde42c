"""The study: which trial comes next, what becomes of it, and what the front is. All of it derived from stored trials."""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from cnn_lstm_hyperopt.errors import TrialChangedError
from cnn_lstm_hyperopt.progress import Decision, ProgressReport
from cnn_lstm_hyperopt.search.assignment import Assignment, NoTrial
from cnn_lstm_hyperopt.search.distributions import distributions_of, with_fixed
from cnn_lstm_hyperopt.search.initial_trials.kinds import Start
from cnn_lstm_hyperopt.search.limits import Cost
from cnn_lstm_hyperopt.search.memory_levels import levels_of
from cnn_lstm_hyperopt.search.observations import ObservationCache, observations
from cnn_lstm_hyperopt.search.pareto_front import reported_front
from cnn_lstm_hyperopt.search.proposer import Proposer
from cnn_lstm_hyperopt.search.retry import MAX_FAILURES_IN_A_ROW, Failures, inherited, to_retry
from cnn_lstm_hyperopt.search.running_trials import RunningTrials, Timings, numbered
from cnn_lstm_hyperopt.search.samplers import Proposal
from cnn_lstm_hyperopt.search.storage import StudyStorage
from cnn_lstm_hyperopt.search.study_plan import StudyPlan
from cnn_lstm_hyperopt.search.trial import LACKED_MEMORY, State, TrialRecord, Values, key_of
from cnn_lstm_hyperopt.space.domains import Scalar

log = logging.getLogger(__name__)

RESTARTS = 10
"""How often a trial that was cut off starts again without getting further: it may be what ends the process each time."""


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
        self._memory = ObservationCache()
        self._keys: dict[int, tuple[tuple[str, Scalar], ...]] = {}
        self.timings = Timings()
        self._running = RunningTrials(storage, plan, self.timings)
        self._failures = Failures()

    # ------------------------------------------------------------------ what is there

    def records(self) -> list[TrialRecord]:
        """All trials in order of number."""
        return self.storage.records()

    def n_finished(self) -> int:
        """COMPLETE and PRUNED trials: what ``n_trials`` counts."""
        return sum(record.finished for record in self.records())

    def front(self) -> list[TrialRecord]:
        """The front that users get, ranked; see :func:`reported_front`."""
        return reported_front(self.records(), self.plan.skill)

    def sampler_warning(self) -> str | None:
        """Why the sampler can't learn anything in this study, or None."""
        return self._proposer.warning

    def pruner_warning(self) -> str | None:
        """Why pruning can't act in this study, or None."""
        return self._running.pruner_warning()

    def needed_states(self) -> set[int]:
        """Numbers by which those trials were seeded whose states a trial to come, or one that runs, may go on from."""
        records = self.records()
        needed = {record.seeded_as for record in records if not record.state.ended}
        needed |= {record.seeded_as for record in to_retry(records) if record.attributes.get("cut_off_by") is not None}
        return needed

    # ------------------------------------------------------------------ the next trial

    def next_assignment(self) -> Assignment | NoTrial:
        """Starts the next trial: one that was cut off, or failed and was not yet tried again, else a new proposal.

        Or says why there is none.

        Raises:
            StudyFailedError: another program changed trial after trial while it was begun.
        """
        with self._claim:
            while True:
                try:
                    return self._next_assignment()
                except TrialChangedError as error:  # it is in no record any more: the next look begins another
                    log.info("a trial is not begun: %s", error)
                    self._failures.add(str(error))
                    self.check_failures()

    def _next_assignment(self) -> Assignment | NoTrial:
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
        retry = next((record for record in to_retry(records) if self.plan.allows(record.params)), None)
        attributes: dict[str, Any] = {}
        if retry is not None:
            proposal, attributes = Proposal(dict(retry.params)), inherited(retry)
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
        if record.number in self._running:
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
        history = observations(records, self.plan.skill, self.plan.max_epochs, self._memory)
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
        return replace(assignment, cut_off=tuple(record.attributes.get("cut_off", (-1, 0))))

    def _assignment(
        self, trial_id: int, number: int, params: dict[str, Scalar], cost: Cost, attributes: Mapping[str, Any]
    ) -> Assignment:
        """Of a trial that runs now, by what is stored with it."""
        self._running.begin(trial_id, number, would_have_ended="would_have_ended" in attributes)
        return Assignment(
            trial_id,
            number,
            params,
            cost,
            retry_of=attributes.get("retry_of"),
            seeded_as=attributes.get("seeded_as", number),
            memory_level=attributes.get("saving", 0),
        )

    def begin_again(self, assignment: Assignment) -> None:
        """What it has told so far it will tell again."""
        self._running.begin_again(assignment)

    def note_trained_anew(self, assignment: Assignment, why: str) -> None:
        """The trial can't go on from its state, so it begins again."""
        self.storage.note(assignment.trial_id, "trained_anew", why)

    def why_not_again(self, assignment: Assignment, epoch: int) -> str | None:
        """Counts that a trial is trained on from ``epoch``; why it is not to be, after too many starts there, else None."""
        if assignment.memory_level >= len(levels_of(assignment.params)):
            return LACKED_MEMORY
        if assignment.cut_off is None:
            return None
        before, starts = assignment.cut_off
        starts = starts + 1 if epoch == before else 1
        self.storage.note(assignment.trial_id, "cut_off", [epoch, starts])
        where = f"after epoch {epoch}" if epoch else "before its first epoch was over"
        return f"its process ended again and again {where}" if starts > RESTARTS else None

    def note_memory_level(self, assignment: Assignment, memory_level: int) -> None:
        """The trial is trained on like that, also when it is cut off: place in its :func:`.memory_levels`."""
        self.storage.note(assignment.trial_id, "saving", memory_level)

    # ------------------------------------------------------------------ while it runs

    def report(self, assignment: Assignment, report: ProgressReport) -> Decision:
        """Stores an epoch's record and decides how the trial goes on."""
        return self._running.report(assignment, report)

    def finish(
        self, assignment: Assignment, state: State, values: Values | None, attributes: dict[str, Any]
    ) -> TrialRecord:
        """Stores the trial's end; what is told of trials goes by the order in which they ended."""
        self._running.store_curve(assignment)
        with self._claim:
            ended = (record.finish_order[0] for record in self.records() if record.state.ended)
            self.storage.finish(
                assignment.trial_id,
                state,
                values,
                {**attributes, "finish_order": max(ended, default=-1) + 1},
                shortfall=None if values is None else self.plan.skill.shortfall(values.score),
            )
        self._running.end(assignment)
        if state is State.FAIL:
            self._failures.add(str(attributes.get("reason", "")))
        else:
            self._failures.reset()
        return numbered(self.records(), assignment.number)

    def pause(self, assignment: Assignment) -> None:
        """The run ends before the trial does: the next one goes on with it."""
        self.storage.note(assignment.trial_id, "cut_off", [-1, 0])
        self.storage.pause(assignment.trial_id)
        self._running.end(assignment)

    def drop(self, assignment: Assignment, why: str) -> None:
        """Another program changed the trial while it ran: it is in no record any more, and another one takes its place.

        It counts among the failures in a row: a program that ends each trial would keep the search running without end.
        """
        self._running.end(assignment)
        self.storage.discard(assignment.trial_id, why)
        self._failures.add(why)

    def check_failures(self) -> None:
        """Raises StudyFailedError when ten trials of this process failed in a row: going on would only repeat it."""
        self._failures.check()
