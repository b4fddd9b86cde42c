"""The process that has the study of a run whose workers may be on other machines.

Only this process reads and writes ``study.db``. It answers one call after another, so no lock is needed.
"""

import contextlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import HyperoptError, RunError, TrialChangedError
from cnn_lstm_hyperopt.execution.remote.workload import Workload
from cnn_lstm_hyperopt.execution.trial_loop import checkpoint_path
from cnn_lstm_hyperopt.execution.validation_files import validation_path
from cnn_lstm_hyperopt.progress import Decision, ProgressReport
from cnn_lstm_hyperopt.run_dir.activity import Activity
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, STUDY_FILE, VALIDATION
from cnn_lstm_hyperopt.run_dir.run_log import run_log
from cnn_lstm_hyperopt.run_dir.storage_errors import storage_faults
from cnn_lstm_hyperopt.search import Assignment, NoTrial, State, Study, StudyStorage, TrialRecord, Values
from cnn_lstm_hyperopt.training import delete_checkpoint
from cnn_lstm_hyperopt.utils.atomic_io import written_beside

log = logging.getLogger(__name__)

STOPPED_SECONDS = 2.0
"""Longest normal time between two calls of :meth:`Decider.look`; a longer time means that all processes were stopped."""
REPLACED = "worker-replaced"
"""Code of the error that a worker gets after the run has given up the worker."""


@dataclass(frozen=True)
class Reply:
    """Answer to a worker's call.

    Attributes:
        value: result of the call.
        error: error that the call raised; None if it succeeded.
        stop: reason why the run ends; None if the run continues.
    """

    value: Any = None
    error: HyperoptError | None = None
    stop: str | None = None


@dataclass(frozen=True)
class Look:
    """State of the workers, for the main process. Each worker's process has an id of its own.

    Attributes:
        activities: trial and epoch of each worker.
        began: ids of the processes that have called so far.
        silent: ids of the processes that made no progress for too long.
        holding: number of trials that run now.
    """

    activities: tuple[Activity, ...]
    began: frozenset[int]
    silent: frozenset[int]
    holding: int


@dataclass
class _Member:
    """A worker's process, by what it sent last."""

    number: int
    progress: float = -1.0
    progress_at: float = 0.0
    activity: Activity | None = None
    assignment: Assignment | None = None


class Decider:
    """Owner of a study that assigns trials to workers and decides about their reports.

    Args:
        save_dir: directory of the run.
        workload: plan of the study.
        silence_seconds: a worker without progress for this time counts as silent.
    """

    def __init__(self, save_dir: Path, workload: Workload, silence_seconds: float) -> None:
        self._save_dir, self._silence_seconds = save_dir, silence_seconds
        self._open = contextlib.ExitStack()
        self._open.enter_context(run_log(save_dir))
        self._storage = StudyStorage(save_dir / STUDY_FILE)
        self._open.callback(self._storage.close)
        self._study = Study(self._storage, workload.plan())
        self._members: dict[int, _Member] = {}
        self._stop: str | None = None
        self._looked = time.monotonic()

    def close(self) -> None:
        """Close the study and the log."""
        self._open.close()

    # ------------------------------------------------------------------ calls of the main process

    def look(self, stop: str | None) -> Look:
        """Return the state of the workers; tell them with their next call to end if ``stop`` is a reason."""
        self._stop = stop
        before, self._looked = self._looked, time.monotonic()
        if self._looked - before > STOPPED_SECONDS:
            for member in self._members.values():
                member.progress_at = self._looked
        return Look(
            activities=tuple(
                member.activity
                for member in sorted(self._members.values(), key=lambda each: each.number)
                if member.activity is not None and member.assignment is not None
            ),
            began=frozenset(self._members),
            silent=frozenset(
                process
                for process, member in self._members.items()
                if self._looked - member.progress_at > self._silence_seconds
            ),
            holding=sum(member.assignment is not None for member in self._members.values()),
        )

    def remove(self, process: int, reason: str, cut_off_by: str | None) -> Reply:
        """Give up a worker's process, whose calls are refused from now on. Return the number of its trial, if there is one.

        Args:
            process: id of the process.
            reason: reason to store with a failed trial.
            cut_off_by: DIED or KILLED to fail the trial, which is then retried; None to resume the trial in another worker.
        """
        member = self._members.pop(process, None)
        assignment = None if member is None else member.assignment
        if assignment is None:
            return Reply()
        try:
            with storage_faults(self._save_dir):
                if cut_off_by is None:
                    self._study.requeue(assignment)
                else:
                    self._study.finish(assignment, State.FAIL, None, {"reason": reason, "cut_off_by": cut_off_by})
        except TrialChangedError as error:
            self._study.drop(assignment, str(error))
        except HyperoptError as error:
            return Reply(error=error)
        return Reply(assignment.number)

    # ------------------------------------------------------------------ calls of the workers

    def beat(self, process: int, progress: float, trial: int, epoch: float, memory_mb: float) -> None:
        """Record a heartbeat of a worker, with its progress, trial, epoch and memory in MB."""
        member = self._members.get(process)
        if member is None:
            return
        if trial >= 0:
            member.activity = Activity(member.number, trial, epoch, memory_mb)
        if progress != member.progress:
            member.progress, member.progress_at = progress, time.monotonic()

    def write_log(self, number: int, level: int, text: str) -> None:
        """Write a line of a worker to ``run.log``."""
        log.log(level, "worker %d: %s", number, text)

    def join(self, process: int, number: int) -> None:
        """Register a process of the worker ``number``."""
        self._members[process] = _Member(number, progress_at=time.monotonic())

    def call(self, process: int, method: str, *arguments: Any) -> Reply:
        """Call a method for a worker; the methods and their arguments are those of :class:`.StudyClient`."""
        member = self._members.get(process)
        if member is None:
            return Reply(error=RunError("the run has replaced this worker", code=REPLACED))
        member.progress_at = time.monotonic()
        try:
            with storage_faults(self._save_dir):
                value = getattr(self, f"_{method}")(member, *arguments)
        except HyperoptError as error:
            return Reply(error=error, stop=self._stop)
        return Reply(value, stop=self._stop)

    def _next_assignment(self, member: _Member) -> tuple[Assignment | NoTrial, bytes | None]:
        """Return a trial, and its checkpoint if an earlier process has sent one."""
        found = self._study.next_assignment()
        if not isinstance(found, Assignment):
            return found, None
        member.assignment = found
        self._storage.note(found.trial_id, "worker", member.number)
        path = self._checkpoint(found)
        return found, path.read_bytes() if path.exists() else None

    def _n_finished(self, member: _Member) -> int:
        return self._study.n_finished()

    def _reason_to_give_up(self, member: _Member, assignment: Assignment, epoch: int) -> str | None:
        return self._study.reason_to_give_up(assignment, epoch)

    def _restart(self, member: _Member, assignment: Assignment) -> None:
        self._study.restart(assignment)

    def _note_restart(self, member: _Member, assignment: Assignment, why: str) -> None:
        self._study.note_restart(assignment, why)

    def _note_memory_level(self, member: _Member, assignment: Assignment, memory_level: int) -> None:
        self._study.note_memory_level(assignment, memory_level)

    def _report(
        self, member: _Member, assignment: Assignment, report: ProgressReport, checkpoint: bytes | None
    ) -> Decision:
        self._save_checkpoint(assignment, checkpoint)
        return self._study.report(assignment, report)

    def _finish(
        self,
        member: _Member,
        assignment: Assignment,
        state: State,
        values: Values | None,
        attributes: dict[str, Any],
        predictions: bytes | None,
    ) -> TrialRecord:
        """Store the validation predictions of a trial, then the trial, so that each finished trial has predictions."""
        if predictions is not None:
            path = validation_path(self._save_dir / VALIDATION, assignment.number)
            path.parent.mkdir(exist_ok=True)
            with written_beside(path) as beside:
                beside.write_bytes(predictions)
        record = self._study.finish(assignment, state, values, attributes)
        member.assignment = None
        delete_checkpoint(self._checkpoint(assignment))
        return record

    def _pause(self, member: _Member, assignment: Assignment, checkpoint: bytes | None) -> None:
        self._save_checkpoint(assignment, checkpoint)
        self._study.pause(assignment)
        member.assignment = None

    def _drop(self, member: _Member, assignment: Assignment, why: str) -> None:
        member.assignment = None
        self._study.drop(assignment, why)
        delete_checkpoint(self._checkpoint(assignment))

    def _check_failures(self, member: _Member) -> None:
        self._study.check_failures()

    def _checkpoint(self, assignment: Assignment) -> Path:
        return checkpoint_path(self._save_dir / CHECKPOINTS, assignment.seeded_as)

    def _save_checkpoint(self, assignment: Assignment, content: bytes | None) -> None:
        if content is None:
            return
        path = self._checkpoint(assignment)
        path.parent.mkdir(exist_ok=True)
        with written_beside(path) as beside:
            beside.write_bytes(content)
