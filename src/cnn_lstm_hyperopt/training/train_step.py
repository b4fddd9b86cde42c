"""One optimisation step: batch, losses, penalties, gradient clipping and update of the weights."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.augmentation import augment
from cnn_lstm_hyperopt.training.fixed_features import at, fixed_features
from cnn_lstm_hyperopt.training.loss_weighting import LOSS_WEIGHTINGS
from cnn_lstm_hyperopt.training.losses import mixed_targets, task_losses
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.penalties import add_penalty_gradients
from cnn_lstm_hyperopt.training.runtime.precision import computing_in
from cnn_lstm_hyperopt.training.settings import TrainingConfig
from cnn_lstm_hyperopt.training.validation import ValueScale


class Stepper:
    """Object that performs the optimisation steps of one training.

    Args:
        network: network to train in place.
        windows: training windows, on the network's device.
        config: training settings.
        scale: mean and standard deviation with which the regression target is standardised.
        generator: random number generator on the CPU, for augmentation.
        class_weights: ``(n_classes,)`` weights of the classes in the loss; None: no weights.
    """

    def __init__(
        self,
        network: Network,
        windows: Windows,
        config: TrainingConfig,
        *,
        scale: ValueScale,
        generator: torch.Generator,
        class_weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.network, self.windows, self.config = network, windows, config
        self._class_weights = (
            None
            if class_weights is None
            else torch.as_tensor(class_weights, dtype=torch.float32, device=windows.device)
        )
        self._scale, self._generator = scale, generator
        self._features: Tensor | None = None
        self._prepared = config.augmentation.active  # augmented windows have other features in every step
        self._weights = list(network.parameters())
        self.loss_weighting = LOSS_WEIGHTINGS[config.balancing](
            classification=config.classification_weight, regression=config.regression_weight, device=windows.device
        )
        self._optimizer_kind = OPTIMIZERS[config.optimizer]
        learned = [*self._weights, *self.loss_weighting.parameters()]
        self.optimizer = self._optimizer_kind.make(learned, config.learning_rate)

    def step(self, index: Tensor, *, rate_share: float = 1.0) -> Tensor:
        """Train on the windows at the positions ``index``, with one step of the optimiser.

        Args:
            index: ``(batch,)`` positions of windows.
            rate_share: factor of the learning rate in this step alone. The schedules never see it.

        Returns:
            Cross-entropy and squared error before the step, shape ``(2,)``, detached from the graph. The squared error is 0
            without a regression target.
        """
        if not self._prepared:  # in the first step, so that the seconds of the training include it
            self._features, self._prepared = fixed_features(self.network, self.windows), True
        config = self.config
        self.optimizer.zero_grad()
        losses = torch.zeros(2, device=self.windows.device)
        for share, inputs, targets, values in self._parts(index):
            with computing_in(config.precision, index.device):
                output = self.network(*inputs)
            cross_entropy, squared_error = task_losses(
                output.as_float32(),
                targets,
                values,
                label_smoothing=config.label_smoothing,
                class_weights=self._class_weights,
            )
            loss = cross_entropy if squared_error is None else self.loss_weighting.combine(cross_entropy, squared_error)
            # Losses are means over windows, so the losses of the parts, weighted by their shares, add up to those of the batch.
            loss.backward(torch.full_like(loss, share))
            second = torch.zeros_like(cross_entropy) if squared_error is None else squared_error
            losses += share * torch.stack([cross_entropy, second]).detach()
        add_penalty_gradients(self._weights, l1=config.l1, l2=config.l2)
        nn.utils.clip_grad_norm_(self._weights, config.gradient_clip)
        group = self.optimizer.param_groups[0]
        rate = group["lr"]
        group["lr"] = rate_share * rate
        self._optimizer_kind.decay(self._weights, learning_rate=group["lr"], strength=config.weight_decay)
        self.optimizer.step()
        group["lr"] = rate
        return losses

    def _parts(self, index: Tensor) -> Iterator[tuple[float, tuple[Tensor, ...], Tensor, Tensor | None]]:
        """Divide a batch into ``micro_batches`` parts of nearly equal size.

        For each part, the method yields the part's share of the batch's windows, and the network's inputs, targets and values.

        The whole batch is augmented first, because mixup may mix windows of different parts.
        """
        windows, config = self.windows, self.config
        values = None if windows.values is None else (windows.values[index] - self._scale.mean) / self._scale.std
        x, targets = windows.gather(index), windows.labels[index]
        if config.augmentation.active:
            scale = self.network.input_scale  # the strengths are in standardised units
            mixed = augment(x if scale is None else scale(x), config.augmentation, self._generator)
            x = mixed.x if scale is None else scale.restored(mixed.x)
            n_classes = self.network.config.n_classes
            targets, values = mixed_targets(targets, values, mixed, n_classes=n_classes)
        count = min(config.micro_batches, len(index))
        values_of = [None] * count if values is None else values.tensor_split(count)
        inputs = zip(*(each.tensor_split(count) for each in (x, *at(self._features, index))), strict=True)
        for given, own, its in zip(inputs, targets.tensor_split(count), values_of, strict=True):
            yield len(own) / len(index), given, own, its
