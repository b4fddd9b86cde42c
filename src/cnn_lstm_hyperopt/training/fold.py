"""Training of one network on one fold, which does not depend on the other folds."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.metrics import class_weights
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.best_epoch import BestEpoch
from cnn_lstm_hyperopt.training.checkpoint import Stateful
from cnn_lstm_hyperopt.training.dropout_schedules import DropoutSchedule
from cnn_lstm_hyperopt.training.fixed_features import fixed_features
from cnn_lstm_hyperopt.training.runtime.device import RandomState
from cnn_lstm_hyperopt.training.schedules import SCHEDULES
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.train_step import Stepper
from cnn_lstm_hyperopt.training.validation import EVALUATION_BATCH, Evaluation, ValueScale, evaluate
from cnn_lstm_hyperopt.training.weight_average import WeightAverage


class FoldTraining:
    """Training of one network on one fold, with all state of this training.

    Random numbers come from ``generator`` and from the fold's own dropout stream, so the random numbers of other folds do not
    change the result. The dropout stream starts from the state of torch's global random number generators when this object is
    created.

    Args:
        network: network to train in place, on the device of the windows.
        windows: training windows; every pass uses each window once, in a new order.
        validation: validation windows.
        config: training settings.
        scale: mean and standard deviation with which the regression target is standardised.
        generator: random number generator on the CPU, for the order of windows and for augmentation.
        watched: positions of the validation windows on which the network is evaluated after each epoch; None: all windows.

    Attributes:
        steps: number of steps in an epoch.
        done: number of finished steps of the current epoch.
        watched: validation windows on which the network is evaluated after each epoch.
    """

    def __init__(
        self,
        network: Network,
        windows: Windows,
        validation: Windows,
        config: TrainingConfig,
        *,
        scale: ValueScale,
        generator: torch.Generator,
        watched: NDArray[np.int64] | None = None,
    ) -> None:
        self.network, self.windows, self.validation = network, windows, validation
        self._config, self._scale, self._generator = config, scale, generator
        network.recompute_in_backward(config.gradient_checkpointing)
        self._class_weights = (
            class_weights(windows.labels.cpu().numpy(), network.config.n_classes) if config.class_weights else None
        )
        self._stepper = Stepper(
            network, windows, config, scale=scale, generator=generator, class_weights=self._class_weights
        )
        self._schedule = SCHEDULES[config.scheduler](self._stepper.optimizer, config.max_epochs)
        self._dropout = DropoutSchedule(network, config.dropout_schedule, config.max_epochs)
        self.steps = config.passes * math.ceil(len(windows) / config.batch_size)
        self.watched = validation if watched is None else validation.subset(watched)
        self._features = self._watched_features = fixed_features(network, validation)
        if watched is not None and self._features is not None:
            self._watched_features = self._features[torch.as_tensor(watched, device=validation.device)]
        self._best = BestEpoch(network)
        self._average = WeightAverage(network, self.steps) if config.weight_averaging == "ema" else None
        self._random = RandomState(generator, windows.device)
        self._parts: dict[str, Stateful] = {
            "network": network,
            "optimizer": self._stepper.optimizer,
            "schedule": self._schedule,
            "balancing": self._stepper.loss_weighting,
            "best": self._best,
            "random": self._random,
            **({} if self._average is None else {"average": self._average}),
        }
        self._epoch = self.done = 0
        self._batches: tuple[Tensor, ...] = ()
        self._losses = torch.zeros(2, device=windows.device)  # cross-entropy, squared error: sums over the epoch

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of the windows and set the dropout rates of an epoch, counted from 1."""
        self._dropout.start_epoch(epoch)
        self._epoch = epoch
        orders = [torch.randperm(len(self.windows), generator=self._generator) for _ in range(self._config.passes)]
        batches = [order.to(self.windows.device).split(self._config.batch_size) for order in orders]
        self._batches, self.done = tuple(itertools.chain(*batches)), 0
        self._losses = torch.zeros_like(self._losses)

    @contextlib.contextmanager
    def in_training(self) -> Iterator[None]:
        """Context with training mode and the fold's own dropout stream; call :meth:`step` only in this context."""
        self.network.train()
        with self._random.active():
            yield

    def step(self) -> None:
        """Train on the next batch of the epoch."""
        self.done += 1
        warmup = self._config.warmup_epochs * self.steps
        so_far = (self._epoch - 1) * self.steps + self.done
        share = so_far / warmup if so_far < warmup else 1.0
        self._losses += self._stepper.step(self._batches[self.done - 1], rate_share=share)
        if self._average is not None:
            self._average.update()

    def loss_so_far(self) -> float:
        """Wait for the device; return the sum of classification and regression loss over the finished steps of the epoch."""
        return float(self._losses.sum())

    def evaluate(self) -> Evaluation:
        """Evaluate the network, or the network with averaged weights, on the watched validation windows."""
        return self._evaluated(self._judged, self.watched, self._watched_features)

    def _evaluated(self, network: Network, windows: Windows, features: Tensor | None) -> Evaluation:
        config, batch_size = self._config, EVALUATION_BATCH
        if config.micro_batches > 1:
            batch_size = min(batch_size, math.ceil(config.batch_size / config.micro_batches))
        return evaluate(
            network,
            windows,
            self._scale,
            config.precision,
            config.metric,
            decision_weights=self._class_weights,
            batch_size=batch_size,
            features=features,
        )

    def save_best(self, evaluation: Evaluation) -> None:
        """Save the weights that were evaluated and their evaluation as the best so far."""
        self._best.save(evaluation, self._judged)

    @property
    def _judged(self) -> Network:
        """Network whose weights are evaluated and saved."""
        return self.network if self._average is None else self._average.network

    def end_epoch(self, loss: float) -> None:
        """Advance the learning rate and the loss weights to the next epoch; ``loss`` is the validation loss of this fold."""
        self._schedule.step(loss)
        self._stepper.loss_weighting.end_epoch(*(self._losses / self.steps).tolist())

    @property
    def best(self) -> Evaluation | None:
        """Evaluation of the best weights; None before the first epoch ends."""
        return self._best.evaluation

    def finish(self) -> None:
        """Restore the best weights and the configured dropout rates, and switch gradient checkpointing off.

        Without an evaluation, the network gets the averaged weights, if there is an average.
        """
        self.network.recompute_in_backward(False)
        self._dropout.restore()
        if self._average is not None:
            self.network.load_state_dict(self._average.network.state_dict())
        self._best.restore_weights()

    @property
    def best_is_partly_evaluated(self) -> bool:
        """Whether the best weights were evaluated on some of the validation windows only."""
        return self.best is not None and len(self.best.predictions.probabilities) < len(self.validation)

    def evaluate_best(self) -> Evaluation:
        """Evaluate the restored best weights on all validation windows; call this method after :meth:`finish`."""
        self._best.evaluation = self._evaluated(self.network, self.validation, self._features)
        return self._best.evaluation

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each part at the end of an epoch, without dropout rates, which depend only on the epoch."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def training_facts(folds: Sequence[FoldTraining], config: TrainingConfig) -> dict[str, Any]:
    """Return facts about a training, which must equal the facts in a checkpoint from which the training resumes."""
    training = asdict(config)
    # Early reports end before the first checkpoint and depend on the machine's speed. The others change after a lack of memory.
    for name in ("early_reports", "micro_batches", "gradient_checkpointing"):
        del training[name]
    if not config.class_weights:  # checkpoints of earlier versions lack these keys
        del training["class_weights"]
    for name, neutral in (("passes", 1), ("warmup_epochs", 0.0), ("weight_averaging", "none")):
        if training[name] == neutral:
            del training[name]
    network = asdict(folds[0].network.config)  # equal for all folds
    of_family = network.get("network", network)
    if not of_family.get("kernel_groups"):  # checkpoints of earlier versions lack this key
        of_family.pop("kernel_groups", None)
    return {
        "network": network,
        "training": training,
        "windows": [len(fold.windows) for fold in folds],
        "validation windows": [len(fold.watched) for fold in folds],
        "device": folds[0].windows.device.type,  # random numbers depend on the type of device
    }
