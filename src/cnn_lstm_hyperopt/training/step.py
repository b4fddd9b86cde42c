"""One optimisation step: batch, losses, penalties, clipping, update."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.data.augmentation import augment
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import CnnLstm
from cnn_lstm_hyperopt.training.balancing import BALANCINGS
from cnn_lstm_hyperopt.training.config import TrainingConfig
from cnn_lstm_hyperopt.training.losses import task_losses
from cnn_lstm_hyperopt.training.metrics import ValueScale
from cnn_lstm_hyperopt.training.optimizers import OPTIMIZERS
from cnn_lstm_hyperopt.training.penalties import add_penalty_gradients, decay_weights
from cnn_lstm_hyperopt.training.precision import computing_in


class Stepper:
    """Everything that a step needs, made once.

    Args:
        network: trained in place.
        windows: training windows, on the network's device.
        config: of the training.
        scale: standardises the regression target.
        generator: on the CPU, for augmentation.
    """

    def __init__(
        self,
        network: CnnLstm,
        windows: Windows,
        config: TrainingConfig,
        *,
        scale: ValueScale,
        generator: torch.Generator,
    ) -> None:
        self.network, self.windows, self.config = network, windows, config
        self._scale, self._generator = scale, generator
        self._weights = list(network.parameters())
        self.balancing = BALANCINGS[config.balancing](
            classification=config.classification_weight, regression=config.regression_weight, device=windows.device
        )
        self.optimizer = OPTIMIZERS[config.optimizer](
            [*self._weights, *self.balancing.parameters()], config.learning_rate
        )

    def step(self, index: Tensor) -> Tensor:
        """Trains on the windows of ``index``; returns both losses ``(2,)`` before the step, detached (0 for one there is not)."""
        windows, config = self.windows, self.config
        values = None if windows.values is None else (windows.values[index] - self._scale.mean) / self._scale.std
        x, mixed = windows.gather(index), None
        if config.augmentation.active:
            mixed = augment(x, config.augmentation, self._generator)
            x = mixed.x
        with computing_in(config.precision, windows.device):
            output = self.network(x)
        cross_entropy, squared_error = task_losses(
            output.widened(), windows.labels[index], values, label_smoothing=config.label_smoothing, mixed=mixed
        )
        loss = cross_entropy if squared_error is None else self.balancing.combine(cross_entropy, squared_error)
        self.optimizer.zero_grad()
        loss.backward()
        add_penalty_gradients(self._weights, l1=config.l1, l2=config.l2)
        nn.utils.clip_grad_norm_(self._weights, config.gradient_clip)
        decay_weights(self._weights, learning_rate=self.optimizer.param_groups[0]["lr"], decay=config.weight_decay)
        self.optimizer.step()
        second = torch.zeros_like(cross_entropy) if squared_error is None else squared_error
        return torch.stack([cross_entropy, second]).detach()
