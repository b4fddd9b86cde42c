"""Training loop of one or several folds.

In each epoch, the folds train one after the other; a report contains the mean over the folds.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.training.checkpoint import Checkpoint, Stateful
from cnn_lstm_hyperopt.training.fold import FoldTraining, training_facts
from cnn_lstm_hyperopt.training.outcome import NonFiniteLossError, Outcome
from cnn_lstm_hyperopt.training.patience import Patience
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.stopwatch import Stopwatch
from cnn_lstm_hyperopt.training.validation import Evaluation, ValueScale, over_folds

OnEpochEnd = Callable[[Decision, Callable[[], Checkpoint]], None]
"""Function that is called after each epoch with the decision and a checkpoint factory; the factory copies no tensors."""


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
    """Train one network. The arguments are described in :class:`FoldTraining` and :func:`train_folds`."""
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
    """Train the networks of all folds until all epochs are done, patience is exhausted, or ``on_report`` ends the training.

    The networks of all folds train for an epoch, then all networks are evaluated. Reports, patience and the best epoch use the
    mean over the folds, so the caller gets the reports of a single training.

    Args:
        folds: one or more folds, on one device, with networks of the same shape. At the end, each network has its weights of the
            best epoch.
        config: training settings, equal to the settings of the folds.
        on_report: function that is called with an evaluation after each epoch and at ``config.early_reports``. After the first
            steps and about once a second within an epoch, the function is called without an evaluation.
        start: checkpoint to resume from; its tensors are used without a copy. The reports of the checkpoint are sent first, so
            that ``on_report`` gets the whole learning curve; only the answer to the last report can end the training. If the
            checkpoint is finished, no network is trained and all answers are ignored.
        on_epoch_end: function that is called after each decision at the end of an epoch, including the last epoch, and after the
            reports in ``start``.

    Raises:
        CheckpointError: ``start`` belongs to another training.
        NonFiniteLossError: the training or validation loss is NaN or infinite, or the score is undefined.
    """
    return Lockstep(folds, config, on_report, on_epoch_end).run(start)


class Lockstep:
    """Training of several folds with one stopwatch, one learning curve and one patience.

    Args:
        epochs: number of epochs of the training; None: ``config.max_epochs``.

    Attributes:
        progress: number of epochs done, plus the share of the current epoch's steps that are finished in all folds.
        decision: decision that the caller returned for the last report.
    """

    def __init__(
        self,
        folds: Sequence[FoldTraining],
        config: TrainingConfig,
        on_report: OnReport,
        on_epoch_end: OnEpochEnd | None,
        *,
        epochs: int | None = None,
    ) -> None:
        self._folds, self._config = folds, config
        self._epochs = config.max_epochs if epochs is None else epochs
        self._on_report, self._on_epoch_end = on_report, on_epoch_end
        self._steps = tuple(fold.steps for fold in folds)  # in an epoch
        self.watch = Stopwatch(folds[0].windows.device, sum(self._steps) * self._epochs)
        self.patience = Patience(minimum=config.min_patience, factor=config.patience_factor)
        self._epoch, self.progress, self.decision = 0, 0.0, CONTINUE
        self._complete = False  # all epochs are done, or patience is exhausted
        self._reports: list[ProgressReport] = []  # with an evaluation
        self._about = training_facts(folds, config)
        self._parts: dict[str, Stateful] = {
            "patience": self.patience,
            "stopwatch": self.watch,
            **{f"fold {number}": fold for number, fold in enumerate(folds, start=1)},
        }

    def run(self, start: Checkpoint | None) -> Outcome:
        """Train to the end, from the checkpoint ``start`` if there is one, and return the result."""
        if start is not None:
            self.resume_from(start)
        while not self.over():
            self.train_epoch()
        for fold in self._folds:
            fold.finish()
            if fold.best_is_partly_evaluated:
                with self.watch.evaluating():
                    evaluation = fold.evaluate_best()
                if self.decision.action is not Action.STOP:  # an interrupted training continues later
                    self._require_valid(fold, evaluation, evaluation.loss)
        best = [fold.best for fold in self._folds if fold.best is not None and self.patience.best_epoch > 0]
        return Outcome(
            best_epoch=self.patience.best_epoch,
            best=over_folds(best) if best else None,
            epochs=self.progress,
            seconds=self.watch.seconds,
            projected_seconds=self.watch.projected,
            decision=self.decision,
            evaluation_seconds=self.watch.evaluation_seconds,
            paused_seconds=self.watch.paused_seconds,
            losses=tuple(each.loss for each in self._reports if each.loss is not None and each.epoch.is_integer()),
        )

    def over(self) -> bool:
        """Return whether the training is over."""
        return self._complete or self.decision.action is not Action.CONTINUE

    def resume_from(self, start: Checkpoint) -> None:
        """Restore the state of the checkpoint and send its reports to the caller again."""
        start.restore(self._parts, self._about)
        self._epoch, self.progress, self._complete = start.epoch, float(start.epoch), start.finished
        self._reports.extend(start.reports)
        for report in start.reports:
            self.decision = self._on_report(replace(report, again=True))
        if start.finished:
            self.decision = start.decision
        self._notify_epoch_end()

    def train_epoch(self) -> None:
        """Train and evaluate each fold for an epoch, unless a decision within the epoch ends the training."""
        self._epoch += 1
        for fold in self._folds:
            fold.start_epoch(self._epoch)
        for stop in self._stops():
            self._train_until(stop)
            if self.over():
                return
            evaluations = self._evaluate()
            mean = over_folds(evaluations)
            if stop != self._steps:  # an evaluation within the first epoch is reported, but can't be the best epoch
                self._report(mean)
                if self.over():
                    return
        if self.patience.improved(self._epoch, mean.loss):
            for fold, evaluation in zip(self._folds, evaluations, strict=True):
                fold.save_best(evaluation)
        self._complete = self._epoch == self._epochs or self.patience.exhausted(self._epoch)
        self._report(mean)
        if not self._complete:
            # Even if a decision ends the training, because a checkpoint has the state at the start of the next epoch. The
            # learning rate depends on the fold's own loss, not on the mean, so that each network trains as it would alone.
            for fold, evaluation in zip(self._folds, evaluations, strict=True):
                fold.end_epoch(evaluation.loss)
        self._notify_epoch_end()

    def _stops(self) -> list[tuple[int, ...]]:
        """Return, for each evaluation of all folds in this epoch, the number of steps of each fold before the evaluation.

        Networks are evaluated at the early reports in the first epoch, and at the end of each epoch.
        """
        shares = self._config.early_reports if self._epoch == 1 else ()
        early = {tuple(math.ceil(share * steps) for steps in self._steps) for share in shares}
        return sorted(early | {self._steps})

    def _train_until(self, stop: tuple[int, ...]) -> None:
        """Train each fold up to its number of steps in ``stop``; meanwhile, send reports without an evaluation."""
        self.watch.reported()
        for fold, last_step in zip(self._folds, stop, strict=True):
            with fold.in_training():
                self.watch.start()
                while fold.done < last_step:
                    fold.step()
                    if self.watch.step() and self._steps_done < sum(stop):
                        self.watch.stop()
                        self._require_finite(fold, fold.loss_so_far())
                        self._report(None)
                        if self.over():
                            return
                        self.watch.start()
                        self.watch.reported()
                self.watch.stop()

    @property
    def _steps_done(self) -> int:
        """Number of finished steps of all folds in this epoch."""
        return sum(fold.done for fold in self._folds)

    def _evaluate(self) -> list[Evaluation]:
        """Evaluate each fold; raise an error if a loss is not finite or a score is undefined."""
        with self.watch.evaluating():
            evaluations = [fold.evaluate() for fold in self._folds]  # returns host data, so the device has finished
        for fold, evaluation in zip(self._folds, evaluations, strict=True):
            self._require_valid(fold, evaluation, fold.loss_so_far() + evaluation.loss)
        return evaluations

    def _require_finite(self, fold: FoldTraining, loss: float) -> None:
        if not math.isfinite(loss):
            raise NonFiniteLossError(f"the loss became {loss} {self._place(fold)}")

    def _require_valid(self, fold: FoldTraining, evaluation: Evaluation, loss: float) -> None:
        """Raise an error if the loss is not finite or the score of the evaluation is undefined."""
        self._require_finite(fold, loss)
        if not math.isfinite(evaluation.score):
            raise NonFiniteLossError(
                f"the {self._config.metric} is {evaluation.score} {self._place(fold)}: it is undefined on these"
                f" {len(evaluation.predictions.probabilities)} validation windows; they may all have the same class"
            )

    def _place(self, fold: FoldTraining) -> str:
        several = len(self._folds) > 1
        return f"in epoch {self._epoch}" + (f" of fold {self._folds.index(fold) + 1}" if several else "")

    def _report(self, evaluation: Evaluation | None) -> None:
        """Send a report, with or without an evaluation, to the caller and store the caller's decision."""
        self.progress = self._epoch - 1 + self._steps_done / sum(self._steps)
        report = ProgressReport(self.progress, self.watch.seconds, self.watch.projected)
        if evaluation is not None:
            report = replace(report, score=evaluation.score, loss=evaluation.loss, last=self._complete)
            self._reports.append(report)
        self.decision = self._on_report(report)

    def _notify_epoch_end(self) -> None:
        if self._on_epoch_end is not None:
            self._on_epoch_end(self.decision, self._checkpoint)

    def _checkpoint(self) -> Checkpoint:
        """Return a checkpoint of the state at the end of the current epoch."""
        return Checkpoint(
            name=f"the checkpoint of epoch {self._epoch}",
            about=self._about,
            epoch=self._epoch,
            finished=self._complete,
            decision=self.decision,
            reports=tuple(self._reports),
            states={name: part.state_dict() for name, part in self._parts.items()},
        )
