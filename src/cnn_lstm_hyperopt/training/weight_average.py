"""Average of a network's weights over the steps of its training."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from cnn_lstm_hyperopt.models.network import Network

Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage:
    """Exponential moving average of the weights after each step (Polyak & Juditsky 1992, for the mean of all steps).

    After step t, counted from 0, the decay is the smaller of 1 − 1/n and (1 + t) / (10 + t). n is the number of steps in an
    epoch, so the average is over about one epoch. The second number shortens the average at the start, as in TensorFlow's
    ``ExponentialMovingAverage``.

    Args:
        network: network in training. The average begins with its weights after the first step.
        steps: number of steps in an epoch.
    """

    def __init__(self, network: Network, steps: int) -> None:
        most = 1 - 1 / steps

        @torch.no_grad()
        def mix(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
            done = int(count)
            torch._foreach_lerp_(averages, weights, 1 - min(most, (1 + done) / (10 + done)))

        self._averaged = AveragedModel(network, multi_avg_fn=mix)
        self._trained = network

    @property
    def network(self) -> Network:
        """Network with the averaged weights."""
        return cast("Network", self._averaged.module)

    def update(self) -> None:
        """Add the weights after a step to the average. Buffers, such as statistics of a normalisation, are those of the step."""
        self._averaged.update_parameters(self._trained)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights and the number of steps."""
        return dict(self._averaged.state_dict())

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`."""
        self._averaged.load_state_dict(state)
