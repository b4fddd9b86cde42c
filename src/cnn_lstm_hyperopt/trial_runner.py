"""One configuration on one dataset: network, training, outcome. The bridge between parameters and torch."""

from dataclasses import dataclass

import torch

from cnn_lstm_hyperopt.config import Params, TrainingSettings
from cnn_lstm_hyperopt.data.dataset import TrialData
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import CnnLstm, NetworkConfig, build_network, profile
from cnn_lstm_hyperopt.progress import OnReport
from cnn_lstm_hyperopt.randomness import stream_seed
from cnn_lstm_hyperopt.training import Outcome, TrainingConfig, ValueScale, train
from cnn_lstm_hyperopt.training.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.memory import peak_mb, reset_peak


@dataclass(frozen=True)
class TrainedNetwork:
    """A network after training, with its outcome and the peak memory in MB (None where it can't be measured)."""

    network: CnnLstm
    outcome: Outcome
    memory_mb: float | None


class TrialRunner:
    """Trains configurations on data that lies on the device once, for all of them."""

    def __init__(self, data: TrialData, settings: TrainingSettings, *, seed: int, device: torch.device) -> None:
        self.data = data
        self.device = device
        self.scale = ValueScale(data.value_mean, data.value_std)
        self._settings = settings
        self._seed = seed
        self._train_windows = data.train.to(device)
        self._validation = data.validation.to(device)

    def network_config(self, params: Params) -> NetworkConfig:
        """The network of a whole configuration (fixed parameters included)."""
        return NetworkConfig.from_params(
            params,
            input_dim=self.data.train.input_dim,
            n_classes=self.data.n_classes,
            has_regression=self.data.has_regression,
        )

    def size_mb(self, params: Params) -> float:
        """MB of the configuration's weights, without building it."""
        return profile(self.network_config(params), lookback=self.data.train.lookback).size_mb

    def multiply_adds(self, params: Params) -> int:
        """Multiply-adds of one window's forward pass."""
        return profile(self.network_config(params), lookback=self.data.train.lookback).multiply_adds

    def run_trial(self, number: int, params: Params, on_report: OnReport) -> TrainedNetwork:
        """Trains a trial on the search's share of the training windows."""
        return self._train(self._train_windows, params, self._settings.max_epochs, number, "trial", on_report)

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
    ) -> TrainedNetwork:
        def seed(use: str) -> int:
            return stream_seed(self._seed, number, f"{purpose}: {use}")

        reset_peak(self.device)
        with one_thread(), seeded_dropout(seed("dropout"), self.device):
            network = build_network(self.network_config(params), seed=seed("weights"), device=self.device)
            outcome = train(
                network,
                windows,
                self._validation,
                TrainingConfig.from_params(params, self._settings, max_epochs=max_epochs),
                scale=self.scale,
                generator=torch.Generator().manual_seed(seed("order and augmentation")),
                on_report=on_report,
            )
        return TrainedNetwork(network, outcome, peak_mb(self.device))
