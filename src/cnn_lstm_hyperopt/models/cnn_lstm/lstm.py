"""Recurrent branch: stacked LSTM or GRU layers, optionally bidirectional, with skip connections and attention pooling."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.branch import BranchOutput
from cnn_lstm_hyperopt.models.cnn_lstm.params import LstmConfig
from cnn_lstm_hyperopt.models.layers.attention import AttentionPooling
from cnn_lstm_hyperopt.models.layers.dropout import Dropout
from cnn_lstm_hyperopt.models.layers.pooling import SUMMARIES
from cnn_lstm_hyperopt.models.layers.recompute import run


class LstmBranch(nn.Module):
    """Stack of ``nn.LSTM`` or ``nn.GRU`` (Cho et al. 2014, arXiv 1406.1078) layers, each followed by dropout.

    Attributes:
        recompute: whether the backward pass recomputes each layer and the pooling.
    """

    def __init__(self, input_dim: int, config: LstmConfig) -> None:
        super().__init__()
        self.skip_connections = config.skip_connections
        self.bidirectional = config.bidirectional
        self.hidden_dim = config.hidden_dim
        self.summary = config.summary
        cell = {"lstm": nn.LSTM, "gru": nn.GRU}[config.cell]
        self.layers = nn.ModuleList(
            cell(
                input_dim if layer == 0 else config.width,
                config.hidden_dim,
                batch_first=True,
                bidirectional=config.bidirectional,
            )
            for layer in range(config.num_layers)
        )
        self.dropout = Dropout(config.dropout)
        self.pooling = AttentionPooling(config.width, heads=config.attention_heads) if config.attention_heads else None
        self.recompute = False

    def forward(self, x: Tensor) -> BranchOutput:
        """Map ``(batch, time, input_dim)`` to a sequence and a summary, both of width ``hidden_dim × directions``."""
        sequence = x
        for depth, layer in enumerate(self.layers):
            out = run(self._layer, layer, sequence, recompute=self.recompute)
            # The first layer changes the width, so identity shortcuts (He et al. 2016) start at the second.
            sequence = sequence + out if self.skip_connections and depth > 0 else out
        if self.pooling is not None:
            return BranchOutput(sequence, run(self.pooling, sequence, recompute=self.recompute))
        summary = self._last(sequence) if self.summary == "last" else SUMMARIES[self.summary](sequence)
        return BranchOutput(sequence, summary)

    def _layer(self, layer: nn.Module, sequence: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(layer(sequence)[0])
        return dropped

    def _last(self, sequence: Tensor) -> Tensor:
        """Return the last states of both directions: the forward state at the window's end, the backward state at its start."""
        if not self.bidirectional:
            return sequence[:, -1]
        return torch.cat([sequence[:, -1, : self.hidden_dim], sequence[:, 0, self.hidden_dim :]], dim=-1)
