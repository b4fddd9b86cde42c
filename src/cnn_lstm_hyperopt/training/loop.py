"""The training loop: one screen, one callback."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import CnnLstm
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.training.best import BestEpoch
from cnn_lstm_hyperopt.training.checkpoint import Checkpoint, Stateful, take_checkpoint, training_facts
from cnn_lstm_hyperopt.training.config import TrainingConfig
from cnn_lstm_hyperopt.training.device import RandomState
from cnn_lstm_hyperopt.training.dropout import DropoutSchedule
from cnn_lstm_hyperopt.training.metrics import Evaluation, ValueScale, evaluate
from cnn_lstm_hyperopt.training.patience import Patience
from cnn_lstm_hyperopt.training.schedules import SCHEDULES
from cnn_lstm_hyperopt.training.step import Stepper

FIRST_LOOK = 4
"""Steps after which a training first says what it will cost; the first step warms up and is left out of the slope."""
LOOK_SECONDS = 1.0
"""Seconds between two reports within an epoch, so that a long epoch can be interrupted."""

OnEpochEnd = Callable[[Decision, Callable[[], Checkpoint]], None]
"""Hears what was decided after an epoch that is not the last, and is handed what takes the checkpoint, if it wants one."""


class NonFiniteLossError(Exception):
    """The loss became NaN or infinite; the text names the epoch."""


@dataclass(frozen=True)
class Outcome:
    """What a training gave; the network holds the weights of the best epoch. All counts from the first epoch on.

    Attributes:
        best_epoch: epoch of the lowest validation loss; 0 when no epoch was finished.
        best: evaluation at that epoch, None when no epoch was finished.
        epochs: epochs done, fractional when it was ended within one.
        seconds: wall seconds in training steps.
        projected_seconds: what all ``max_epochs`` would take; None when it could not be told.
        decision: what ended it: CONTINUE when it ran to its own end (all epochs, or patience).
        evaluation_seconds: wall seconds in evaluations.
        earlier_seconds: of ``seconds``, those before the checkpoint that the training went on from.
        earlier_evaluation_seconds: of ``evaluation_seconds``, likewise.
    """

    best_epoch: int
    best: Evaluation | None
    epochs: float
    seconds: float
    projected_seconds: float | None
    decision: Decision
    evaluation_seconds: float = 0.0
    earlier_seconds: float = 0.0
    earlier_evaluation_seconds: float = 0.0

    @property
    def own_seconds(self) -> float:
        """Wall seconds in training steps of this run alone: what it has cost to go on from a checkpoint."""
        return self.seconds - self.earlier_seconds

    @property
    def own_evaluation_seconds(self) -> float:
        """Wall seconds in evaluations of this run alone."""
        return self.evaluation_seconds - self.earlier_evaluation_seconds


class _Stopwatch:
    """Seconds in training steps, and what the rest will take; each run's first step is left out of the speed: it warms up."""

    def __init__(self, device: torch.device, total_steps: int) -> None:
        self._device, self._total_steps = device, total_steps
        self._started = self._reported = 0.0
        self._cold = True
        self._steps = self._first_steps = 0
        self._first_seconds = 0.0
        self.seconds = self.evaluation_seconds = 0.0

    def start(self) -> None:
        self._started = self._reported = time.perf_counter()

    def step(self) -> bool:
        """Counts a step; whether it is time for a report within the epoch."""
        self._steps += 1
        if self._cold:
            before, self._cold = self.seconds, False
            self._first_steps += 1
            self._first_seconds += self.stop() - before
            self.start()
        return self._steps == FIRST_LOOK or time.perf_counter() - self._reported > LOOK_SECONDS

    def stop(self) -> float:
        """Adds the time since :meth:`start`; waits for the device, which computes behind Python's back."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds += time.perf_counter() - self._started
        return self.seconds

    @property
    def projected(self) -> float | None:
        timed = self._steps - self._first_steps
        if timed < 1:
            return None
        per_step = (self.seconds - self._first_seconds) / timed
        return self.seconds + per_step * (self._total_steps - self._steps)

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "evaluation_seconds": self.evaluation_seconds,
            "steps": self._steps,
            "first_steps": self._first_steps,
            "first_seconds": self._first_seconds,
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.seconds, self.evaluation_seconds = state["seconds"], state["evaluation_seconds"]
        self._steps, self._first_steps = state["steps"], state["first_steps"]
        self._first_seconds = state["first_seconds"]


def train(
    network: CnnLstm,
    windows: Windows,
    validation: Windows,
    config: TrainingConfig,
    *,
    scale: ValueScale,
    generator: torch.Generator,
    on_report: OnReport,
    start: Checkpoint | None = None,
    on_epoch_end: OnEpochEnd | None = None,
) -> Outcome:
    """Trains until all epochs are done, patience is exhausted, or ``on_report`` says so.

    Args:
        network: trained in place, on the device of the windows; ends with the weights of its best epoch.
        windows: training windows; every epoch sees each once, in a new order.
        validation: monitored by its unsmoothed cross-entropy.
        config: what is done, and for how long.
        scale: standardises the regression target.
        generator: on the CPU; draws the order of windows and augmentation.
        on_report: told after every epoch and at ``config.early_reports`` with an evaluation; after the first steps, and about
            once a second in between, with seconds alone.
        start: goes on from there, with the generators as they stood, and uses it up. What was reported with an evaluation is
            told again first, so that the listener knows the whole curve; of the answers only the last can end the training.
        on_epoch_end: after each decision at the end of an epoch that is not the last (the one in ``start``, too).

    Raises:
        CheckpointError: ``start`` is of another training.
        NonFiniteLossError: the training or validation loss is NaN or infinite.
    """
    stepper = Stepper(network, windows, config, scale=scale, generator=generator)
    schedule = SCHEDULES[config.scheduler](stepper.optimizer, config.max_epochs)
    dropout = DropoutSchedule(network, config.dropout_schedule, config.max_epochs)
    patience = Patience(minimum=config.min_patience, factor=config.patience_factor)
    steps = math.ceil(len(windows) / config.batch_size)
    early = {math.ceil(share * steps) for share in config.early_reports}
    watch = _Stopwatch(windows.device, steps * config.max_epochs)
    best = BestEpoch(network)
    parts: dict[str, Stateful] = {
        "network": network,
        "optimizer": stepper.optimizer,
        "schedule": schedule,
        "balancing": stepper.balancing,
        "patience": patience,
        "best": best,
        "stopwatch": watch,
        "random": RandomState(generator, windows.device),
    }
    about = training_facts(network, config, windows, validation)
    reports: list[ProgressReport] = []
    done, progress, decision = 0, 0.0, CONTINUE

    def end_epoch(epoch: int) -> None:
        if on_epoch_end is not None:
            on_epoch_end(decision, partial(take_checkpoint, about, parts, reports, epoch))

    if start is not None:
        start.restore(parts, about)
        done, progress = start.epoch, float(start.epoch)
        reports.extend(start.reports)
        start = None  # the network has its weights: they need not lie in memory twice
        for report in reports:
            decision = on_report(report)
        end_epoch(done)
    earlier_seconds, earlier_evaluation_seconds = watch.seconds, watch.evaluation_seconds

    for epoch in range(done + 1, config.max_epochs + 1):
        if decision.action is not Action.CONTINUE:
            break
        network.train()
        dropout.start_epoch(epoch)
        total = torch.zeros(2, device=windows.device)  # cross-entropy, squared error
        order = torch.randperm(len(windows), generator=generator).to(windows.device)
        watch.start()
        for step, index in enumerate(order.split(config.batch_size), start=1):
            total += stepper.step(index)
            evaluate_now = epoch == 1 and step in early
            if (watch.step() or evaluate_now) and step < steps:
                watch.stop()
                progress = epoch - 1 + step / steps
                _require_finite(float(total.sum()), progress)
                report = ProgressReport(progress, watch.seconds, watch.projected)
                if evaluate_now:
                    seen = _timed_evaluation(network, validation, scale, config, watch)
                    _require_finite(seen.loss, progress)
                    network.train()
                    report = replace(report, score=seen.accuracy, loss=seen.loss)
                    reports.append(report)
                decision = on_report(report)
                if decision.action is not Action.CONTINUE:
                    break
                watch.start()
        if decision.action is not Action.CONTINUE:
            break
        watch.stop()
        progress = float(epoch)
        evaluation = _timed_evaluation(network, validation, scale, config, watch)
        _require_finite(float(total.sum()) + evaluation.loss, progress)
        if patience.improved(epoch, evaluation.loss):
            best.keep(evaluation)
        last = epoch == config.max_epochs or patience.exhausted(epoch)
        report = ProgressReport(progress, watch.seconds, watch.projected, evaluation.accuracy, evaluation.loss, last)
        reports.append(report)
        decision = on_report(report)
        if last:
            break
        schedule.step(evaluation.loss)  # also when it ends here: a checkpoint stands at the beginning of the next epoch
        stepper.balancing.end_epoch(*(total / steps).tolist())
        end_epoch(epoch)

    dropout.restore()
    best.restore_weights()
    return Outcome(
        best_epoch=patience.best_epoch,
        best=best.evaluation,
        epochs=progress,
        seconds=watch.seconds,
        projected_seconds=watch.projected,
        decision=decision,
        evaluation_seconds=watch.evaluation_seconds,
        earlier_seconds=earlier_seconds,
        earlier_evaluation_seconds=earlier_evaluation_seconds,
    )


def _timed_evaluation(
    network: CnnLstm, validation: Windows, scale: ValueScale, config: TrainingConfig, watch: _Stopwatch
) -> Evaluation:
    started = time.perf_counter()
    evaluation = evaluate(network, validation, scale, config.precision)  # ends on the host, so the device has finished
    watch.evaluation_seconds += time.perf_counter() - started
    return evaluation


def _require_finite(loss: float, epoch: float) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLossError(f"the loss became {loss} in epoch {math.ceil(epoch)}")
