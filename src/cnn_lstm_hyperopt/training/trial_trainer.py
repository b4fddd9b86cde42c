"""One configuration on one dataset: networks, training, outcome. The bridge between parameters and torch."""

import gc
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from cnn_lstm_hyperopt.config import Configuration, Params, TrainingSettings
from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.data.dataset import TrialData
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.errors import CheckpointError, MemoryLimitError
from cnn_lstm_hyperopt.models import CnnLstm, NetworkConfig, Profile, build_network, profile
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import Cost, MemoryLevel, levels_of
from cnn_lstm_hyperopt.training import (
    Checkpoint,
    FoldTraining,
    OnEpochEnd,
    Outcome,
    TrainingConfig,
    ValueScale,
    last_good,
    train_folds,
    write_checkpoint,
)
from cnn_lstm_hyperopt.training.cost_model import CostModel, memory_mb
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages, reserve_blas_buffers
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.runtime.memory import is_out_of_memory, peak_mb, reset_peak, resident_mb
from cnn_lstm_hyperopt.training.runtime.precision import Precision
from cnn_lstm_hyperopt.utils.heartbeat import beat
from cnn_lstm_hyperopt.utils.rng import stream_seed
from cnn_lstm_hyperopt.utils.text import one_line

log = logging.getLogger(__name__)

EARLY_REPORTS = (0.25, 0.5, 0.75)
"""Shares of a long first epoch after which it is evaluated, too."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A configuration after training.

    Attributes:
        networks: one for each fold that it was trained on, in their order.
        memory_mb: peak of the process, or of the device's allocator; None where it can't be measured.
        precision: that it was trained in.
    """

    networks: tuple[CnnLstm, ...]
    outcome: Outcome
    memory_mb: float | None
    precision: Precision

    @property
    def network(self) -> CnnLstm:
        """That of a training on one fold, such as a finalist's.

        Raises:
            ValueError: there are several.
        """
        if len(self.networks) != 1:
            raise ValueError(f"trained on {len(self.networks)} folds, so there is a network for each: see networks")
        return self.networks[0]


class TrialRunner:
    """Trains configurations on data that lies on the device once, for all of them.

    A trial trains a network on each fold, all side by side.

    Args:
        data: what trials see.
        settings: of their training.
        seed: the study's.
        device: where they are trained.
        speeds: of the device.
        metric: what a trial's score is.
        memory_mb: what the process (on a GPU: the device's allocator) may use; a training that needs more is told so as one whose
            memory does not suffice. None: no limit.
    """

    def __init__(
        self,
        data: TrialData,
        settings: TrainingSettings,
        *,
        seed: int,
        device: torch.device,
        speeds: CostModel,
        metric: MetricName = "accuracy",
        memory_mb: float | None = None,
    ) -> None:
        self.data = data
        self.device = device
        self.speeds = speeds
        self._memory_mb = memory_mb
        self._settings = settings
        self._seed = seed
        keep_freed_pages()
        reserve_blas_buffers()
        self._metric = metric
        self._folds = _on_device(data.folds, device)

    def network_config(self, params: Params) -> NetworkConfig:
        """The network of a whole configuration (fixed parameters included)."""
        return NetworkConfig.from_params(
            params,
            input_dim=self.data.folds[0].train.input_dim,
            n_classes=self.data.n_classes,
            has_regression=self.data.has_regression,
        )

    def profile(self, params: Params) -> Profile:
        """Size and arithmetic of the configuration's network, without building it."""
        return profile(self.network_config(params), lookback=self.data.folds[0].train.lookback)

    def precision(self, params: Params) -> Precision:
        """What the configuration is trained in: by the settings, or what the cost model says is faster."""
        return self._shape(params)[2]

    def cost(self, params: Params, *, train_share: float = 1.0) -> Cost:
        """What a trial of the configuration is predicted to cost, on a share of the windows that trials have here; all folds."""
        network, batch_size, precision = self._shape(params)
        windows = [max(1, round(train_share * len(fold.train))) for fold in self.data.folds]
        steps = sum(math.ceil(count / batch_size) for count in windows) * self._settings.max_epochs
        optimizer = Configuration(params).text("training.optimizer")
        memory = memory_mb(network, batch_size, optimizer, precision, networks=len(self.data.folds))
        return Cost(
            seconds=steps * self.speeds.step_seconds(network, batch_size, precision),
            size_mb=network.size_mb,
            memory_mb=self.speeds.process_mb + memory,
        )

    def evaluation_seconds(self, params: Params) -> float:
        """What one evaluation of a trial, on the validation windows of all folds, is predicted to take."""
        return self._evaluation_seconds(params, sum(len(fold.validation) for fold in self.data.folds))

    def _evaluation_seconds(self, params: Params, windows: int) -> float:
        network, batch_size, precision = self._shape(params)
        return self.speeds.evaluation_seconds(network, batch_size, windows, precision)

    def epochs_within(self, params: Params, windows: int, seconds: float | None, most: int) -> int:
        """Epochs of one network on ``windows`` training windows that are predicted to fit into the seconds, at least one.

        Each ends with an evaluation on as many windows as the last fold validates on; there are ``most`` epochs at most.
        """
        if seconds is None:
            return most
        network, batch_size, precision = self._shape(params)
        epoch = math.ceil(windows / batch_size) * self.speeds.step_seconds(network, batch_size, precision)
        evaluation = self._evaluation_seconds(params, len(self.data.folds[-1].validation))
        return min(most, max(1, int(seconds / (epoch + evaluation))))

    def _shape(self, params: Params) -> tuple[Profile, int, Precision]:
        """What a step's cost depends on."""
        network, batch_size = self.profile(params), Configuration(params).whole_number("training.batch_size")
        if self._settings.precision != "auto":
            return network, batch_size, self._settings.precision
        return network, batch_size, self.speeds.faster_precision(network, batch_size)

    def run_trial(
        self,
        number: int,
        params: Params,
        on_report: OnReport,
        *,
        checkpoint: Path | None = None,
        start: Checkpoint | None = None,
        saving: int = 0,
    ) -> TrainedNetwork:
        """Trains a trial on all folds, on the search's share of their training windows.

        Args:
            number: seeds it, unless it goes on from a checkpoint.
            params: the whole configuration.
            on_report: told how it goes, and decides; in a trial that goes on it hears the earlier evaluations first.
            checkpoint: where its state is kept at the end of each epoch; whoever reads it there removes it.
            start: what to go on from: the trial becomes what the one that left it would have, to the bit on a CPU; the
                outcome counts from the first epoch on. It is used up.
            saving: place in the configuration's :func:`.memory_levels`, which save memory and mean the same.

        Raises:
            CheckpointError: ``start`` is of another training.
            MemoryLimitError: it needs more than ``memory_mb``.
            OSError: the checkpoint can't be written.
        """
        epochs = self._settings.max_epochs
        return self._train(
            self._folds, params, epochs, number, "trial", on_report, checkpoint=checkpoint, start=start, saving=saving
        )

    def confirm(
        self, number: int, params: Params, on_report: OnReport, *, checkpoint: Path | None = None
    ) -> TrainedNetwork:
        """Trains a configuration as a trial does, on the same folds for as many epochs; ``number`` seeds its fresh streams.

        Its state is kept in ``checkpoint``, from which it goes on if that is there, until the caller removes it.
        """
        return self._train_frugally(
            self._folds, params, self._settings.max_epochs, number, "confirmation", on_report, checkpoint
        )

    def retrain(
        self,
        number: int,
        params: Params,
        fold: Fold,
        epochs: int,
        on_report: OnReport,
        *,
        purpose: str = "retraining",
        checkpoint: Path | None = None,
    ) -> TrainedNetwork:
        """Trains one network from scratch on the fold's training windows, stopped on its validation windows.

        Args:
            number: seeds it, together with ``purpose``.
            params: the whole configuration.
            fold: all training windows, say, where trials have a share of them.
            epochs: at most.
            on_report: told how it goes, and decides.
            purpose: names the streams, so that one number serves several uses.
            checkpoint: where its state is kept, and from which it goes on if that is there, until the caller removes it.
        """
        return self._train_frugally(
            _on_device([fold], self.device), params, epochs, number, purpose, on_report, checkpoint
        )

    def _train_frugally(
        self,
        folds: Sequence[Fold],
        params: Params,
        max_epochs: int,
        number: int,
        purpose: str,
        on_report: OnReport,
        checkpoint: Path | None,
    ) -> TrainedNetwork:
        """Goes on from the checkpoint, if there is one; saves memory, step by step, where it does not suffice."""

        train = partial(self._train, folds, params, max_epochs, number, purpose, on_report, checkpoint=checkpoint)

        def attempt(saving: int) -> TrainedNetwork:
            start = None if checkpoint is None else last_good(checkpoint)
            try:
                return train(start=start, saving=saving)
            except CheckpointError as error:
                log.warning("trained from the beginning: %s", error)
                return train(saving=saving)

        return save_memory(attempt, self.device, levels_of(params))[0]

    def _train(
        self,
        folds: Sequence[Fold],
        params: Params,
        max_epochs: int,
        number: int,
        purpose: str,
        on_report: OnReport,
        *,
        checkpoint: Path | None = None,
        start: Checkpoint | None = None,
        saving: int = 0,
    ) -> TrainedNetwork:
        give_back_pages()
        reset_peak(self.device)
        config = TrainingConfig.from_params(
            params,
            self._settings,
            max_epochs=max_epochs,
            precision=self.precision(params),
            early_reports=self._early_reports(params) if purpose == "trial" else (),
            metric=self._metric,
        )
        level = levels_of(params)[saving]
        config = replace(config, micro_batches=level.micro_batches, gradient_checkpointing=level.gradient_checkpointing)
        with one_thread():
            trainings = [
                self._fold_training(fold, params, config, number, purpose if place == 1 else f"{purpose}, fold {place}")
                for place, fold in enumerate(folds, start=1)
            ]
            outcome = train_folds(
                trainings,
                config,
                on_report=self._watching_memory(on_report),
                start=start,
                on_epoch_end=None if checkpoint is None else _keep_in(checkpoint),
            )
        networks = tuple(training.network for training in trainings)
        return TrainedNetwork(networks, outcome, peak_mb(self.device), config.precision)

    def _watching_memory(self, on_report: OnReport) -> OnReport:
        limit = self._memory_mb
        if limit is None:
            return on_report

        def watch(report: ProgressReport) -> Decision:
            decision = on_report(report)
            if decision.action is Action.CONTINUE and not report.last and (used := _used_mb(self.device)) > limit:
                raise MemoryLimitError(
                    f"{used:.0f} MB are more than limits.memory_mb={limit:.0f} after {report.epoch:.2g} epochs"
                )
            return decision

        return watch

    def _fold_training(
        self, fold: Fold, params: Params, config: TrainingConfig, number: int, purpose: str
    ) -> FoldTraining:
        """A new network on a fold, with streams of its own; the first fold's are those of a trial with one fold."""

        def seed(use: str) -> int:
            return stream_seed(self._seed, number, f"{purpose}: {use}")

        with seeded_dropout(seed("dropout"), self.device):
            network = build_network(self.network_config(params), seed=seed("weights"), device=self.device)
            network.register_forward_hook(_beat)
            return FoldTraining(
                network,
                fold.train,
                fold.validation,
                config,
                scale=ValueScale(fold.value_mean, fold.value_std),
                generator=torch.Generator().manual_seed(seed("order and augmentation")),
            )

    def _early_reports(self, params: Params) -> tuple[float, ...]:
        """Where the first epoch is evaluated before its end, when it is predicted to be a long one."""
        epoch_seconds = self.cost(params).seconds / self._settings.max_epochs
        return EARLY_REPORTS if epoch_seconds > self._settings.long_epoch_seconds else ()


def _beat(*_: object) -> None:
    beat()  # once a batch, in training and in evaluation


def _on_device(folds: Sequence[Fold], device: torch.device) -> tuple[Fold, ...]:
    """The folds with their tensors on ``device``; a series that several windows share is copied once."""
    copies: dict[int, Tensor] = {}

    def moved(windows: Windows) -> Windows:
        placed = windows.to(device, series=copies.get(id(windows.series)))
        copies[id(windows.series)] = placed.series
        return placed

    return tuple(replace(fold, train=moved(fold.train), validation=moved(fold.validation)) for fold in folds)


def save_memory(
    attempt: Callable[[int], TrainedNetwork], device: torch.device, levels: Sequence[MemoryLevel], first: int = 0
) -> tuple[TrainedNetwork, int]:
    """Trains with more and more memory saved as long as it does not suffice.

    Args:
        attempt: trains with a place in ``levels``.
        device: whose memory is given back in between.
        levels: of memory saved, in the order of trying.
        first: place to begin with.

    Returns:
        What was trained, and the place.

    Raises:
        MemoryError: memory does not suffice at all, in whatever words that was said.
        Exception: of ``attempt``, for another reason.
    """
    saving = first
    while True:
        try:
            return attempt(saving), saving
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            if saving + 1 >= len(levels):
                raise error if isinstance(error, MemoryError) else MemoryError(one_line(error)) from error
            saving += 1
            log.warning("memory did not suffice (%s); once more with %s", one_line(error), levels[saving])
        _release_memory(device)  # here, where the exception no longer holds what its frames held


def _release_memory(device: torch.device) -> None:
    gc.collect()
    give_back_pages()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _used_mb(device: torch.device) -> float:
    return torch.cuda.memory_allocated(device) / 1e6 if device.type == "cuda" else resident_mb()


def _keep_in(path: Path) -> OnEpochEnd:
    def on_epoch_end(decision: Decision, take: Callable[[], Checkpoint]) -> None:
        write_checkpoint(path, take())

    return on_epoch_end
