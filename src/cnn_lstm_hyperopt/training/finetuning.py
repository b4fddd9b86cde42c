"""Fine-tuning: a few more epochs of a trained network, with a low learning rate and without validation windows."""

import copy
from dataclasses import replace

import numpy as np
import torch

from cnn_lstm_hyperopt.config import Params, TrainingSettings
from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.data.windows import Fold, on_device
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.progress import OnReport
from cnn_lstm_hyperopt.training.fixed_length import FixedLength, train_fixed
from cnn_lstm_hyperopt.training.fold import FoldTraining
from cnn_lstm_hyperopt.training.runtime.device import one_thread, seeded_dropout
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.validation import ValueScale
from cnn_lstm_hyperopt.utils.rng import stream_seed

FINETUNE_EPOCHS = 5
"""Number of epochs of a fine-tuning."""
RATE_SHARE = 0.1
"""Learning rate of a fine-tuning, as a share of the learning rate of the configuration."""


def finetune(
    network: Network,
    params: Params,
    fold: Fold,
    settings: TrainingSettings,
    *,
    metric: MetricName,
    seed: int,
    device: torch.device,
    on_report: OnReport,
) -> Network:
    """Return a copy of the network, trained for :data:`FINETUNE_EPOCHS` more epochs on the training windows of a fold.

    Args:
        network: trained network, which stays unchanged.
        params: the full configuration of the network.
        fold: training windows, scaled as in the network's first training.
        settings: training settings of the study.
        metric: metric of the study, which decides whether classes are balanced.
        seed: seed of the order of the windows, of augmentation and of dropout.
        device: device of the training.
        on_report: function that is called after each epoch.

    Raises:
        NonFiniteLossError: the training loss is NaN or infinite.
    """
    config = TrainingConfig.from_params(params, settings, max_epochs=FINETUNE_EPOCHS, metric=metric)
    config = replace(config, learning_rate=RATE_SHARE * config.learning_rate, warmup_epochs=0.0)
    fold = replace(fold, validation=fold.validation.subset(np.empty(0, dtype=np.int64)))
    (placed,) = on_device([fold], device)
    with one_thread(), seeded_dropout(stream_seed(seed, 0, "fine-tuning: dropout"), device):
        tuned = copy.deepcopy(network).to(device)
        order = stream_seed(seed, 0, "fine-tuning: order and augmentation")
        training = FoldTraining(
            tuned,
            placed.train,
            placed.validation,
            config,
            scale=ValueScale(fold.value_mean, fold.value_std),
            generator=torch.Generator().manual_seed(order),
        )
        train_fixed(training, config, FixedLength(FINETUNE_EPOCHS), on_report=on_report)
    return tuned.cpu().eval()
