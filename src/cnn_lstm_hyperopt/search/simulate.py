"""Optimises any function that yields a learning curve: no training, no torch; several workers in simulated time."""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from cnn_lstm_hyperopt.progress import Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search.assignment import Assignment, NoTrial
from cnn_lstm_hyperopt.search.learning_curves import projected_seconds
from cnn_lstm_hyperopt.search.orphans import pause_orphans
from cnn_lstm_hyperopt.search.study import Study
from cnn_lstm_hyperopt.search.trial import Point, State, Values
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.utils.rng import stream_seed


class Reading(NamedTuple):
    """What the function yields after an epoch, or a part of the first one.

    Attributes:
        epoch: epochs done.
        score: on validation, more is better; the last one is the trial's value.
        seconds: in training so far.
        size_mb: of the model.
    """

    epoch: float
    score: float
    seconds: float
    size_mb: float


Evaluate = Callable[[dict[str, Scalar], int], Iterator[tuple[float, float, float, float]]]
"""(whole configuration, seed) → readings. The same arguments give the same readings."""


@dataclass
class _Running:
    """A trial on a worker."""

    assignment: Assignment
    readings: Iterator[tuple[float, float, float, float]]
    started: float
    curve: list[Point] = field(default_factory=list)
    reading: Reading | None = None
    failure: str = ""
    diverged: bool = False

    def advance(self) -> None:
        """Takes the next reading, None when there is none; or sets ``failure``."""
        try:
            self.reading = next((Reading(*each) for each in self.readings), None)
        except Exception as error:  # noqa: BLE001 - whatever the function raises is its trial's failure, not the study's
            self.failure = f"{type(error).__name__}: {error}"
            return
        if self.reading is None and not self.curve:
            self.failure = "the function yielded nothing"
        elif self.reading is not None and not all(math.isfinite(value) for value in self.reading):
            self.failure = f"the reading of epoch {self.reading.epoch:g} is not finite: {tuple(self.reading)}"
            self.diverged = True
        elif self.reading is not None and self.reading.size_mb <= 0:
            self.failure = (
                f"the size in the reading of epoch {self.reading.epoch:g} is not above 0: {self.reading.size_mb}"
            )


def optimise(study: Study, evaluate: Evaluate, *, workers: int = 1) -> None:
    """Runs the study's trials to their number.

    A trial that yields something that is no number, or nothing, or raises, has failed and is tried once more.
    Workers live in simulated time: the one whose next reading comes first is served first.

    What an earlier call left RUNNING is begun again under its number: this is the only process.

    Args:
        study: whose plan says how many trials and which.
        evaluate: the function.
        workers: trials at a time.

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
                waiting.append(worker)
                continue
            if not isinstance(assignment, Assignment):
                continue
            trial = running[worker] = _begin(study, assignment, evaluate, clock)
            trial.advance()
        else:
            _report(study, trial)
        if trial.reading is not None and not trial.failure:
            heapq.heappush(events, (trial.started + max(0.0, trial.reading.seconds), worker))
            continue
        del running[worker]
        if trial.failure:
            ends = {"reason": trial.failure, "seconds": trial.curve[-1].seconds if trial.curve else 0.0}
            study.finish(trial.assignment, State.FAIL, None, ends | ({"diverged": True} if trial.diverged else {}))
            study.check_failures()
        for freed in (worker, *waiting):
            heapq.heappush(events, (clock, freed))
        waiting.clear()


def _begin(study: Study, assignment: Assignment, evaluate: Evaluate, clock: float) -> _Running:
    seed = stream_seed(study.plan.seed, assignment.seeded_as, "evaluation") % 2**31
    return _Running(assignment, iter(evaluate(assignment.params, seed)), clock)


def _report(study: Study, trial: _Running) -> None:
    """Reports the reading that is due and takes the next, or stores the trial's end."""
    reading, assignment, max_epochs = trial.reading, trial.assignment, study.plan.max_epochs
    if reading is None:
        raise RuntimeError(f"trial {assignment.number} has nothing to report")
    # The last reading is the trial's value: losses that fall with the epochs say so.
    trial.curve.append(Point(reading.epoch, reading.score, -reading.epoch, reading.seconds))
    projected = projected_seconds(trial.curve, max_epochs) if reading.epoch >= 1 else None
    last = reading.epoch >= max_epochs
    decision: Decision = study.report(
        assignment,
        ProgressReport(reading.epoch, reading.seconds, projected, reading.score, -reading.epoch, last),
    )
    ends = {"epochs": reading.epoch, "seconds": reading.seconds, "projected_seconds": projected}
    if decision.action is not Action.CONTINUE:
        study.finish(assignment, State.PRUNED, None, {**ends, "reason": decision.reason})
        trial.reading = None
        return
    if not last:
        trial.advance()
    if not trial.failure and (last or trial.reading is None):
        study.finish(assignment, State.COMPLETE, Values(reading.score, reading.seconds, reading.size_mb), ends)
        trial.reading = None
