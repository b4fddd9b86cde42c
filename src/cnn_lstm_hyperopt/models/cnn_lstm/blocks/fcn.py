"""Block of a fully convolutional network (Wang, Yan & Oates 2017, arXiv 1611.06455): one convolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.models.cnn_lstm.blocks.base import Block
from cnn_lstm_hyperopt.models.cost import Profile, convolution

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class FullyConvolutional(Block):
    """One convolution. The first block has the largest filter size, the next block the next smaller size, as in the paper.

    Blocks beyond the number of sizes have the smallest size.
    """

    name, place = "fcn", 2
    description = "one convolution a block; later blocks have smaller filters (arXiv 1611.06455)"

    @property
    def width(self) -> int:
        return self.num_filters

    @property
    def size(self) -> int:
        """Filter size of this block."""
        sizes = sorted(self.filter_sizes, reverse=True)
        return sizes[min(self.position, len(sizes) - 1)]

    def cost(self, inputs: int, steps: int) -> Profile:
        return convolution(inputs, self.width, self.size, steps=steps, narrow=self.position == 0)

    def layers(self, inputs: int) -> nn.Module:
        from torch import nn

        return nn.Conv1d(inputs, self.width, self.size, padding="same", dilation=self.dilation, bias=False)
