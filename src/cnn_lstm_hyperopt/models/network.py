"""Base class of the networks of all families, and the type of their outputs."""

import abc
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.base import NetworkConfig


class Output(NamedTuple):
    """Output of a network.

    Attributes:
        logits: logits of the classes, ``(batch, n_classes)``.
        value: predicted regression value in standardised units, ``(batch,)``; None without a regression head.
    """

    logits: Tensor
    value: Tensor | None

    def as_float32(self) -> "Output":
        """Return the output in float32, because losses and scores need more digits than bfloat16 has."""
        if self.logits.dtype is not torch.bfloat16:
            return self
        return Output(self.logits.float(), None if self.value is None else self.value.float())


class Network(nn.Module, abc.ABC):
    """A network that classifies windows and may predict a value.

    A network has no buffers. The output for a window does not depend on the other windows of the batch.

    Attributes:
        config: configuration of the network.
    """

    config: NetworkConfig

    @abc.abstractmethod
    def recompute_in_backward(self, recompute: bool) -> None:
        """Switch gradient checkpointing on or off. Gradient checkpointing needs less memory, but a second forward pass."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Output:
        """Return the output for windows ``(batch, lookback, input_dim)``."""
