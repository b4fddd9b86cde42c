"""Runs the trials of a study in this process."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from cnn_lstm_hyperopt.errors import CheckpointError, StorageFailedError, TrialChangedError
from cnn_lstm_hyperopt.execution.callbacks import TrialEvents
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import (
    LACKED_MEMORY,
    Assignment,
    NoTrial,
    State,
    Study,
    TrialRecord,
    Values,
    levels_of,
)
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import Checkpoint, NonFiniteLossError, forget_checkpoint, last_good
from cnn_lstm_hyperopt.training.memory_saving import save_memory
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.text import typed_line

log = logging.getLogger(__name__)

FINISHED, EXHAUSTED = "finished", "search space used up"
WAIT_SECONDS = 0.2


class _GivenUpError(Exception):
    """A trial is not begun again; the text says why."""


class Runner(Protocol):
    """What can run a trial."""

    @property
    def device(self) -> torch.device:
        """Where it trains."""

    def run_trial(
        self,
        number: int,
        params: dict[str, Scalar],
        on_report: OnReport,
        *,
        checkpoint: Path | None = None,
        start: Checkpoint | None = None,
        saving: int = 0,
    ) -> TrainedNetwork:
        """Trains the configuration and says how it went; its state is kept each epoch, one that was kept is gone on from."""


def run_trials(
    study: Study, runner: Runner, *, stop: StopSignal, callbacks: Sequence[TrialEvents], checkpoints: Path
) -> str:
    """Runs trials until the study has all of them or ``stop`` says so.

    Args:
        study: whose trials they are.
        runner: trains them.
        stop: may end it.
        callbacks: hear of trials.
        checkpoints: folder of the states of trials that run or were cut off.

    Returns:
        What ended it: FINISHED, EXHAUSTED, or the reason of ``stop``.

    Raises:
        StudyFailedError: trial after trial fails.
        StorageFailedError: nothing more can be stored.
        OSError: a trial's state or predictions can't be written.
    """
    while (reason := stop.reason) is None:
        assignment = study.next_assignment()
        match assignment:
            case NoTrial.ENOUGH:
                return FINISHED
            case NoTrial.SPACE_USED_UP:
                return EXHAUSTED
            case NoTrial.OTHERS_RUN_THE_REST:  # one of them may fail, and its trial is then to be had again
                stop.wait(WAIT_SECONDS)
            case Assignment():
                for callback in callbacks:
                    callback.on_trial_start(assignment)
                try:
                    ended = _run_one(study, runner, assignment, stop, callbacks, checkpoints)
                except TrialChangedError as error:
                    log.info("trial %d is dropped: %s", assignment.number, error)
                    study.drop(assignment, str(error))
                    forget_checkpoint(_state(checkpoints, assignment.seeded_as))
                    study.check_failures()
                    continue
                if ended is None:
                    continue  # it goes on in the next run
                record, trained = ended
                for callback in callbacks:
                    callback.on_trial_end(record, trained)
                forget_checkpoint(_state(checkpoints, record.seeded_as))
                study.check_failures()
    return FINISHED if study.n_finished() >= study.plan.n_trials else reason


def forget_left_over(study: Study, checkpoints: Path) -> None:
    """Removes, when the run's trials have ended, the states from which no trial to come can go on."""
    needed = study.needed_states()
    for path in checkpoints.glob("trial_*"):
        named = re.fullmatch(r"trial_(\d+)\.pt.*", path.name)
        if named is not None and int(named[1]) not in needed:
            path.unlink(missing_ok=True)


def _run_one(
    study: Study,
    runner: Runner,
    assignment: Assignment,
    stop: StopSignal,
    callbacks: Sequence[TrialEvents],
    checkpoints: Path,
) -> tuple[TrialRecord, TrainedNetwork | None] | None:
    """One trial, from start to its stored end: ask, train, map the outcome to a state, store it; None: the run ends before it."""

    def on_report(report: ProgressReport) -> Decision:
        decision = study.report(assignment, report)
        for callback in callbacks:
            callback.on_trial_report(assignment, report)
        if report.again and pruned is not None and report.epoch == pruned.epoch:
            return pruned.decision  # the process ended between this answer and the trial's end
        reason = stop.reason
        if decision.action is Action.CONTINUE and reason is not None and not report.last:
            return Decision(Action.STOP, reason)
        return decision

    own = _state(checkpoints, assignment.seeded_as)
    levels = levels_of(assignment.params)
    attempts = 0
    pruned: Checkpoint | None = None

    def attempt(saving: int) -> TrainedNetwork:
        nonlocal attempts, pruned
        attempts += 1
        if attempts > 1:
            study.begin_again(assignment)
            study.note_saving(assignment, saving)
        start = last_good(own)
        if attempts == 1 and (why := study.why_not_again(assignment, 0 if start is None else start.epoch)) is not None:
            raise _GivenUpError(why)
        pruned = start if start is not None and start.decision.action is Action.PRUNE else None
        number, params = assignment.seeded_as, assignment.params
        try:
            return runner.run_trial(number, params, on_report, checkpoint=own, start=start, saving=saving)
        except CheckpointError as error:
            log.warning("trial %d trains from its beginning: %s", assignment.number, error)
            study.begin_again(assignment)
            study.note_trained_anew(assignment, str(error))
            return runner.run_trial(number, params, on_report, checkpoint=own, saving=saving)

    try:
        trained, saving = save_memory(attempt, runner.device, levels, assignment.saving)
    except _GivenUpError as error:
        return study.finish(assignment, State.FAIL, None, {"reason": str(error), "given_up": True}), None
    except NonFiniteLossError as error:
        return study.finish(assignment, State.FAIL, None, {"reason": str(error), "diverged": True}), None
    except Exception as error:
        if isinstance(error, StorageFailedError | TrialChangedError | OSError):
            raise  # not the trial's fault
        log.exception("trial %d failed", assignment.number)
        reason = typed_line(error)
        if isinstance(error, MemoryError):
            reason = f"{LACKED_MEMORY} ({reason})"
            return study.finish(assignment, State.FAIL, None, {"reason": reason, "given_up": True}), None
        return study.finish(assignment, State.FAIL, None, {"reason": reason}), None

    outcome = trained.outcome
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
        **({"memory_saving": str(levels[saving])} if saving else {}),
        **({"paused_seconds": outcome.paused_seconds} if outcome.paused_seconds else {}),
    }
    match outcome.decision.action:
        case Action.STOP:
            study.pause(assignment)
            return None
        case Action.PRUNE:
            state, values = State.PRUNED, None
            attributes["reason"] = outcome.decision.reason
        case Action.CONTINUE:
            if outcome.best is None:
                raise RuntimeError("a training that ran to its end has an evaluation")
            state = State.COMPLETE
            values = Values(outcome.best.score, seconds, assignment.cost.size_mb)
    for callback in callbacks:
        callback.on_trial_trained(assignment, trained)
    return study.finish(assignment, state, values, attributes), trained


def _state(checkpoints: Path, number: int) -> Path:
    """Where the state of a trial lies."""
    return checkpoints / f"trial_{number:05d}.pt"
