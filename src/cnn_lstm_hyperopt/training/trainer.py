"""The training loop: one flow for one fold and for several side by side, one callback."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.training.checkpoint import Checkpoint, Stateful
from cnn_lstm_hyperopt.training.fold import FoldTraining, training_facts
from cnn_lstm_hyperopt.training.outcome import NonFiniteLossError, Outcome
from cnn_lstm_hyperopt.training.patience import Patience
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.validation import Evaluation, ValueScale, over_folds
from cnn_lstm_hyperopt.utils.processes import times_continued

log = logging.getLogger(__name__)

FIRST_LOOK = 4
"""Steps after which a training first says what it will cost; the first step warms up and is left out of the slope."""
LOOK_SECONDS = 1.0
"""Seconds between two reports within an epoch, so that a long epoch can be interrupted."""

OnEpochEnd = Callable[[Decision, Callable[[], Checkpoint]], None]
"""Hears what was decided after an epoch, and is handed what takes the checkpoint, which costs no copy, if it wants one."""


class _Stopwatch:
    """Seconds in training steps, and what the rest will take; each run's first step is left out of the speed: it warms up.

    A process that was stopped and continued within a step (Ctrl-Z, ``kill -STOP``) did not train in between: that step counts
    like the mean of the steps before, the first one like the seconds that the process computed. Only the system's signal decides
    that: a step that is slow on a busy machine counts as it was.
    """

    def __init__(self, device: torch.device, total_steps: int) -> None:
        self._device, self._total_steps = device, total_steps
        self._started = self._reported = 0.0
        self._cold = True
        self._steps = self._first_steps = 0
        self._first_seconds = 0.0
        self.seconds = self.evaluation_seconds = self.paused_seconds = 0.0
        self._step_ended = self._computed = 0.0
        self._continued = times_continued()

    def start(self) -> None:
        self._started = self._step_ended = time.perf_counter()
        self._computed, self._continued = time.process_time(), times_continued()

    def reported(self) -> None:
        """From here on it is a while until the next report within an epoch is due."""
        self._reported = time.perf_counter()

    def step(self) -> bool:
        """Counts a step; whether it is time for a report within the epoch."""
        if times_continued() != self._continued:
            self._leave_pause_out()
        self._step_ended = time.perf_counter()
        self._steps += 1
        if self._cold:
            before, self._cold = self.seconds, False
            self._first_steps += 1
            self._first_seconds += self.stop() - before
            self.start()
            self.reported()
        return self._steps == FIRST_LOOK or self._step_ended - self._reported > LOOK_SECONDS

    def _leave_pause_out(self) -> None:
        """The process was stopped since the last step ended."""
        self._continued = times_continued()
        taken = time.perf_counter() - self._step_ended
        trained = self.seconds + self._step_ended - self._started
        usual = trained / self._steps if self._steps else time.process_time() - self._computed
        pause = max(0.0, taken - usual)
        self._started += pause
        self._reported += pause
        self.paused_seconds += pause
        log.info(
            "the process was stopped for about %.1f s within a training step, which do not count as training", pause
        )

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
            "paused_seconds": self.paused_seconds,
            "steps": self._steps,
            "first_steps": self._first_steps,
            "first_seconds": self._first_seconds,
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.seconds, self.evaluation_seconds = state["seconds"], state["evaluation_seconds"]
        self.paused_seconds = state.get("paused_seconds", 0.0)  # an earlier version kept none
        self._steps, self._first_steps = state["steps"], state["first_steps"]
        self._first_seconds = state["first_seconds"]


def train(
    network: Network,
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
    """Trains one network: :func:`train_folds` of a single :class:`FoldTraining`, where the arguments are explained."""
    fold = FoldTraining(network, windows, validation, config, scale=scale, generator=generator)
    return train_folds([fold], config, on_report=on_report, start=start, on_epoch_end=on_epoch_end)


def train_folds(
    folds: Sequence[FoldTraining],
    config: TrainingConfig,
    *,
    on_report: OnReport,
    start: Checkpoint | None = None,
    on_epoch_end: OnEpochEnd | None = None,
) -> Outcome:
    """Trains until all epochs are done, patience is exhausted, or ``on_report`` says so.

    All folds train for an epoch, then all are evaluated: what is told, and what patience and the best epoch go by, is the mean
    over them. So several folds look like one to whoever listens, and all of them end when it says so.

    Args:
        folds: at least one, on one device, their networks of one shape; each network ends with its weights of the best epoch.
        config: what is done, and for how long; what the folds were made with.
        on_report: told after every epoch and at ``config.early_reports`` with an evaluation; after the first steps, and about
            once a second in between, with seconds alone.
        start: goes on from there, with the generators as they stood, and uses it up. What was reported with an evaluation is
            told again first, so that the listener knows the whole curve; of the answers only the last can end the training.
            From a finished one nothing is trained and no answer counts: the outcome and the networks are those it ended with.
        on_epoch_end: after each decision at the end of an epoch (the one in ``start``, too), also where it ends the training.

    Raises:
        CheckpointError: ``start`` is of another training.
        NonFiniteLossError: the training or validation loss is NaN or infinite, or the score is not defined.
    """
    run = _Lockstep(folds, config, on_report, on_epoch_end)
    if start is not None:
        run.go_on_from(start)
    watch = run.watch
    while not run.over():
        run.train_epoch()
    for fold in folds:
        fold.finish()
    best = [fold.best for fold in folds if fold.best is not None]
    return Outcome(
        best_epoch=run.patience.best_epoch,
        best=over_folds(best) if best else None,
        epochs=run.progress,
        seconds=watch.seconds,
        projected_seconds=watch.projected,
        decision=run.decision,
        evaluation_seconds=watch.evaluation_seconds,
        paused_seconds=watch.paused_seconds,
    )


class _Lockstep:
    """What the folds of a training share: one clock, one curve, one patience, one end.

    Attributes:
        progress: epochs done; within one, its share of the steps of all folds.
        decision: the last answer to a report.
    """

    def __init__(
        self,
        folds: Sequence[FoldTraining],
        config: TrainingConfig,
        on_report: OnReport,
        on_epoch_end: OnEpochEnd | None,
    ) -> None:
        self._folds, self._config = folds, config
        self._on_report, self._on_epoch_end = on_report, on_epoch_end
        self._steps = tuple(fold.steps for fold in folds)  # of each in an epoch
        self.watch = _Stopwatch(folds[0].windows.device, sum(self._steps) * config.max_epochs)
        self.patience = Patience(minimum=config.min_patience, factor=config.patience_factor)
        self._epoch, self.progress, self.decision = 0, 0.0, CONTINUE
        self._ran_out = False
        self._reports: list[ProgressReport] = []  # those with an evaluation
        self._about = training_facts(folds, config)
        self._parts: dict[str, Stateful] = {
            "patience": self.patience,
            "stopwatch": self.watch,
            **{f"fold {number}": fold for number, fold in enumerate(folds, start=1)},
        }

    def over(self) -> bool:
        """Whether there is nothing more to train."""
        return self._ran_out or self.decision.action is not Action.CONTINUE

    def go_on_from(self, start: Checkpoint) -> None:
        """Takes its state and tells its reports again."""
        start.restore(self._parts, self._about)
        self._epoch, self.progress, self._ran_out = start.epoch, float(start.epoch), start.finished
        self._reports.extend(start.reports)
        for report in start.reports:
            self.decision = self._on_report(replace(report, again=True))
        if start.finished:
            self.decision = start.decision
        self._tell_epoch_end()

    def train_epoch(self) -> None:
        """One epoch of each fold, unless an answer within it ends the training."""
        self._epoch += 1
        for fold in self._folds:
            fold.start_epoch(self._epoch)
        for stop in self._stops():
            self._train_until(stop)
            if self.over():
                return
            evaluations = self._evaluate()
            mean = over_folds(evaluations)
            if stop != self._steps:  # within the first epoch: told, but never the best
                self._tell(mean)
                if self.over():
                    return
        if self.patience.improved(self._epoch, mean.loss):
            for fold, evaluation in zip(self._folds, evaluations, strict=True):
                fold.keep(evaluation)
        self._ran_out = self._epoch == self._config.max_epochs or self.patience.exhausted(self._epoch)
        self._tell(mean)
        if not self._ran_out:
            # Also when an answer ends it here: a checkpoint stands at the beginning of the next epoch. The learning rate follows
            # the fold's own loss, not the mean, so that a network learns as it would alone.
            for fold, evaluation in zip(self._folds, evaluations, strict=True):
                fold.end_epoch(evaluation.loss)
        self._tell_epoch_end()

    def _stops(self) -> list[tuple[int, ...]]:
        """After how many steps of each fold all are evaluated: at the end of the epoch and, within the first, before it."""
        shares = self._config.early_reports if self._epoch == 1 else ()
        early = {tuple(math.ceil(share * steps) for steps in self._steps) for share in shares}
        return sorted(early | {self._steps})

    def _train_until(self, stop: tuple[int, ...]) -> None:
        """Trains each fold up to its step; tells of seconds alone in between."""
        self.watch.reported()
        for fold, last_step in zip(self._folds, stop, strict=True):
            with fold.in_training():
                self.watch.start()
                while fold.done < last_step:
                    fold.step()
                    if self.watch.step() and self._steps_done < sum(stop):
                        self.watch.stop()
                        self._require_finite(fold, fold.loss_so_far())
                        self._tell(None)
                        if self.over():
                            return
                        self.watch.start()
                        self.watch.reported()
                self.watch.stop()

    @property
    def _steps_done(self) -> int:
        """Of all folds, in this epoch."""
        return sum(fold.done for fold in self._folds)

    def _evaluate(self) -> list[Evaluation]:
        """Of each fold."""
        started = time.perf_counter()
        evaluations = [fold.evaluate() for fold in self._folds]  # ends on the host, so the device has finished
        self.watch.evaluation_seconds += time.perf_counter() - started
        for fold, evaluation in zip(self._folds, evaluations, strict=True):
            self._require_finite(fold, fold.loss_so_far() + evaluation.loss)
            if not math.isfinite(evaluation.score):
                raise NonFiniteLossError(
                    f"the {self._config.metric} is {evaluation.score} {self._place(fold)}: it is not defined on these"
                    f" {len(fold.validation)} validation windows, which may all have one class"
                )
        return evaluations

    def _require_finite(self, fold: FoldTraining, loss: float) -> None:
        if not math.isfinite(loss):
            raise NonFiniteLossError(f"the loss became {loss} {self._place(fold)}")

    def _place(self, fold: FoldTraining) -> str:
        several = len(self._folds) > 1
        return f"in epoch {self._epoch}" + (f" of fold {self._folds.index(fold) + 1}" if several else "")

    def _tell(self, evaluation: Evaluation | None) -> None:
        """Reports how far it is, with an evaluation or seconds alone, and takes the answer."""
        self.progress = self._epoch - 1 + self._steps_done / sum(self._steps)
        report = ProgressReport(self.progress, self.watch.seconds, self.watch.projected)
        if evaluation is not None:
            report = replace(report, score=evaluation.score, loss=evaluation.loss, last=self._ran_out)
            self._reports.append(report)
        self.decision = self._on_report(report)

    def _tell_epoch_end(self) -> None:
        if self._on_epoch_end is not None:
            self._on_epoch_end(self.decision, self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        """Of the training as it stands after the epoch."""
        return Checkpoint(
            name=f"the checkpoint of epoch {self._epoch}",
            about=self._about,
            epoch=self._epoch,
            finished=self._ran_out,
            decision=self.decision,
            reports=tuple(self._reports),
            states={name: part.state_dict() for name, part in self._parts.items()},
        )
