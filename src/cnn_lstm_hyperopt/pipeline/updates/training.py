"""Training of an update: networks of the present configuration on other windows."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from cnn_lstm_hyperopt.data.feature_groups import optional_columns
from cnn_lstm_hyperopt.data.pooled import scaled_windows, training_windows
from cnn_lstm_hyperopt.data.splits import Integers
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.inference.model import SavedModel, SeedNetwork
from cnn_lstm_hyperopt.inference.versions import Policy
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.pipeline.confirmation import SEEDS_APART
from cnn_lstm_hyperopt.pipeline.results.training_record import SeedRecord, refit_epochs
from cnn_lstm_hyperopt.pipeline.updates.present import Present, speeds_and_passes
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.training import ValueScale
from cnn_lstm_hyperopt.training.finetuning import FINETUNE_EPOCHS, finetune
from cnn_lstm_hyperopt.training.fixed_length import FixedLength
from cnn_lstm_hyperopt.training.runtime.device import resolve_device
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner


class ClassMissingError(ValueError):
    """The training windows of an update lack a class. The text says which."""


class Trained(NamedTuple):
    """A model after the training of an update, and the number of epochs of each network."""

    model: SavedModel
    epochs: int


@dataclass(frozen=True)
class UpdateTraining:
    """Trainer of the candidate and of the new version. Both are trained in the same way on different windows.

    Attributes:
        present: the present version.
        table: unscaled windows of all bars.
        policy: ``refit`` trains new networks for the number of epochs of a final refit; ``finetune`` trains the present
            networks further.
        version: number of the new version, which seeds the random streams.
        on_news: function that receives a line of text before each training.
    """

    present: Present
    table: WindowTable
    policy: Policy
    version: int
    on_news: Callable[[str], None]

    def train(self, chosen: Integers, what: str) -> Trained:
        """Train a model on the windows at the positions ``chosen``. ``what`` is its name in the news.

        Raises:
            ClassMissingError: a class has no training window.
            NonFiniteLossError: a training loss is NaN or infinite.
        """
        about = self.present.model.description
        counts = np.bincount(self.table.classes[chosen], minlength=about.n_classes)
        if counts.min() == 0:
            name = about.class_names[int(counts.argmin())]
            raise ClassMissingError(f"none of {len(chosen):,} training windows is of class {name}")
        epochs = FINETUNE_EPOCHS if self.policy == "finetune" else self._refit_epochs
        self.on_news(f"Training {what}: {self.policy} on {len(chosen):,} windows, {epochs} epochs …")
        return Trained(self._finetuned(chosen) if self.policy == "finetune" else self._refitted(chosen), epochs)

    def _finetuned(self, chosen: Integers) -> SavedModel:
        """Return the present networks after a few more epochs. The scaler stays, because the weights belong to it."""
        model, settings = self.present.model, self.present.settings
        about = model.description
        if about.scaler is None:
            raise RuntimeError("a model of bars has a scaler")
        windows = scaled_windows(self.table, chosen, about.scaler, about.lookback)
        fold = Fold(windows, windows.subset(np.empty(0, np.int64)), about.value_scale.mean, about.value_scale.std)
        networks = [
            finetune(
                network,
                about.params,
                fold,
                settings.training,
                metric=settings.study.metric,
                seed=SEEDS_APART * self.version + place,
                device=resolve_device(settings.training.device),
                on_report=lambda _: CONTINUE,
            )
            for place, (network, _) in enumerate(model.parts(), start=1)
        ]
        return _with_networks(model, [model.seed, *(each.seed for each in model.others)], networks)

    def _refitted(self, chosen: Integers) -> SavedModel:
        """Return new networks of the same configuration, with a scaler that is fitted on their training windows."""
        model = self.present.model
        about = model.description
        windows = training_windows(self.table, chosen, about.lookback)
        fold = Fold(
            windows.windows, windows.windows.subset(np.empty(0, np.int64)), windows.value_mean, windows.value_std
        )
        runner = self._runner(fold)
        networks = [self._refit(runner, fold, record) for record in self.present.records]
        weights = runner.decision_weights(windows.windows)
        description = replace(
            about,
            scaler=windows.scaler,
            value_scale=ValueScale(windows.value_mean, windows.value_std),
            decision_weights=None if weights is None else tuple(weights.tolist()),
        )
        seeds = [record.seed for record in self.present.records]
        return _with_networks(replace(model, description=description), seeds, networks)

    @property
    def _refit_epochs(self) -> int:
        return max(1, refit_epochs(self.present.records))  # 0 in models of earlier versions: the linear solution

    def _refit(self, runner: TrialRunner, fold: Fold, record: SeedRecord) -> Network:
        trained = runner.refit(
            SEEDS_APART * self.version + record.seed,
            self.present.model.description.params,
            fold,
            max(record.max_epochs, self._refit_epochs),
            FixedLength(self._refit_epochs, record.validation_losses),
            lambda _: CONTINUE,
        )
        return trained.network.cpu().eval()

    def _runner(self, fold: Fold) -> TrialRunner:
        settings, about = self.present.settings, self.present.model.description
        speeds, passes = speeds_and_passes(settings)
        columns = optional_columns(about.features, about.feature_columns, about.feature_function, about.feature_groups)
        return TrialRunner(
            TrialData((fold,), about.n_classes, about.has_regression, columns),
            settings.training,
            seed=settings.study.seed,
            device=resolve_device(settings.training.device),
            speeds=speeds,
            metric=settings.study.metric,
            passes=passes,
        )


def _with_networks(model: SavedModel, seeds: list[int], networks: list[Network]) -> SavedModel:
    """Return the model with other networks. Facts about an earlier refit or version are left out."""
    (seed, network), *others = zip(seeds, networks, strict=True)
    rest = tuple(SeedNetwork(*each) for each in others)
    return replace(model, network=network, seed=seed, others=rest, refit=None, version=None)
