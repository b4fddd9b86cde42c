"""Loop that runs the trials of a study in this process."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.errors import CheckpointError, StorageFailedError, TrialChangedError
from cnn_lstm_hyperopt.execution.constraint_values import constraint_values
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import (
    LACKED_MEMORY,
    Assignment,
    NoTrial,
    State,
    Study,
    StudyPlan,
    TrialRecord,
    Values,
    levels_of,
)
from cnn_lstm_hyperopt.search.constraints import constraint_attribute
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import Checkpoint, NonFiniteLossError, delete_checkpoint, last_good
from cnn_lstm_hyperopt.training.memory_saving import save_memory
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.text import typed_line

log = logging.getLogger(__name__)

FINISHED, EXHAUSTED = "finished", "search space used up"
WAIT_SECONDS = 0.2


class _GivenUpError(Exception):
    """Error: a trial is not started again; the text contains the reason."""


class TrialSource(Protocol):
    """Protocol of an object that assigns trials and stores them: a study, or the connection to a study of another process.

    :class:`Study` documents the methods.
    """

    @property
    def plan(self) -> StudyPlan:
        """Definition of the search."""

    def n_finished(self) -> int: ...

    def next_assignment(self) -> Assignment | NoTrial: ...

    def reason_to_give_up(self, assignment: Assignment, epoch: int) -> str | None: ...

    def restart(self, assignment: Assignment) -> None: ...

    def note_restart(self, assignment: Assignment, why: str) -> None: ...

    def note_memory_level(self, assignment: Assignment, memory_level: int) -> None: ...

    def report(self, assignment: Assignment, report: ProgressReport) -> Decision: ...

    def finish(
        self, assignment: Assignment, state: State, values: Values | None, attributes: dict[str, Any]
    ) -> TrialRecord: ...

    def pause(self, assignment: Assignment) -> None: ...

    def drop(self, assignment: Assignment, why: str) -> None: ...

    def check_failures(self) -> None: ...


class Runner(Protocol):
    """Protocol of an object that trains the network of a trial."""

    @property
    def device(self) -> torch.device:
        """Device on which networks are trained."""

    @property
    def data(self) -> TrialData:
        """Data of the trials."""

    def run_trial(
        self,
        number: int,
        params: dict[str, Scalar],
        on_report: OnReport,
        *,
        checkpoint: Path | None = None,
        start: Checkpoint | None = None,
        memory_level: int = 0,
    ) -> TrainedNetwork:
        """Train a configuration and save the training state after each epoch. If ``start`` is given, continue from this state."""


def run_trials(
    study: TrialSource, runner: Runner, *, stop: StopSignal, callbacks: Sequence[TrialEvents], checkpoints: Path
) -> str:
    """Run trials until the study has all trials or ``stop`` ends the run.

    Args:
        study: proposes the trials and stores their results.
        runner: object that trains the networks.
        stop: signal that ends the run early.
        callbacks: subscribers to events of trials.
        checkpoints: folder of the training states of unfinished trials.

    Returns:
        FINISHED (all trials were run), EXHAUSTED (no new configuration is left), or the reason of ``stop``.

    Raises:
        StudyFailedError: too many trials failed in a row.
        StorageFailedError: the study can't be stored.
        OSError: a trial's state or predictions can't be written.
    """
    while (reason := stop.reason) is None:
        assignment = study.next_assignment()
        match assignment:
            case NoTrial.ENOUGH:
                return FINISHED
            case NoTrial.SPACE_USED_UP:
                return EXHAUSTED
            case NoTrial.OTHERS_RUN_THE_REST:  # a trial in another process may fail and must then run again
                stop.wait(WAIT_SECONDS)
            case Assignment():
                own = checkpoint_path(checkpoints, assignment.seeded_as)
                for callback in callbacks:
                    callback.on_trial_start(assignment)
                try:
                    ended = _TrialRun(study, runner, assignment, stop, callbacks, own).run()
                except TrialChangedError as error:
                    log.info("trial %d is dropped: %s", assignment.number, error)
                    study.drop(assignment, str(error))
                    if error.code != "trial-ended":  # another worker may continue an ended trial from the checkpoint
                        delete_checkpoint(own)
                    study.check_failures()
                    continue
                if ended is None:
                    continue  # the next run continues this trial
                record, trained = ended
                for callback in callbacks:
                    callback.on_trial_end(record, trained)
                delete_checkpoint(own)
                study.check_failures()
    return FINISHED if study.n_finished() >= study.plan.n_trials else reason


def delete_stale_checkpoints(study: Study, checkpoints: Path) -> None:
    """Remove the training states that no unfinished trial needs. Call this function when no trial is running."""
    needed = study.needed_states()
    for path in checkpoints.glob("trial_*"):
        named = re.fullmatch(r"trial_(\d+)\.pt.*", path.name)
        if named is not None and int(named[1]) not in needed:
            path.unlink(missing_ok=True)


@dataclass
class _TrialRun:
    """Training of one trial in this process, with less memory if necessary, and storage of its result."""

    study: TrialSource
    runner: Runner
    assignment: Assignment
    stop: StopSignal
    callbacks: Sequence[TrialEvents]
    checkpoint: Path
    attempts: int = 0
    pruned: Checkpoint | None = None

    def run(self) -> tuple[TrialRecord, TrainedNetwork | None] | None:
        """Train the trial, store its final state and return the result; None if the run ends before the trial."""
        levels = levels_of(self.assignment.params)
        try:
            trained, memory_level = save_memory(self._attempt, self.runner.device, levels, self.assignment.memory_level)
            constraints = self._constraints(trained)
        except _GivenUpError as error:
            return self._fail(str(error), given_up=True)
        except NonFiniteLossError as error:
            return self._fail(str(error), diverged=True)
        except (StorageFailedError, TrialChangedError, OSError):
            raise  # errors that the trial did not cause
        except Exception as error:
            log.exception("trial %d failed", self.assignment.number)
            if isinstance(error, MemoryError):
                return self._fail(f"{LACKED_MEMORY} ({typed_line(error)})", given_up=True)
            return self._fail(typed_line(error))
        saving = {"memory_saving": str(levels[memory_level])} if memory_level else {}
        return self._finish(trained, {**saving, **constraints})

    def _attempt(self, memory_level: int) -> TrainedNetwork:
        """Train at a memory level; if an earlier process wrote a checkpoint, continue from this checkpoint."""
        study, assignment = self.study, self.assignment
        self.attempts += 1
        if self.attempts > 1:
            study.restart(assignment)
            study.note_memory_level(assignment, memory_level)
        start = last_good(self.checkpoint)
        if self.attempts == 1:
            reason = study.reason_to_give_up(assignment, 0 if start is None else start.epoch)
            if reason is not None:
                raise _GivenUpError(reason)
        self.pruned = start if start is not None and start.decision.action is Action.PRUNE else None
        number, params = assignment.seeded_as, assignment.params
        try:
            return self.runner.run_trial(
                number, params, self._decide, checkpoint=self.checkpoint, start=start, memory_level=memory_level
            )
        except CheckpointError as error:
            log.warning("trial %d trains from its beginning: %s", assignment.number, error)
            study.restart(assignment)
            study.note_restart(assignment, str(error))
            return self.runner.run_trial(
                number, params, self._decide, checkpoint=self.checkpoint, memory_level=memory_level
            )

    def _decide(self, report: ProgressReport) -> Decision:
        decision = self.study.report(self.assignment, report)
        for callback in self.callbacks:
            callback.on_trial_report(self.assignment, report)
        if report.again and self.pruned is not None and report.epoch == self.pruned.epoch:
            return self.pruned.decision  # the earlier process ended after this decision and before the trial's end
        reason = self.stop.reason
        if decision.action is Action.CONTINUE and reason is not None and not report.last:
            return Decision(Action.STOP, reason)
        return decision

    def _fail(self, reason: str, **facts: bool) -> tuple[TrialRecord, None]:
        return self.study.finish(self.assignment, State.FAIL, None, {"reason": reason, **facts}), None

    def _constraints(self, trained: TrainedNetwork) -> dict[str, Any]:
        """Measure the constraints of a training that ran to its end; return the attribute that stores them."""
        bounds = self.study.plan.constraints
        if not bounds or trained.outcome.decision.action is not Action.CONTINUE:
            return {}
        return constraint_attribute(constraint_values(bounds, trained, self.runner.data.folds), bounds)

    def _finish(self, trained: TrainedNetwork, more: Mapping[str, Any]) -> tuple[TrialRecord, TrainedNetwork] | None:
        study, assignment, outcome = self.study, self.assignment, trained.outcome
        if outcome.decision.action is Action.STOP:
            for callback in self.callbacks:
                callback.on_trial_pause(assignment)
            study.pause(assignment)
            return None
        seconds, projected = study.plan.training_seconds(
            assignment.cost, outcome.epochs, measured=(outcome.seconds, outcome.projected_seconds)
        )
        attributes: dict[str, Any] = {
            "epochs": outcome.epochs,
            "best_epoch": outcome.best_epoch,
            "seconds": seconds,
            "projected_seconds": projected,
            "measured_seconds": outcome.seconds,
            "evaluation_seconds": outcome.evaluation_seconds,
            "memory_mb": trained.memory_mb,
            "precision": trained.precision,
            **more,
            **({"paused_seconds": outcome.paused_seconds} if outcome.paused_seconds else {}),
        }
        if outcome.decision.action is Action.PRUNE:
            state, values = State.PRUNED, None
            attributes["reason"] = outcome.decision.reason
        else:
            if outcome.best is None:
                raise RuntimeError("a training that ran to its end has an evaluation")
            state, values = State.COMPLETE, Values(outcome.best.score, seconds, assignment.cost.size_mb)
        for callback in self.callbacks:
            callback.on_trial_trained(assignment, trained)
        return study.finish(assignment, state, values, attributes), trained


def checkpoint_path(checkpoints: Path, number: int) -> Path:
    """Return the path of the training state of the trial with the seed of trial ``number``."""
    return checkpoints / f"trial_{number:05d}.pt"
