"""Predicted costs of a study's trials."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import PARAMETERS, Params, TrainingSettings
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.models import NetworkConfig, Profile, network_config
from cnn_lstm_hyperopt.search import Cost
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.space.parameters import read_group
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig
from cnn_lstm_hyperopt.training.cost_model import CostModel, memory_mb
from cnn_lstm_hyperopt.training.epoch_validation import n_watched, watched_positions
from cnn_lstm_hyperopt.training.fixed_features import EVALUATED_AT_ONCE, stored_bytes
from cnn_lstm_hyperopt.training.runtime.precision import Precision

EARLY_REPORTS = (0.25, 0.5, 0.75)
"""Shares of a long first epoch after which the network is evaluated."""

MAX_KNOWN = 10_000
"""Maximum number of configurations whose networks are known, so that a long study does not need more and more memory."""


class _Known(NamedTuple):
    """Facts about the network of a configuration, which depend on nothing else.

    Attributes:
        config: configuration of the network.
        profile: size and operations of the network.
        stores_features: whether trainings store the fixed features of their windows.
    """

    config: NetworkConfig
    profile: Profile
    stores_features: bool


def passes_per_epoch(min_steps: int, windows: int, batch_size: int) -> int:
    """Return the smallest number of passes over the training windows with which an epoch has at least ``min_steps`` steps.

    Args:
        min_steps: minimum number of steps in an epoch, at least 1.
        windows: number of training windows.
        batch_size: number of windows in a step.
    """
    return math.ceil(min_steps / math.ceil(windows / batch_size))


class TrialCosts:
    """Predictor of the costs of full configurations, which include fixed parameters.

    Args:
        data: data of the trials.
        settings: training settings.
        speeds: speeds of the device.
        passes: number of passes over the training windows in an epoch.
        subset: whether a training with few training windows evaluates its epochs on a subset of the validation windows.
    """

    def __init__(
        self, data: TrialData, settings: TrainingSettings, speeds: CostModel, passes: int = 1, *, subset: bool = True
    ) -> None:
        self.passes, self.subset = passes, subset
        self._data = data
        self._settings = settings
        self._speeds = speeds
        self._known: dict[frozenset[tuple[str, Scalar]], _Known] = {}

    def network_config(self, params: Params) -> NetworkConfig:
        """Return the configuration of the network for a full configuration."""
        return self._of(params).config

    def _of(self, params: Params) -> "_Known":
        """Return the network and its operations for a full configuration, computed once for each configuration.

        The forecast of a study asks several times for the same 1000 configurations.
        """
        key = frozenset(params.items())
        if (known := self._known.get(key)) is None:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            known = self._known[key] = self._computed(params)
        return known

    def _computed(self, params: Params) -> "_Known":
        lookback = self._data.folds[0].train.lookback
        config = self._network_config(params)
        augmented = read_group(AugmentationConfig, "augmentation", params, PARAMETERS).active
        width = config.fixed_width(lookback)
        stores = not augmented and all(stored_bytes(len(fold.train), width) for fold in self._data.folds)
        return _Known(config, config.cost(lookback=lookback), stores)

    def _network_config(self, params: Params) -> NetworkConfig:
        return network_config(
            params,
            input_dim=self._data.folds[0].train.input_dim,
            n_classes=self._data.n_classes,
            has_regression=self._data.has_regression,
            lookback=self._data.folds[0].train.lookback,
            columns=self._data.columns,
        )

    def profile(self, params: Params) -> Profile:
        """Return the size and operations of the network for a full configuration, without building the network."""
        return self._of(params).profile

    def precision(self, params: Params) -> Precision:
        """Return the precision in the settings; for ``auto``, return the precision that the cost model predicts to be faster."""
        return self._shape(params)[2]

    def cost(self, params: Params, *, train_share: float = 1.0) -> Cost:
        """Predict the cost of a trial over all folds that trains on the share ``train_share`` of the training windows."""
        network, batch_size, precision = self._shape(params)
        windows = [max(1, round(train_share * len(fold.train))) for fold in self._data.folds]
        steps = self.passes * sum(math.ceil(count / batch_size) for count in windows) * self._settings.max_epochs
        optimizer = str(params["training.optimizer"])
        memory = memory_mb(network, batch_size, optimizer, precision, networks=len(self._data.folds))
        seconds = steps * self._speeds.step_seconds(network, batch_size, precision)
        config, lookback = self.network_config(params), self._data.folds[0].train.lookback
        if self._stores_features(params):
            once, counts = (
                config.fixed_cost(lookback=lookback),
                [*windows, *(len(f.validation) for f in self._data.folds)],
            )
            memory += sum(stored_bytes(count, config.fixed_width(lookback)) for count in counts) / 1e6
            seconds += self._speeds.evaluation_seconds(once, EVALUATED_AT_ONCE, sum(counts), "float32")
        return Cost(seconds=seconds, size_mb=network.size_mb, memory_mb=self._speeds.process_mb + memory)

    def _stores_features(self, params: Params) -> bool:
        """Return whether trainings store fixed features of their windows, instead of computing them in every step."""
        return self._of(params).stores_features

    def evaluation_seconds(self, params: Params) -> float:
        """Predict the seconds of one evaluation on the validation windows of all folds."""
        return self._evaluation_seconds(params, sum(len(fold.validation) for fold in self._data.folds))

    def validation_seconds(self, params: Params, epochs: float) -> float:
        """Predict the seconds of all evaluations of a trial: on the watched windows after each epoch, and on all in the end."""
        some, every = sum(self._watched), sum(len(fold.validation) for fold in self._data.folds)
        last = self._evaluation_seconds(params, every) if some < every else 0.0
        return epochs * self._evaluation_seconds(params, some) + last

    def watched(self, fold: Fold) -> NDArray[np.int64] | None:
        """Return the positions of the fold's validation windows on which epochs are evaluated; None: all windows."""
        return watched_positions(self.passes * len(fold.train), fold.validation) if self.subset else None

    @property
    def _watched(self) -> list[int]:
        """Number of validation windows of each fold on which a trial is evaluated after each epoch."""
        if not self.subset:
            return [len(fold.validation) for fold in self._data.folds]
        return [n_watched(self.passes * len(fold.train), len(fold.validation)) for fold in self._data.folds]

    def _evaluation_seconds(self, params: Params, windows: int) -> float:
        network, batch_size, precision = self._shape(params)
        return self._speeds.evaluation_seconds(network, batch_size, windows, precision)

    def epochs_within(self, params: Params, windows: int, seconds: float | None, max_epochs: int) -> int:
        """Predict the number of epochs on ``windows`` training windows that take ``seconds``: at least 1, at most ``max_epochs``.

        Each epoch ends with an evaluation on the watched validation windows of the last fold. If ``seconds`` is None, there is
        no limit.
        """
        if seconds is None:
            return max_epochs
        network, batch_size, precision = self._shape(params)
        steps = self.passes * math.ceil(windows / batch_size)
        epoch = steps * self._speeds.step_seconds(network, batch_size, precision)
        evaluated = len(self._data.folds[-1].validation)
        if self.subset:
            evaluated = n_watched(self.passes * windows, evaluated)
        evaluation = self._evaluation_seconds(params, evaluated)
        return min(max_epochs, max(1, int(seconds / (epoch + evaluation))))

    def _shape(self, params: Params) -> tuple[Profile, int, Precision]:
        """Return the network's profile, the batch size and the precision, which determine the cost of a training step.

        The profile includes fixed features that are not stored.
        """
        network, batch_size = self.profile(params), int(params["training.batch_size"])
        if not self._stores_features(params):
            network += self.network_config(params).fixed_cost(lookback=self._data.folds[0].train.lookback)
        if self._settings.precision != "auto":
            return network, batch_size, self._settings.precision
        return network, batch_size, self._speeds.faster_precision(network, batch_size)

    def early_reports(self, params: Params) -> tuple[float, ...]:
        """Return :data:`EARLY_REPORTS` if a long first epoch is predicted; otherwise, return an empty tuple."""
        epoch_seconds = self.cost(params).seconds / self._settings.max_epochs
        return EARLY_REPORTS if epoch_seconds > self._settings.long_epoch_seconds else ()
