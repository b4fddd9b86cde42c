"""The training loop: one screen, one callback."""

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import CnnLstm
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.training.config import TrainingConfig
from cnn_lstm_hyperopt.training.dropout import DropoutSchedule
from cnn_lstm_hyperopt.training.metrics import Evaluation, ValueScale, evaluate
from cnn_lstm_hyperopt.training.patience import Patience
from cnn_lstm_hyperopt.training.schedules import SCHEDULES
from cnn_lstm_hyperopt.training.step import Stepper

FIRST_LOOK = 4
"""Steps after which a training first says what it will cost; the first step warms up and is left out of the slope."""
LOOK_SECONDS = 1.0
"""Seconds between two reports within an epoch, so that a long epoch can be interrupted."""


class NonFiniteLossError(Exception):
    """The loss became NaN or infinite; the text names the epoch."""


@dataclass(frozen=True)
class Outcome:
    """What a training gave; the network holds the weights of the best epoch.

    Attributes:
        best_epoch: epoch of the lowest validation loss; 0 when no epoch was finished.
        best: evaluation at that epoch, None when no epoch was finished.
        epochs: epochs done, fractional when it was ended within one.
        seconds: wall seconds in training steps.
        projected_seconds: what all ``max_epochs`` would take; None when it could not be told.
        decision: what ended it: CONTINUE when it ran to its own end (all epochs, or patience).
        evaluation_seconds: wall seconds in evaluations.
    """

    best_epoch: int
    best: Evaluation | None
    epochs: float
    seconds: float
    projected_seconds: float | None
    decision: Decision
    evaluation_seconds: float = 0.0


class _Stopwatch:
    """Seconds in training steps, and what the rest will take; the first step is left out of the speed."""

    def __init__(self, device: torch.device, total_steps: int) -> None:
        self._device, self._total_steps = device, total_steps
        self._started = self._reported = 0.0
        self._first: float | None = None
        self._steps = 0
        self.seconds = 0.0

    def start(self) -> None:
        self._started = self._reported = time.perf_counter()

    def step(self) -> bool:
        """Counts a step; whether it is time for a report within the epoch."""
        self._steps += 1
        if self._first is None:
            self._first = self.stop()
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
        if self._first is None or self._steps < 2:
            return None
        per_step = (self.seconds - self._first) / (self._steps - 1)
        return self.seconds + per_step * (self._total_steps - self._steps)


def train(
    network: CnnLstm,
    windows: Windows,
    validation: Windows,
    config: TrainingConfig,
    *,
    scale: ValueScale,
    generator: torch.Generator,
    on_report: OnReport,
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

    Raises:
        NonFiniteLossError: the training or validation loss is NaN or infinite.
    """
    stepper = Stepper(network, windows, config, scale=scale, generator=generator)
    schedule = SCHEDULES[config.scheduler](stepper.optimizer, config.max_epochs)
    dropout = DropoutSchedule(network, config.dropout_schedule, config.max_epochs)
    patience = Patience(minimum=config.min_patience, factor=config.patience_factor)
    steps = math.ceil(len(windows) / config.batch_size)
    early = {math.ceil(share * steps) for share in config.early_reports}
    watch = _Stopwatch(windows.device, steps * config.max_epochs)
    evaluation_seconds = 0.0
    best: Evaluation | None = None
    best_weights: dict[str, Tensor] = {}
    progress, decision = 0.0, CONTINUE

    for epoch in range(1, config.max_epochs + 1):
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
                    seen, took = _timed_evaluation(network, validation, scale, config)
                    evaluation_seconds += took
                    _require_finite(seen.loss, progress)
                    network.train()
                    report = replace(report, accuracy=seen.accuracy, loss=seen.loss)
                decision = on_report(report)
                if decision.action is not Action.CONTINUE:
                    break
                watch.start()
        if decision.action is not Action.CONTINUE:
            break
        watch.stop()
        progress = float(epoch)
        evaluation, took = _timed_evaluation(network, validation, scale, config)
        evaluation_seconds += took
        _require_finite(float(total.sum()) + evaluation.loss, progress)
        if patience.improved(epoch, evaluation.loss):
            best = evaluation
            best_weights = {name: weight.detach().clone() for name, weight in network.state_dict().items()}
        last = epoch == config.max_epochs or patience.exhausted(epoch)
        decision = on_report(
            ProgressReport(progress, watch.seconds, watch.projected, evaluation.accuracy, evaluation.loss, last)
        )
        if decision.action is not Action.CONTINUE or last:
            break
        schedule.step(evaluation.loss)
        stepper.balancing.end_epoch(*(total / steps).tolist())

    dropout.restore()
    if best_weights:
        network.load_state_dict(best_weights)
    return Outcome(patience.best_epoch, best, progress, watch.seconds, watch.projected, decision, evaluation_seconds)


def _timed_evaluation(
    network: CnnLstm, validation: Windows, scale: ValueScale, config: TrainingConfig
) -> tuple[Evaluation, float]:
    started = time.perf_counter()
    evaluation = evaluate(network, validation, scale, config.precision)  # ends on the host, so the device has finished
    return evaluation, time.perf_counter() - started


def _require_finite(loss: float, epoch: float) -> None:
    if not math.isfinite(loss):
        raise NonFiniteLossError(f"the loss became {loss} in epoch {math.ceil(epoch)}")
