"""Temporal convolutional network (Bai, Kolter & Koltun 2018, arXiv 1803.01271) with a classification and a regression head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.norms import BatchNorm
from cnn_lstm_hyperopt.models.layers.recompute import run
from cnn_lstm_hyperopt.models.network import Network, Output
from cnn_lstm_hyperopt.models.tcn.config import BATCH, CONVOLUTIONS

if TYPE_CHECKING:
    from cnn_lstm_hyperopt.models.tcn.config import TcnConfig, TcnLayers


class CausalConv(nn.Module):
    """Dilated causal convolution with batch or weight normalisation: an output does not depend on later inputs.

    Weight normalisation (Salimans & Kingma 2016, equation 2): each filter is g · v / ‖v‖ with learned g and v.
    """

    def __init__(self, inputs: int, layers: TcnLayers, dilation: int) -> None:
        super().__init__()
        convolution = nn.Conv1d(inputs, layers.channels, layers.kernel_size)  # for torch's initial weights
        self.direction = nn.Parameter(convolution.weight.detach().clone())
        by_batch = layers.norm == BATCH
        self.norm = BatchNorm(layers.channels) if by_batch else None
        self.length = None if by_batch else nn.Parameter(_lengths(self.direction).detach().clone())
        self.bias = None if convolution.bias is None or by_batch else nn.Parameter(convolution.bias.detach().clone())
        self._dilation, self._padding = dilation, (layers.kernel_size - 1) * dilation

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, time)`` to ``(batch, channels, time)``."""
        weight: Tensor = self.direction
        if self.length is not None:
            weight = weight * (self.length / _lengths(weight))
        out = functional.conv1d(functional.pad(x, (self._padding, 0)), weight, self.bias, dilation=self._dilation)
        return out if self.norm is None else self.norm(out)


def _lengths(filters: Tensor) -> Tensor:
    """Return the Euclidean norm of each filter, ``(channels, 1, 1)``."""
    return filters.square().sum(dim=(1, 2), keepdim=True).sqrt()


class ResidualBlock(nn.Module):
    """Two causal convolutions, each with ReLU and dropout, and a shortcut (figure 1b of the paper)."""

    def __init__(self, inputs: int, layers: TcnLayers, dilation: int) -> None:
        super().__init__()
        widths = [inputs, *[layers.channels] * CONVOLUTIONS]
        self.convolutions = nn.ModuleList(CausalConv(width, layers, dilation) for width in widths[:-1])
        self.dropouts = nn.ModuleList(Dropout(layers.dropout) for _ in range(CONVOLUTIONS))
        self.shortcut = nn.Conv1d(inputs, layers.channels, 1) if inputs != layers.channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, time)`` to ``(batch, channels, time)``."""
        out = x
        for convolution, dropout in zip(self.convolutions, self.dropouts, strict=True):
            out = dropout(torch.relu(convolution(out)))
        return torch.relu(out + self.shortcut(x))


class Tcn(Network):
    """Residual blocks, whose last step goes to the output heads."""

    config: TcnConfig

    def __init__(self, config: TcnConfig) -> None:
        super().__init__()
        self.config = config
        layers = config.layers
        inputs = [config.input_dim, *[layers.channels] * layers.blocks]
        self.blocks = nn.ModuleList(
            ResidualBlock(width, layers, dilation) for width, dilation in zip(inputs, layers.dilations, strict=False)
        )
        self.classify = nn.Linear(layers.channels, config.n_classes)
        self.regress = nn.Linear(layers.channels, 1) if config.has_regression else None
        self._recompute = False

    def recompute_in_backward(self, recompute: bool) -> None:
        self._recompute = recompute

    def forward(self, x: Tensor) -> Output:
        """Return the output for windows ``(batch, lookback, input_dim)``; see the base class."""
        channels = x.transpose(1, 2)  # (batch, input_dim, time)
        for block in self.blocks:
            channels = run(block, channels, recompute=self._recompute)
        last = channels[:, :, -1]
        return Output(self.classify(last), None if self.regress is None else self.regress(last).squeeze(-1))
