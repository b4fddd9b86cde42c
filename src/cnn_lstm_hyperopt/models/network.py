"""What the networks of all families have in common."""

import abc
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.base import NetworkConfig


class Output(NamedTuple):
    """``logits``: ``(batch, n_classes)``; ``value``: ``(batch,)``, standardised, None without a regression head."""

    logits: Tensor
    value: Tensor | None

    def widened(self) -> "Output":
        """With bfloat16 made float32: losses and scores need its digits."""
        if self.logits.dtype is not torch.bfloat16:
            return self
        return Output(self.logits.float(), None if self.value is None else self.value.float())


class Network(nn.Module, abc.ABC):
    """A network that classifies windows and may predict a value; it has no buffers, and batches of any size mean the same.

    Attributes:
        config: from which it was built.
    """

    config: NetworkConfig

    @abc.abstractmethod
    def recompute_in_backward(self, recompute: bool) -> None:
        """Whether to save memory at the price of a second forward pass: part by part, backward computes anew what it needs."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Output:
        """``(batch, lookback, input_dim)`` → :class:`Output`."""
