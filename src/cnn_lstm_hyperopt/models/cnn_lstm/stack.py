"""Convolutional branch of stacked blocks, which the architecture ``full`` adds to the branch of the specification."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.blocks.base import Block
from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput
from cnn_lstm_hyperopt.models.cnn_lstm.params import CnnConfig
from cnn_lstm_hyperopt.models.layers.activations import ACTIVATIONS
from cnn_lstm_hyperopt.models.layers.attention import AttentionPooling, SelfAttention
from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.norms import NORMS
from cnn_lstm_hyperopt.models.layers.pooling import SUMMARIES, downsample
from cnn_lstm_hyperopt.models.layers.recompute import run
from cnn_lstm_hyperopt.models.layers.squeeze_excite import SqueezeExcite


class StackedBlock(nn.Module):
    """A block with norm, activation, optional squeeze-and-excite, optional shortcut and optional downsampling, in this order.

    The shortcut is the identity (He et al. 2016), or a convolution of size 1 if the block changes the number of channels.
    """

    def __init__(self, inputs: int, block: Block, config: CnnConfig) -> None:
        super().__init__()
        self.convolve = block.layers(inputs)
        self.norm = NORMS[config.norm](block.width)
        self.activation = getattr(nn, ACTIVATIONS[config.activation])()
        self.excite = SqueezeExcite(block.width) if config.squeeze_excite else nn.Identity()
        self.residual, self.downsampling = config.residual, config.downsampling
        changes = config.residual and inputs != block.width
        self.shortcut = nn.Conv1d(inputs, block.width, 1) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, time)`` to ``(batch, width, steps)``."""
        out: Tensor = self.excite(self.activation(self.norm(self.convolve(x))))
        if self.residual:
            out = out + self.shortcut(x)
        return out if self.downsampling == "none" else downsample(out, self.downsampling)


class StackedBranch(nn.Module):
    """Convolutional branch: stacked blocks, dropout and optional self-attention, in this order.

    Attributes:
        recompute: whether the backward pass recomputes each block and the attention.
    """

    def __init__(self, input_dim: int, config: CnnConfig) -> None:
        super().__init__()
        blocks = config.stack()
        inputs = [input_dim, *(block.width for block in blocks)]
        self.blocks = nn.ModuleList(
            StackedBlock(width, block, config) for width, block in zip(inputs, blocks, strict=False)
        )
        self.dropout = Dropout(config.dropout)
        self.attention = SelfAttention(config.width, heads=config.attention_heads) if config.attention_heads else None
        self.summary = config.summary
        self.pooling = AttentionPooling(config.width, heads=1) if config.summary == "attention" else None
        self.recompute = False

    def forward(self, x: Tensor) -> BranchOutput:
        """Map ``(batch, time, input_dim)`` to a sequence ``(batch, steps, width)`` and a summary of the sequence."""
        channels = x.transpose(1, 2)  # (batch, input_dim, time)
        for block in self.blocks:
            channels = run(block, channels, recompute=self.recompute)
        sequence = self.dropout(channels.transpose(1, 2))
        if self.attention is not None:
            sequence = run(self.attention, sequence, recompute=self.recompute)
        return BranchOutput(sequence, self._summary(sequence))

    def _summary(self, sequence: Tensor) -> Tensor:
        if self.pooling is not None:
            return run(self.pooling, sequence, recompute=self.recompute)
        return torch.cat([SUMMARIES[kind](sequence) for kind in self.summary.split("_")], dim=-1)
