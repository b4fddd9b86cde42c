"""Runs the trials of a study in this process, and knows when to stop."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, Protocol

from cnn_lstm_hyperopt.config.domains import Scalar
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import INTERRUPTED, Assignment, State, Study, TrialRecord, Values
from cnn_lstm_hyperopt.training import NonFiniteLossError
from cnn_lstm_hyperopt.trial_runner import TrainedNetwork

log = logging.getLogger(__name__)

FINISHED, TIMEOUT, CTRL_C, EXHAUSTED = "finished", "timeout", "Ctrl-C", "search space used up"


class StopSignal:
    """Whether the run should end: its time is up, or the user pressed Ctrl-C."""

    def __init__(self, timeout: float | None = None) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self.interrupted = False

    @property
    def reason(self) -> str | None:
        """``timeout`` or ``Ctrl-C``; None: go on."""
        if self.interrupted:
            return CTRL_C
        if self._deadline is not None and time.monotonic() >= self._deadline:
            return TIMEOUT
        return None

    @property
    def seconds_left(self) -> float | None:
        """Until the timeout; None without one."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def drop_deadline(self) -> None:
        """From here on Ctrl-C alone: the timeout covers the search, not what comes after it."""
        self._deadline = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """The first Ctrl-C ends the run in good order, the second at once. Outside the main thread nothing is changed."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: object) -> None:
            if self.interrupted:
                raise KeyboardInterrupt
            self.interrupted = True

        before = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


class Runner(Protocol):
    """What can run a trial."""

    def run_trial(self, number: int, params: dict[str, Scalar], on_report: OnReport) -> TrainedNetwork:
        """Trains the configuration and says how it went."""


class Observer(Protocol):
    """Who hears of trials; the study knows nothing of them."""

    def on_trial_start(self, assignment: Assignment) -> None:
        """A trial begins."""

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """A trial has got further."""

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """A trial has ended; ``trained`` is None when it failed."""


def run_trials(study: Study, runner: Runner, *, stop: StopSignal, observers: list[Observer]) -> str:
    """Runs trials until the study has all of them or ``stop`` says so.

    Returns:
        What ended it: FINISHED, TIMEOUT, CTRL_C or EXHAUSTED.

    Raises:
        StudyFailedError: trial after trial fails.
    """
    while study.n_finished() < study.plan.n_trials:
        reason = stop.reason
        if reason is not None:
            return reason
        assignment = study.next_assignment()
        if assignment is None:
            return EXHAUSTED
        for observer in observers:
            observer.on_trial_start(assignment)
        record, trained = _run_one(study, runner, assignment, stop, observers)
        for observer in observers:
            observer.on_trial_end(record, trained)
    return FINISHED


def _run_one(
    study: Study, runner: Runner, assignment: Assignment, stop: StopSignal, observers: list[Observer]
) -> tuple[TrialRecord, TrainedNetwork | None]:
    """One trial, from start to its stored end: ask, train, map the outcome to a state, store it."""

    def on_report(report: ProgressReport) -> Decision:
        decision = study.report(assignment, report)
        for observer in observers:
            observer.on_trial_report(assignment, report)
        reason = stop.reason
        last = report.epoch >= study.plan.max_epochs
        if decision.action is Action.CONTINUE and reason is not None and not last:
            return Decision(Action.STOP, INTERRUPTED + reason)
        return decision

    try:
        trained = runner.run_trial(assignment.number, assignment.params, on_report)
    except NonFiniteLossError as error:
        return study.finish(assignment, State.FAIL, None, {"reason": str(error)}), None
    except Exception as error:
        log.exception("trial %d failed", assignment.number)
        reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no message'}"
        return study.finish(assignment, State.FAIL, None, {"reason": reason}), None

    outcome = trained.outcome
    attributes: dict[str, Any] = {
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "seconds": outcome.seconds,
        "projected_seconds": outcome.projected_seconds,
        "memory_mb": trained.memory_mb,
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
            values = Values(outcome.best.accuracy, outcome.seconds, assignment.size_mb)
    return study.finish(assignment, state, values, attributes), trained
