"""Runs the trials of a study in this process."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.exceptions import CheckpointError
from cnn_lstm_hyperopt.execution.observer import Observer
from cnn_lstm_hyperopt.execution.stop import StopSignal
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import INTERRUPTED, Assignment, NoTrial, State, Study, TrialRecord, Values
from cnn_lstm_hyperopt.training import NonFiniteLossError
from cnn_lstm_hyperopt.trial_runner import TrainedNetwork

log = logging.getLogger(__name__)

FINISHED, EXHAUSTED = "finished", "search space used up"
WAIT_SECONDS = 0.2


class Runner(Protocol):
    """What can run a trial."""

    def run_trial(
        self,
        number: int,
        params: dict[str, Scalar],
        on_report: OnReport,
        *,
        keep: Path | None = None,
        start: Path | None = None,
    ) -> TrainedNetwork:
        """Trains the configuration and says how it went; a pruned one's state is kept, one that was kept is gone on from."""


def run_trials(
    study: Study, runner: Runner, *, stop: StopSignal, observers: Sequence[Observer], checkpoints: Path
) -> str:
    """Runs trials until the study has all of them or ``stop`` says so.

    Args:
        study: whose trials they are.
        runner: trains them.
        stop: may end it.
        observers: hear of trials.
        checkpoints: folder of the probes' states, as long as one of them may be continued.

    Returns:
        What ended it: FINISHED, EXHAUSTED, or the reason of ``stop``.

    Raises:
        StudyFailedError: trial after trial fails.
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
                for observer in observers:
                    observer.on_trial_start(assignment)
                record, trained = _run_one(study, runner, assignment, stop, observers, checkpoints)
                for observer in observers:
                    observer.on_trial_end(record, trained)
                if assignment.continues is not None and record.finished:
                    _state(checkpoints, assignment.continues).unlink(missing_ok=True)
                elif not study.continues_probes:  # the others' time is over
                    for left_over in checkpoints.glob("probe_*.pt"):
                        left_over.unlink(missing_ok=True)
                study.check_failures()
    return FINISHED if study.n_finished() >= study.plan.n_trials else reason


def _run_one(
    study: Study,
    runner: Runner,
    assignment: Assignment,
    stop: StopSignal,
    observers: Sequence[Observer],
    checkpoints: Path,
) -> tuple[TrialRecord, TrainedNetwork | None]:
    """One trial, from start to its stored end: ask, train, map the outcome to a state, store it."""

    def on_report(report: ProgressReport) -> Decision:
        decision = study.report(assignment, report)
        for observer in observers:
            observer.on_trial_report(assignment, report)
        reason = stop.reason
        if decision.action is Action.CONTINUE and reason is not None and not report.last:
            return Decision(Action.STOP, INTERRUPTED + reason)
        return decision

    number, params = assignment.number, assignment.params
    keep = _state(checkpoints, number) if assignment.probe else None
    start = None if assignment.continues is None else _state(checkpoints, assignment.continues)
    anew: dict[str, Any] = {}
    try:
        try:
            trained = runner.run_trial(number, params, on_report, keep=keep, start=start)
        except CheckpointError as error:
            log.warning("trial %d trains from its beginning, since it can't go on from its probe: %s", number, error)
            anew = {"trained_anew": str(error)}
            assignment = replace(assignment, seconds_before=0.0, told_again=0.0)
            trained = runner.run_trial(number, params, on_report)
    except NonFiniteLossError as error:
        return study.finish(assignment, State.FAIL, None, {"reason": str(error), "diverged": True}), None
    except Exception as error:
        log.exception("trial %d failed", assignment.number)
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        return study.finish(assignment, State.FAIL, None, {"reason": reason}), None

    outcome = trained.outcome
    seconds, projected = study.training_seconds(
        assignment, outcome.epochs, measured=(outcome.seconds, outcome.projected_seconds)
    )
    attributes: dict[str, Any] = {
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "seconds": seconds,
        "projected_seconds": projected,
        "measured_seconds": outcome.own_seconds,
        "evaluation_seconds": outcome.own_evaluation_seconds,
        "memory_mb": trained.memory_mb,
        "precision": trained.precision,
        **anew,
    }
    match outcome.decision.action:
        case Action.STOP:
            state, values = State.FAIL, None
            attributes["reason"] = outcome.decision.reason
        case Action.PRUNE:
            state, values = State.PRUNED, None
            attributes["reason"] = outcome.decision.reason
        case Action.CONTINUE:
            if outcome.best is None:
                raise RuntimeError("a training that ran to its end has an evaluation")
            state = State.COMPLETE
            values = Values(outcome.best.score, seconds, assignment.cost.size_mb)
    if state is not State.FAIL:
        for observer in observers:
            observer.on_trial_trained(assignment, trained)
    return study.finish(assignment, state, values, attributes), trained


def _state(checkpoints: Path, number: int) -> Path:
    """Where the state of a probe lies."""
    return checkpoints / f"probe_{number}.pt"
