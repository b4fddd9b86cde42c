"""Layers of an Inception block for time series (Ismail Fawaz et al. 2020, arXiv 1909.04939, figure 2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class InceptionLayers(nn.Module):
    """Parallel convolutions of several sizes, and a convolution of size 1 on the maximums of three neighbouring steps."""

    def __init__(self, inputs: int, filters: int, *, sizes: Sequence[int], dilation: int, bottleneck: bool) -> None:
        super().__init__()
        self.bottleneck = nn.Conv1d(inputs, filters, 1, bias=False) if bottleneck else None
        self.convs = nn.ModuleList(
            nn.Conv1d(filters if bottleneck else inputs, filters, size, padding="same", dilation=dilation, bias=False)
            for size in sizes
        )
        self.pool = nn.MaxPool1d(3, stride=1, padding=1)
        self.pooled = nn.Conv1d(inputs, filters, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, inputs, time)`` to ``(batch, filters × (sizes + 1), time)``."""
        narrowed = x if self.bottleneck is None else self.bottleneck(x)
        return torch.cat([*(conv(narrowed) for conv in self.convs), self.pooled(self.pool(x))], dim=1)
