"""Pooling over time: of neighbouring steps, and of a whole sequence to a summary vector."""

from collections.abc import Callable

import torch
from torch import Tensor

from cnn_lstm_hyperopt.models.cost import STEPS_OF_A_POOL

DOWNSAMPLING: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda pairs: pairs.amax(dim=-1),
    "mean": lambda pairs: pairs.mean(dim=-1),
}
"""Functions that join the last dimension of ``(batch, channels, steps, 2)``, by name."""


def downsample(x: Tensor, kind: str) -> Tensor:
    """Join pairs of neighbouring steps of ``(batch, channels, time)``.

    The pairs end with the newest step. The oldest step of an odd number of steps forms a pair with itself.
    """
    if x.shape[2] % STEPS_OF_A_POOL:
        x = torch.cat([x[:, :, :1], x], dim=2)
    return DOWNSAMPLING[kind](x.unflatten(2, (-1, STEPS_OF_A_POOL)))


SUMMARIES: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda sequence: sequence.mean(dim=1),
    "max": lambda sequence: sequence.amax(dim=1),
    "last": lambda sequence: sequence[:, -1],
}
"""Functions from a sequence ``(batch, time, width)`` to a summary ``(batch, width)``, by name."""
