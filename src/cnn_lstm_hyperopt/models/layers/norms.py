"""Normalisation of sequences ``(batch, channels, time)``.

- ``batch`` (Ioffe & Szegedy 2015): mean and variance of each channel over the batch and time.
- ``layer`` (Ba et al. 2016): mean and variance over the channels, for each window and step.
- ``group`` (Wu & He 2018, table 3): mean and variance over groups of about 16 channels and time, for each window.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnn_lstm_hyperopt.models.layers.recompute import recomputing

CHANNELS_OF_A_GROUP = 16
MOMENTUM, EPSILON = 0.1, 1e-5


class BatchNorm(nn.Module):
    """Batch normalisation whose running statistics are exact from the first step.

    The running statistics are the mean of all batches during the first ten steps, then an exponential mean. PyTorch's layer
    starts from mean 0 and variance 1, which biases the first tens of steps. The second forward pass of gradient checkpointing
    does not change the running statistics. A channel with a single value (one window of one step) has no variance, so the
    running statistics normalise it.

    Args:
        width: number of channels.
        affine: whether each channel is multiplied by a learned weight and a learned bias is added.

    Attributes:
        steps: number of training steps so far, ``(1,)``.
    """

    mean: Tensor
    variance: Tensor
    steps: Tensor

    def __init__(self, width: int, *, affine: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width)) if affine else None
        self.bias = nn.Parameter(torch.zeros(width)) if affine else None
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to a tensor of the same shape."""
        if not self.training or x.shape[0] * x.shape[2] == 1:
            return functional.batch_norm(x, self.mean, self.variance, self.weight, self.bias, eps=EPSILON)
        # With momentum 1, these become the statistics of the batch.
        mean, variance = torch.zeros_like(self.mean), torch.ones_like(self.variance)
        out = functional.batch_norm(x, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=EPSILON)
        if not recomputing():
            with torch.no_grad():
                self.steps += 1
                share = (1 / self.steps).clamp(min=MOMENTUM)
                self.mean.lerp_(mean, share)
                self.variance.lerp_(variance, share)
        return out


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each step."""

    def forward(self, input: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to a tensor of the same shape."""
        return super().forward(input.transpose(1, 2)).transpose(1, 2)


def groups_of(width: int) -> int:
    """Return the number of groups of :class:`nn.GroupNorm`: about one for each 16 channels; the number divides ``width``."""
    most = max(1, width // CHANNELS_OF_A_GROUP)
    return next(groups for groups in range(most, 0, -1) if width % groups == 0)


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": BatchNorm,
    "layer": ChannelNorm,
    "group": lambda width: nn.GroupNorm(groups_of(width), width),
}
"""Constructors of the norms by name; the argument is the number of channels."""
