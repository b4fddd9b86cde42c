"""Search for the best arguments of a function that yields a learning curve, with several workers in simulated time."""

import heapq
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from cnn_lstm_hyperopt.progress import Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search.assignment import Assignment, NoTrial
from cnn_lstm_hyperopt.search.constraints import constraint_attribute
from cnn_lstm_hyperopt.search.learning_curves import projected_seconds
from cnn_lstm_hyperopt.search.orphans import pause_orphans
from cnn_lstm_hyperopt.search.study import Study
from cnn_lstm_hyperopt.search.trial import LOST, Point, State, Values
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.utils.rng import stream_seed


class EpochMeasurement(NamedTuple):
    """Values that the optimised function yields after an epoch, or after a part of the first epoch.

    Attributes:
        epoch: number of epochs done.
        score: validation score, higher is better; the last score is the trial's value.
        seconds: training seconds so far.
        size_mb: MB of the model.
        constraints: measured values of the plan's constraints by name, needed in the last measurement only.
    """

    epoch: float
    score: float
    seconds: float
    size_mb: float
    constraints: Mapping[str, float] = MappingProxyType({})


Measurement = tuple[float, float, float, float] | tuple[float, float, float, float, Mapping[str, float]]
Evaluate = Callable[[dict[str, Scalar], int], Iterator[Measurement]]
"""Function that takes a full configuration and a seed, and yields measurements (see :class:`EpochMeasurement`). Equal arguments
must give equal measurements."""


class WorkerLostError(Exception):
    """An optimised function raises this error to simulate that its worker is lost. Another worker runs the trial again."""


@dataclass
class _Running:
    """A trial that a simulated worker runs."""

    assignment: Assignment
    measurements: Iterator[Measurement]
    started: float
    curve: list[Point] = field(default_factory=list)
    latest: EpochMeasurement | None = None
    failure: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def advance(self) -> None:
        """Set ``latest`` to the next measurement, or to None after the last measurement; set ``failure`` after an error."""
        try:
            self.latest = next((EpochMeasurement(*each) for each in self.measurements), None)
        except WorkerLostError:
            self.failure, self.facts = "its worker is lost", {"cut_off_by": LOST}
            return
        except Exception as error:  # noqa: BLE001 - any error of the function is a failure of its trial, not of the study
            self.failure = f"{type(error).__name__}: {error}"
            return
        latest = self.latest
        if latest is None and not self.curve:
            self.failure = "the function yielded nothing"
        elif latest is not None and not all(math.isfinite(value) for value in latest[:4]):
            self.failure = f"the function yielded a value that is not finite at epoch {latest.epoch:g}: {latest[:4]}"
            self.facts = {"diverged": True}
        elif latest is not None and latest.size_mb <= 0:
            self.failure = (
                f"the function yielded a size that is not above 0 at epoch {latest.epoch:g}: {latest.size_mb}"
            )


def optimise(study: Study, evaluate: Evaluate, *, workers: int = 1) -> None:
    """Run all trials of a study.

    A trial fails and is retried once if the function raises, yields nothing, or yields a value that is not finite. Workers run in
    simulated time: the worker with the earliest next measurement is processed first. Trials that are still RUNNING after an
    interrupted call start again with the same number, since no other process runs trials of the study.

    Args:
        study: study with the plan of the search.
        evaluate: the function that is optimised.
        workers: number of simultaneous trials.

    Raises:
        StudyFailedError: ten trials in a row failed.
    """
    pause_orphans(study.storage)
    events: list[tuple[float, int]] = [(0.0, worker) for worker in range(workers)]
    running: dict[int, _Running] = {}
    waiting: list[int] = []
    while events:
        clock, worker = heapq.heappop(events)
        trial = running.get(worker)
        if trial is None:
            assignment = study.next_assignment()
            if assignment is NoTrial.OTHERS_RUN_THE_REST:
                heapq.heappush(waiting, worker)
                continue
            if not isinstance(assignment, Assignment):
                continue
            trial = running[worker] = _begin(study, assignment, evaluate, clock)
            trial.advance()
            _wake_one(waiting, clock, events)
        else:
            _report(study, trial)
        if trial.latest is not None and not trial.failure:
            heapq.heappush(events, (trial.started + max(0.0, trial.latest.seconds), worker))
            continue
        del running[worker]
        if trial.failure:
            ends = {"reason": trial.failure, "seconds": trial.curve[-1].seconds if trial.curve else 0.0}
            study.finish(trial.assignment, State.FAIL, None, ends | trial.facts)
            study.check_failures()
        heapq.heappush(waiting, worker)
        _wake_one(waiting, clock, events)


def _wake_one(waiting: list[int], clock: float, events: list[tuple[float, int]]) -> None:
    """Add the request of the first waiting worker for a trial to the events.

    The next worker requests a trial only if this worker gets one. So the end of a trial does not cause hundreds of requests.
    """
    if waiting:
        heapq.heappush(events, (clock, heapq.heappop(waiting)))


def _begin(study: Study, assignment: Assignment, evaluate: Evaluate, clock: float) -> _Running:
    seed = stream_seed(study.plan.seed, assignment.seeded_as, "evaluation") % 2**31
    return _Running(assignment, iter(evaluate(assignment.params, seed)), clock)


def _report(study: Study, trial: _Running) -> None:
    """Report the latest measurement of a trial to the study; then request the next measurement or store the trial's result."""
    latest, assignment, max_epochs = trial.latest, trial.assignment, study.plan.max_epochs
    if latest is None:
        raise RuntimeError(f"trial {assignment.number} has nothing to report")
    # Minus the epoch is reported as the loss, so that the last epoch has the lowest loss and its score is the trial's value.
    trial.curve.append(Point(latest.epoch, latest.score, -latest.epoch, latest.seconds))
    projected = projected_seconds(trial.curve, max_epochs) if latest.epoch >= 1 else None
    last = latest.epoch >= max_epochs
    decision: Decision = study.report(
        assignment,
        ProgressReport(latest.epoch, latest.seconds, projected, latest.score, -latest.epoch, last),
    )
    ends = {"epochs": latest.epoch, "seconds": latest.seconds, "projected_seconds": projected}
    if decision.action is not Action.CONTINUE:
        study.finish(assignment, State.PRUNED, None, {**ends, "reason": decision.reason})
        trial.latest = None
        return
    if not last:
        trial.advance()
    if not trial.failure and (last or trial.latest is None):
        trial.latest = None
        try:
            ends |= constraint_attribute(latest.constraints, study.plan.constraints)
        except ValueError as error:
            trial.failure = str(error)
            return
        study.finish(assignment, State.COMPLETE, Values(latest.score, latest.seconds, latest.size_mb), ends)
