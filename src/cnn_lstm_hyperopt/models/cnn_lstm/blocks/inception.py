"""Inception block (Ismail Fawaz et al. 2020, InceptionTime, arXiv 1909.04939, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnn_lstm_hyperopt.models.cnn_lstm.blocks.base import Block
from cnn_lstm_hyperopt.models.cost import Profile, convolution

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Inception(Block):
    """Parallel convolutions of all sizes on a bottleneck, beside a convolution of size 1 on maximums of three steps.

    The bottleneck is a convolution of size 1 with ``num_filters`` outputs. A block without more input channels than that has no
    bottleneck.
    """

    name, place = "inception", 3
    description = "bottleneck, parallel filters of all sizes and max pooling (arXiv 1909.04939)"

    @property
    def width(self) -> int:
        return self.num_filters * (len(self.filter_sizes) + 1)

    def _bottleneck(self, inputs: int) -> bool:
        return inputs > self.num_filters

    def cost(self, inputs: int, steps: int) -> Profile:
        first = self.position == 0
        total = Profile(sequence_elements=inputs * steps, layers=2)  # maximums; concatenation
        total += convolution(inputs, self.num_filters, 1, steps=steps, narrow=first)
        narrow, read = first, inputs
        if self._bottleneck(inputs):
            total += convolution(inputs, self.num_filters, 1, steps=steps, narrow=first)
            total += Profile(sequence_elements=self.num_filters * steps)
            narrow, read = False, self.num_filters
        for size in self.filter_sizes:
            total += convolution(read, self.num_filters, size, steps=steps, narrow=narrow)
        return total

    def layers(self, inputs: int) -> nn.Module:
        from cnn_lstm_hyperopt.models.layers.inception import InceptionLayers

        return InceptionLayers(
            inputs,
            self.num_filters,
            sizes=self.filter_sizes,
            dilation=self.dilation,
            bottleneck=self._bottleneck(inputs),
        )
