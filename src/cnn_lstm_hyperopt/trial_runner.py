"""One configuration on one dataset: network, training, outcome. The bridge between parameters and torch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from cnn_lstm_hyperopt.config import Params, TrainingSettings
from cnn_lstm_hyperopt.data.dataset import TrialData
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import CnnLstm, NetworkConfig, Profile, build_network, profile
from cnn_lstm_hyperopt.progress import Action, Decision, OnReport
from cnn_lstm_hyperopt.randomness import stream_seed
from cnn_lstm_hyperopt.search import Cost
from cnn_lstm_hyperopt.training import (
    Checkpoint,
    OnEpochEnd,
    Outcome,
    TrainingConfig,
    ValueScale,
    read_checkpoint,
    train,
    write_checkpoint,
)
from cnn_lstm_hyperopt.training.allocator import give_back_pages, keep_freed_pages
from cnn_lstm_hyperopt.training.cost import CostModel, memory_mb
from cnn_lstm_hyperopt.training.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.memory import peak_mb, reset_peak
from cnn_lstm_hyperopt.training.precision import Precision

EARLY_REPORTS = (0.25, 0.5, 0.75)
"""Shares of a long first epoch after which it is evaluated, too."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network after training.

    Attributes:
        memory_mb: peak of the process, or of the device's allocator; None where it can't be measured.
        precision: that it was trained in.
    """

    network: CnnLstm
    outcome: Outcome
    memory_mb: float | None
    precision: Precision


class TrialRunner:
    """Trains configurations on data that lies on the device once, for all of them."""

    def __init__(
        self, data: TrialData, settings: TrainingSettings, *, seed: int, device: torch.device, speeds: CostModel
    ) -> None:
        self.data = data
        self.device = device
        self.speeds = speeds
        self._settings = settings
        self._seed = seed
        keep_freed_pages()
        (fold,) = data.folds
        self.scale = ValueScale(fold.value_mean, fold.value_std)
        self._train_windows = fold.train.to(device)
        self._validation = fold.validation.to(device)

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
        """What a trial of the configuration is predicted to cost, on a share of the windows that trials have here."""
        network, batch_size, precision = self._shape(params)
        windows = max(1, round(train_share * len(self.data.folds[0].train)))
        steps = math.ceil(windows / batch_size) * self._settings.max_epochs
        memory = memory_mb(network, batch_size, str(params["training.optimizer"]), precision)
        return Cost(
            seconds=steps * self.speeds.step_seconds(network, batch_size, precision),
            size_mb=network.size_mb,
            memory_mb=self.speeds.process_mb + memory,
        )

    def evaluation_seconds(self, params: Params) -> float:
        """What one evaluation on validation is predicted to take."""
        network, batch_size, precision = self._shape(params)
        return self.speeds.evaluation_seconds(network, batch_size, len(self.data.folds[0].validation), precision)

    def epochs_within(self, params: Params, windows: int, seconds: float | None, most: int) -> int:
        """Epochs on ``windows`` training windows that are predicted to fit into the seconds, at least one, ``most`` at most."""
        if seconds is None:
            return most
        network, batch_size, precision = self._shape(params)
        epoch = math.ceil(windows / batch_size) * self.speeds.step_seconds(network, batch_size, precision)
        return min(most, max(1, int(seconds / (epoch + self.evaluation_seconds(params)))))

    def _shape(self, params: Params) -> tuple[Profile, int, Precision]:
        """What a step's cost depends on."""
        network, batch_size = self.profile(params), int(params["training.batch_size"])
        if self._settings.precision != "auto":
            return network, batch_size, self._settings.precision
        return network, batch_size, self.speeds.faster_precision(network, batch_size)

    def run_trial(
        self,
        number: int,
        params: Params,
        on_report: OnReport,
        *,
        keep: Path | None = None,
        start: Path | None = None,
    ) -> TrainedNetwork:
        """Trains a trial on the search's share of the training windows.

        Args:
            number: seeds it, unless it goes on from a checkpoint.
            params: the whole configuration.
            on_report: told how it goes, and decides; in a trial that goes on it hears the earlier evaluations first.
            keep: where the checkpoint is written if the trial is pruned at the end of an epoch.
            start: checkpoint to go on from: the trial becomes what the pruned one would have, to the bit on a CPU. The outcome
                counts from the first epoch on; its ``own_seconds`` are those of this run.

        Raises:
            CheckpointError: ``start`` is missing, damaged or of another training.
        """
        epochs = self._settings.max_epochs
        on_epoch_end = None if keep is None else _keep_if_pruned(keep)
        return self._train(
            self._train_windows, params, epochs, number, "trial", on_report, start=start, on_epoch_end=on_epoch_end
        )

    def retrain(
        self, rank: int, params: Params, windows: Windows, full_epochs: int, on_report: OnReport
    ) -> TrainedNetwork:
        """Trains a finalist from scratch on all training windows, stopped on validation."""
        return self._train(windows.to(self.device), params, full_epochs, rank, "retraining", on_report)

    def _train(
        self,
        windows: Windows,
        params: Params,
        max_epochs: int,
        number: int,
        purpose: str,
        on_report: OnReport,
        *,
        start: Path | None = None,
        on_epoch_end: OnEpochEnd | None = None,
    ) -> TrainedNetwork:
        def seed(use: str) -> int:
            return stream_seed(self._seed, number, f"{purpose}: {use}")

        give_back_pages()
        reset_peak(self.device)
        precision = self.precision(params)
        training = TrainingConfig.from_params(
            params,
            self._settings,
            max_epochs=max_epochs,
            precision=precision,
            early_reports=self._early_reports(params) if purpose == "trial" else (),
        )
        with one_thread(), seeded_dropout(seed("dropout"), self.device):
            network = build_network(self.network_config(params), seed=seed("weights"), device=self.device)
            outcome = train(
                network,
                windows,
                self._validation,
                training,
                scale=self.scale,
                generator=torch.Generator().manual_seed(seed("order and augmentation")),
                on_report=on_report,
                start=None if start is None else read_checkpoint(start),
                on_epoch_end=on_epoch_end,
            )
        return TrainedNetwork(network, outcome, peak_mb(self.device), precision)

    def _early_reports(self, params: Params) -> tuple[float, ...]:
        """Where the first epoch is evaluated before its end, when it is predicted to be a long one."""
        epoch_seconds = self.cost(params).seconds / self._settings.max_epochs
        return EARLY_REPORTS if epoch_seconds > self._settings.long_epoch_seconds else ()


def _keep_if_pruned(path: Path) -> OnEpochEnd:
    def on_epoch_end(decision: Decision, take: Callable[[], Checkpoint]) -> None:
        if decision.action is Action.PRUNE:
            write_checkpoint(path, take())

    return on_epoch_end
