"""Standardisation of a network's inputs by the mean and the standard deviation of its training windows."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.inputs import CLIP


class InputScale(nn.Module):
    """Maps each input x to (x − mean) / std, clipped at ±10. Training does not change the numbers, which are part of the weights.

    Args:
        channels: number of inputs. Their means are 0 and their standard deviations are 1 until :meth:`set_to`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))

    def set_to(self, mean: Tensor, std: Tensor) -> None:
        """Set the mean and the standard deviation (> 0) of each input, both ``(channels,)``."""
        self.mean.copy_(mean)
        self.std.copy_(std)

    def forward(self, x: Tensor) -> Tensor:
        """Return standardised inputs, ``(…, channels)``."""
        return ((x - self.mean) / self.std).clamp(-CLIP, CLIP)

    def restored(self, x: Tensor) -> Tensor:
        """Return the inputs of standardised inputs: the inverse of :meth:`forward`, except for clipped values."""
        return x * self.std + self.mean
