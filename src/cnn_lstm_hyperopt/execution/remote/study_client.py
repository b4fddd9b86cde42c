"""Connection of a worker to the study that another process has."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.execution.remote.decider import Reply
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_loop import checkpoint_path
from cnn_lstm_hyperopt.execution.validation_files import validation_path
from cnn_lstm_hyperopt.progress import Decision, ProgressReport
from cnn_lstm_hyperopt.run_dir.paths import CHECKPOINTS, VALIDATION
from cnn_lstm_hyperopt.search import Assignment, NoTrial, State, StudyPlan, TrialRecord, Values

SEND_SECONDS = 10.0
"""Seconds between two copies of a running trial's checkpoint. A trial whose machine is lost repeats at most this time."""


class StudyClient:
    """Source of trials for :func:`.run_trials` whose study is in another process.

    Checkpoints and validation predictions are files of this worker's ``folder``; copies of them are sent with the calls.

    Args:
        plan: plan of the study.
        ask: function that calls a method of the decider and returns the reply.
        stop: signal that ends this worker when the run ends.
        folder: folder of this worker.
    """

    def __init__(self, plan: StudyPlan, ask: Callable[..., Reply], stop: StopSignal, folder: Path) -> None:
        self.plan = plan
        self._ask, self._stop, self._folder = ask, stop, folder
        self._sent = 0.0

    def _call(self, method: str, *arguments: Any) -> Any:
        reply = self._ask(method, *arguments)
        if reply.stop is not None and self._stop.reason is None:
            self._stop.end(reply.stop)
        if reply.error is not None:
            raise reply.error
        return reply.value

    def next_assignment(self) -> Assignment | NoTrial:
        """Return a trial, whose checkpoint is then in this worker's folder; if there is none, return the reason."""
        assignment: Assignment | NoTrial
        assignment, checkpoint = self._call("next_assignment")
        if isinstance(assignment, Assignment) and checkpoint is not None:
            path = self._checkpoint(assignment)
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(checkpoint)
        self._sent = time.monotonic()
        return assignment

    def n_finished(self) -> int:
        """Return the number of COMPLETE and PRUNED trials."""
        return int(self._call("n_finished"))

    def reason_to_give_up(self, assignment: Assignment, epoch: int) -> str | None:
        """Count a start of a trial at ``epoch``; return the reason to give up the trial, or None if the trial continues."""
        reason: str | None = self._call("reason_to_give_up", assignment, epoch)
        return reason

    def restart(self, assignment: Assignment) -> None:
        """Discard the curve of a trial that starts again and repeats its reports."""
        self._call("restart", assignment)

    def note_restart(self, assignment: Assignment, why: str) -> None:
        """Record that a trial starts again because its checkpoint can't be used."""
        self._call("note_restart", assignment, why)

    def note_memory_level(self, assignment: Assignment, memory_level: int) -> None:
        """Store the memory level at which a trial continues."""
        self._call("note_memory_level", assignment, memory_level)

    def report(self, assignment: Assignment, report: ProgressReport) -> Decision:
        """Store the report of an epoch, sometimes with the checkpoint, and return whether the trial continues."""
        checkpoint = None
        if time.monotonic() - self._sent > SEND_SECONDS:
            checkpoint = _content(self._checkpoint(assignment))
            self._sent = time.monotonic()
        decision: Decision = self._call("report", assignment, report, checkpoint)
        return decision

    def finish(
        self, assignment: Assignment, state: State, values: Values | None, attributes: dict[str, Any]
    ) -> TrialRecord:
        """Store the result of a trial together with its validation predictions."""
        path = validation_path(self._folder / VALIDATION, assignment.number)
        predictions = _content(path)
        path.unlink(missing_ok=True)
        record: TrialRecord = self._call("finish", assignment, state, values, attributes, predictions)
        return record

    def pause(self, assignment: Assignment) -> None:
        """Set a trial to WAITING and store its checkpoint, so that any worker can resume it."""
        self._call("pause", assignment, _content(self._checkpoint(assignment)))

    def drop(self, assignment: Assignment, why: str) -> None:
        """Discard a trial that another program changed."""
        self._call("drop", assignment, why)

    def check_failures(self) -> None:
        """Raise StudyFailedError if ten trials of the study failed in a row."""
        self._call("check_failures")

    def _checkpoint(self, assignment: Assignment) -> Path:
        return checkpoint_path(self._folder / CHECKPOINTS, assignment.seeded_as)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
