"""Training of a full configuration on the folds of one dataset."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import Params, TrainingSettings
from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Fold, Windows, on_device
from cnn_lstm_hyperopt.errors import CheckpointError, MemoryLimitError
from cnn_lstm_hyperopt.metrics import class_weights
from cnn_lstm_hyperopt.models.build import build_network
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport, ProgressReport
from cnn_lstm_hyperopt.search import levels_of
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
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.fixed_length import FixedLength, train_fixed
from cnn_lstm_hyperopt.training.input_scales import InputScales
from cnn_lstm_hyperopt.training.linear_start import LinearStarts
from cnn_lstm_hyperopt.training.memory_saving import save_memory, used_mb
from cnn_lstm_hyperopt.training.runtime.allocator import give_back_pages, keep_freed_pages, reserve_blas_buffers
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.runtime.memory import peak_mb, reset_peak
from cnn_lstm_hyperopt.training.runtime.precision import Precision
from cnn_lstm_hyperopt.training.trial_costs import TrialCosts
from cnn_lstm_hyperopt.utils.heartbeat import beat
from cnn_lstm_hyperopt.utils.rng import stream_seed

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedNetwork:
    """The networks of a configuration after training.

    Attributes:
        networks: one network for each fold, in the order of the folds.
        outcome: result of the training.
        memory_mb: peak memory of the process or, on a GPU, of the device's allocator, in MB; None if the platform can't measure
            it.
        precision: precision of the training.
    """

    networks: tuple[Network, ...]
    outcome: Outcome
    memory_mb: float | None
    precision: Precision

    @property
    def network(self) -> Network:
        """The only network of a training on one fold.

        Raises:
            ValueError: there are several networks.
        """
        if len(self.networks) != 1:
            raise ValueError(f"trained on {len(self.networks)} folds: use networks, which has one per fold")
        return self.networks[0]


class TrialRunner:
    """Trainer of configurations, on data that is copied to the device once.

    A trial trains one network for each fold, all at the same time.

    Args:
        data: data of the trials.
        settings: training settings.
        seed: seed of the study.
        device: device of the trainings.
        speeds: speeds of the device, from which costs are predicted.
        metric: metric from which a trial's score is computed.
        memory_mb: memory limit of the process or, on a GPU, of the device's allocator; None without a limit.
        passes: number of passes over the training windows in an epoch.
        subset: whether a training with few training windows evaluates its epochs on a subset of the validation windows.
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
        passes: int = 1,
        subset: bool = True,
    ) -> None:
        self.data, self.device, self.speeds = data, device, speeds
        self.costs = TrialCosts(data, settings, speeds, passes, subset=subset)
        self._settings, self._seed, self._metric, self._memory_mb = settings, seed, metric, memory_mb
        keep_freed_pages()
        reserve_blas_buffers()
        self._folds = on_device(data.folds, device)
        self._input_scales, self._linear_starts = InputScales(), LinearStarts()

    def decision_weights(self, windows: Windows) -> NDArray[np.float64] | None:
        """Return the decision weights of a network trained on these windows; None: the most probable class is predicted."""
        balanced = self._settings.balances_classes(self._metric)
        return class_weights(windows.labels.cpu().numpy(), self.data.n_classes) if balanced else None

    def run_trial(
        self,
        number: int,
        params: Params,
        on_report: OnReport,
        *,
        checkpoint: Path | None = None,
        start: Checkpoint | None = None,
        memory_level: int = 0,
    ) -> TrainedNetwork:
        """Train a trial on the training windows of all folds.

        Args:
            number: number of the trial, which seeds its random streams unless the training resumes from a checkpoint.
            params: the full configuration.
            on_report: function that receives a report and returns a decision. A resumed trial sends its earlier evaluations again
                first.
            checkpoint: path of the file to which the state is written at the end of each epoch; the caller removes this file.
            start: checkpoint to resume from, which can't be used again. On a CPU, the result is bit for bit the same as without
                the interruption. The outcome counts epochs and seconds from the first epoch.
            memory_level: index of a level in the configuration's :func:`.memory_levels`.

        Raises:
            CheckpointError: ``start`` belongs to another training.
            MemoryLimitError: the training needs more than ``memory_mb``.
            OSError: the checkpoint can't be written.
        """
        epochs = self._settings.max_epochs
        return self._train(
            self._folds,
            params,
            epochs,
            number,
            "trial",
            on_report,
            checkpoint=checkpoint,
            start=start,
            memory_level=memory_level,
        )

    def confirm(
        self, number: int, params: Params, on_report: OnReport, *, checkpoint: Path | None = None
    ) -> TrainedNetwork:
        """Train a configuration as a trial, on the same folds and epochs, but with new random streams seeded by ``number``.

        The state is written to the file ``checkpoint``. If it exists, the training resumes from it. The caller removes the file.
        """
        return self._train_with_retries(
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
        """Train one network from new weights on the fold's training windows, with early stopping on its validation windows.

        Args:
            number: seed of the random streams, together with ``purpose``.
            params: the full configuration.
            fold: training and validation windows.
            epochs: maximum number of epochs.
            on_report: function that receives a report and returns a decision.
            purpose: name of the random streams; the same number with another purpose gives other random streams.
            checkpoint: path of the file to which the state of the training is written. If the file exists, the training resumes
                from the stored state. The caller removes the file.
        """
        return self._train_with_retries(
            on_device([fold], self.device), params, epochs, number, purpose, on_report, checkpoint
        )

    def refit(
        self,
        number: int,
        params: Params,
        fold: Fold,
        max_epochs: int,
        length: FixedLength,
        on_report: OnReport,
        *,
        checkpoint: Path | None = None,
    ) -> TrainedNetwork:
        """Repeat the training of :meth:`retrain` with the same ``number`` on other windows, for a fixed number of epochs.

        The fold's validation windows are not used. ``max_epochs`` is that of the earlier training.
        """
        fold = replace(fold, validation=fold.validation.subset(np.empty(0, dtype=np.int64)))
        return self._train_with_retries(
            on_device([fold], self.device), params, max_epochs, number, "retraining", on_report, checkpoint, length
        )

    def _train_with_retries(
        self,
        folds: Sequence[Fold],
        params: Params,
        max_epochs: int,
        number: int,
        purpose: str,
        on_report: OnReport,
        checkpoint: Path | None,
        length: FixedLength | None = None,
    ) -> TrainedNetwork:
        """Train networks, or resume from an existing checkpoint; after a lack of memory, retry at the next memory level."""
        train = partial(
            self._train, folds, params, max_epochs, number, purpose, on_report, checkpoint=checkpoint, length=length
        )

        def attempt(memory_level: int) -> TrainedNetwork:
            start = None if checkpoint is None else last_good(checkpoint)
            try:
                return train(start=start, memory_level=memory_level)
            except CheckpointError as error:
                log.warning("training from the beginning: %s", error)
                return train(memory_level=memory_level)

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
        memory_level: int = 0,
        length: FixedLength | None = None,
    ) -> TrainedNetwork:
        give_back_pages()
        reset_peak(self.device)
        config = TrainingConfig.from_params(
            params,
            self._settings,
            max_epochs=max_epochs,
            precision=self.costs.precision(params),
            early_reports=self.costs.early_reports(params) if purpose == "trial" else (),
            metric=self._metric,
            passes=self.costs.passes,
        )
        level = levels_of(params)[memory_level]
        config = replace(config, micro_batches=level.micro_batches, gradient_checkpointing=level.gradient_checkpointing)
        with one_thread():
            trainings = [
                self._fold_training(fold, params, config, number, purpose if place == 1 else f"{purpose}, fold {place}")
                for place, fold in enumerate(folds, start=1)
            ]
            listen = self._limiting_memory(on_report)
            on_epoch_end = None if checkpoint is None else _writing_to(checkpoint)
            if length is None:
                outcome = train_folds(trainings, config, on_report=listen, start=start, on_epoch_end=on_epoch_end)
            else:
                (training,) = trainings
                outcome = train_fixed(
                    training, config, length, on_report=listen, start=start, on_epoch_end=on_epoch_end
                )
        networks = tuple(training.network for training in trainings)
        return TrainedNetwork(networks, outcome, peak_mb(self.device), config.precision)

    def _limiting_memory(self, on_report: OnReport) -> OnReport:
        limit = self._memory_mb
        if limit is None:
            return on_report

        def watch(report: ProgressReport) -> Decision:
            decision = on_report(report)
            if decision.action is Action.CONTINUE and not report.last and (used := used_mb(self.device)) > limit:
                raise MemoryLimitError(
                    f"{used:.0f} MB are more than limits.memory_mb={limit:.0f} after {report.epoch:.2g} epochs",
                    field="limits.memory_mb",
                    code="over-memory-limit",
                )
            return decision

        return watch

    def _fold_training(
        self, fold: Fold, params: Params, config: TrainingConfig, number: int, purpose: str
    ) -> FoldTraining:
        """Create a network and its training on a fold; random streams depend on the study's seed, ``number`` and ``purpose``."""

        def seed(use: str) -> int:
            return stream_seed(self._seed, number, f"{purpose}: {use}")

        with seeded_dropout(seed("dropout"), self.device):
            network = build_network(self.costs.network_config(params), seed=seed("weights"), device=self.device)
            self._input_scales.apply(network, fold)  # before the linear start, which reads the inputs
            self._linear_starts.apply(network, fold)
            network.register_forward_hook(_beat)
            return FoldTraining(
                network,
                fold.train,
                fold.validation,
                config,
                scale=ValueScale(fold.value_mean, fold.value_std),
                generator=torch.Generator().manual_seed(seed("order and augmentation")),
                watched=self.costs.watched(fold),
            )


def _beat(*_: object) -> None:
    beat()  # sends a heartbeat once per batch, in training and in evaluation


def _writing_to(path: Path) -> OnEpochEnd:
    def on_epoch_end(decision: Decision, take: Callable[[], Checkpoint]) -> None:
        write_checkpoint(path, take())

    return on_epoch_end
