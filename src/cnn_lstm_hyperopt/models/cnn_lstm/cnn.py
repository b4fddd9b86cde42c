"""Convolutional branch: parallel filters of several sizes."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig
from cnn_lstm_hyperopt.models.layers.activations import ACTIVATIONS
from cnn_lstm_hyperopt.models.layers.attention import SelfAttention
from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.recompute import run


class ConvBranch(nn.Module):
    """Convolutional branch of a CNN+LSTM network.

    The branch consists of a convolution for each filter size, norm, activation, optional shortcut, dropout and optional
    self-attention, in this order. The summary consists of the mean over time and the last step of the sequence.

    Attributes:
        recompute: whether the backward pass recomputes the filters and the attention.
    """

    def __init__(self, input_dim: int, config: CnnConfig) -> None:
        super().__init__()
        width = config.width
        self.convs = nn.ModuleList(
            nn.Conv1d(input_dim, config.num_filters, size, padding="same") for size in config.filter_sizes
        )
        self.norm = nn.LayerNorm(width)
        self.activation = getattr(nn, ACTIVATIONS[config.activation])()
        self.shortcut = nn.Linear(input_dim, width) if config.residual else None
        self.dropout = Dropout(config.dropout)
        self.attention = SelfAttention(width, heads=config.attention_heads) if config.attention_heads else None
        self.recompute = False

    def forward(self, x: Tensor) -> BranchOutput:
        """Map ``(batch, time, input_dim)`` to a sequence, whose width is filters × sizes, and a summary of twice this width."""
        sequence = run(self._filter, x, recompute=self.recompute)
        if self.attention is not None:
            sequence = run(self.attention, sequence, recompute=self.recompute)
        return BranchOutput(sequence, torch.cat([sequence.mean(dim=1), sequence[:, -1]], dim=-1))

    def _filter(self, x: Tensor) -> Tensor:
        """Map ``(batch, time, input_dim)`` to the sequence before self-attention, ``(batch, time, width)``."""
        channels = x.transpose(1, 2)  # (batch, input_dim, time)
        filtered = torch.cat([conv(channels) for conv in self.convs], dim=1).transpose(1, 2)  # (batch, time, width)
        sequence: Tensor = self.activation(self.norm(filtered))
        if self.shortcut is not None:
            sequence = sequence + self.shortcut(x)
        dropped: Tensor = self.dropout(sequence)
        return dropped
