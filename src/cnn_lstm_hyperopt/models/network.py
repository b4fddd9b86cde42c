"""Base class of the networks of all families, and the type of their outputs."""

import abc
from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.layers.input_scale import InputScale


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


class LinearModel(NamedTuple):
    """Linear model of window summaries: outputs = weights · summaries + biases. The value is in standardised units.

    Attributes:
        weights: ``(outputs, summaries)`` float32; the outputs are the logits of the classes and, with regression, the value.
        biases: ``(outputs,)`` float32.
    """

    weights: Tensor
    biases: Tensor


class Network(nn.Module, abc.ABC):
    """A network that classifies windows and may predict a value.

    In evaluation mode, the output for a window does not depend on the other windows of the batch. In training mode, the output
    depends on the other windows only if the configuration has batch normalisation or random kernels. Only these two and the scale
    of the inputs have buffers.

    Attributes:
        config: configuration of the network.
        starts_linear: whether a training calls :meth:`start_linear` before its first step.
        inputs_key: what the summaries depend on, beside the windows.
    """

    config: NetworkConfig
    starts_linear: bool = False
    inputs_key: Hashable = None

    @property
    def input_scale(self) -> InputScale | None:
        """Scale by which the network standardises its windows; None: the network gets standardised windows."""
        return None

    @abc.abstractmethod
    def recompute_in_backward(self, recompute: bool) -> None:
        """Switch gradient checkpointing on or off. Gradient checkpointing needs less memory, but a second forward pass."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Output:
        """Return the output for windows ``(batch, lookback, input_dim)``.

        A network with fixed features takes them as a second argument. Without the argument, the network computes them.
        """

    def fixed_features(self, x: Tensor) -> Tensor | None:
        """Return features of windows that training does not change, ``(batch, config.fixed_width(lookback))``.

        The result is None if the network has no such features.
        """
        return None

    def summaries(self, x: Tensor) -> Tensor:
        """Return the window summaries ``(batch, summaries)`` of the linear highway, for windows as in :meth:`forward`.

        Raises:
            ValueError: the network has no linear highway.
        """
        raise ValueError("the network has no linear highway")

    def start_linear(self, model: LinearModel) -> None:
        """Set the weights so that the network computes ``model`` for all windows.

        Raises:
            ValueError: the network has no linear highway.
        """
        raise ValueError("the network has no linear highway")
