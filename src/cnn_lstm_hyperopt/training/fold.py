"""One network in training on one fold: what moves with every step and every epoch. Knows nothing of other folds."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.best_epoch import BestEpoch
from cnn_lstm_hyperopt.training.checkpoint import Stateful
from cnn_lstm_hyperopt.training.dropout_schedules import DropoutSchedule
from cnn_lstm_hyperopt.training.runtime.device import RandomState
from cnn_lstm_hyperopt.training.schedules import SCHEDULES
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.train_step import Stepper
from cnn_lstm_hyperopt.training.validation import EVALUATION_BATCH, Evaluation, ValueScale, evaluate


class FoldTraining:
    """A network, its windows, and all that is kept from one step to the next.

    It draws from ``generator`` and from a stream of dropout of its own, which begins where torch's global generators stand when
    it is made: what other folds draw does not reach it.

    Args:
        network: trained in place, on the device of the windows.
        windows: training windows; every epoch sees each once, in a new order.
        validation: what it is judged by.
        config: of the training.
        scale: standardises the regression target.
        generator: on the CPU; draws the order of windows and augmentation.

    Attributes:
        steps: in an epoch.
        done: of them, in the present epoch.
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
    ) -> None:
        self.network, self.windows, self.validation = network, windows, validation
        self._config, self._scale, self._generator = config, scale, generator
        network.recompute_in_backward(config.gradient_checkpointing)
        self._stepper = Stepper(network, windows, config, scale=scale, generator=generator)
        self._schedule = SCHEDULES[config.scheduler](self._stepper.optimizer, config.max_epochs)
        self._dropout = DropoutSchedule(network, config.dropout_schedule, config.max_epochs)
        self._best = BestEpoch(network)
        self._random = RandomState(generator, windows.device)
        self._parts: dict[str, Stateful] = {
            "network": network,
            "optimizer": self._stepper.optimizer,
            "schedule": self._schedule,
            "balancing": self._stepper.balancing,
            "best": self._best,
            "random": self._random,
        }
        self.steps = math.ceil(len(windows) / config.batch_size)
        self.done = 0
        self._batches: tuple[Tensor, ...] = ()
        self._losses = torch.zeros(2, device=windows.device)  # cross-entropy, squared error: sums over the epoch

    def start_epoch(self, epoch: int) -> None:
        """Draws the order of the windows and sets the rates of dropout; epochs count from 1."""
        self._dropout.start_epoch(epoch)
        order = torch.randperm(len(self.windows), generator=self._generator).to(self.windows.device)
        self._batches, self.done = order.split(self._config.batch_size), 0
        self._losses = torch.zeros_like(self._losses)

    @contextlib.contextmanager
    def in_training(self) -> Iterator[None]:
        """Where :meth:`step` is called: the network drops out, and draws from its own stream."""
        self.network.train()
        with self._random.in_force():
            yield

    def step(self) -> None:
        """One step, on the next batch of the epoch."""
        self._losses += self._stepper.step(self._batches[self.done])
        self.done += 1

    def loss_so_far(self) -> float:
        """Sum over the epoch's steps of both losses; waits for the device."""
        return float(self._losses.sum())

    def evaluate(self) -> Evaluation:
        """What the network is worth on validation now."""
        config, batch_size = self._config, EVALUATION_BATCH
        if config.micro_batches > 1:
            batch_size = min(batch_size, math.ceil(config.batch_size / config.micro_batches))
        return evaluate(
            self.network, self.validation, self._scale, config.precision, config.metric, batch_size=batch_size
        )

    def keep(self, evaluation: Evaluation) -> None:
        """The network as it is now is the best so far."""
        self._best.keep(evaluation)

    def end_epoch(self, loss: float) -> None:
        """Moves the learning rate and the balancing on to the next epoch; ``loss`` is that of this fold's validation."""
        self._schedule.step(loss)
        self._stepper.balancing.end_epoch(*(self._losses / self.steps).tolist())

    @property
    def best(self) -> Evaluation | None:
        """What was kept with the best weights; None before any were."""
        return self._best.evaluation

    def finish(self) -> None:
        """Gives the network its best weights and its full rates of dropout, as if it had never been trained to save memory."""
        self.network.recompute_in_backward(False)
        self._dropout.restore()
        self._best.restore_weights()

    def state_dict(self) -> dict[str, Any]:
        """At the end of an epoch: the state of each part. The rate of dropout is a function of the epoch, so it is not there."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, part in self._parts.items():
            part.load_state_dict(state[name])


def training_facts(folds: Sequence[FoldTraining], config: TrainingConfig) -> dict[str, Any]:
    """What must be the same for a training to go on as if it had not been stopped."""
    training = asdict(config)
    # Early reports are within the first epoch, so over at any checkpoint, and follow from a machine's speed; a training that ran
    # out of memory goes on with less of it.
    for name in ("early_reports", "micro_batches", "gradient_checkpointing"):
        del training[name]
    return {
        "network": asdict(folds[0].network.config),  # the same for all folds
        "training": training,
        "windows": [len(fold.windows) for fold in folds],
        "validation windows": [len(fold.validation) for fold in folds],
        "device": folds[0].windows.device.type,  # its generators draw other numbers
    }
