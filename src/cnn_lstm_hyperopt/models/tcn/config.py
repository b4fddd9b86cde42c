"""Parameters, configuration and cost of a temporal convolutional network.

Source: Bai, Kolter & Koltun 2018, "An empirical evaluation of generic convolutional and recurrent networks for sequence modeling"
(arXiv 1803.01271), section 3.
"""

from dataclasses import dataclass
from typing import ClassVar

from cnn_lstm_hyperopt.models.base import NetworkConfig
from cnn_lstm_hyperopt.models.cost import Profile, convolution, linear
from cnn_lstm_hyperopt.space.domains import Choices, Fixed, FloatRange, IntRange
from cnn_lstm_hyperopt.space.parameters import ParameterSpec, Params, read_group

CONVOLUTIONS = 2
"""Convolutions of a residual block."""
BATCH, WEIGHT = "batch", "weight"

PARAMETERS: dict[str, ParameterSpec] = {
    "tcn.channels": ParameterSpec("choice", Choices((8, 16, 32, 64, 128)), low=1, high=4096),
    "tcn.blocks": ParameterSpec("int", IntRange(1, 6), low=1, high=12),
    "tcn.kernel_size": ParameterSpec("choice", Choices((3, 5, 7)), low=2, high=255),
    "tcn.dilation_growth": ParameterSpec("choice", Fixed(2), low=1, high=4),
    "tcn.norm": ParameterSpec("choice", Choices((WEIGHT, BATCH)), options=(WEIGHT, BATCH)),
    "tcn.dropout": ParameterSpec("float", FloatRange(0.0, 0.5), low=0.0, high=0.95),
}


@dataclass(frozen=True)
class TcnLayers:
    """Values of the parameters of the family.

    Attributes:
        channels: number of channels of all blocks.
        blocks: number of residual blocks.
        kernel_size: number of weights of a filter in time.
        dilation_growth: factor between the dilations of consecutive blocks. The first dilation is 1.
        norm: ``weight`` (Salimans & Kingma 2016) or ``batch`` (Ioffe & Szegedy 2015) normalisation.
        dropout: share of the outputs of each convolution that a training sets to 0.
    """

    channels: int
    blocks: int
    kernel_size: int
    dilation_growth: int
    norm: str
    dropout: float

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of each block."""
        return tuple(self.dilation_growth**place for place in range(self.blocks))

    @property
    def reach(self) -> int:
        """Number of bars on which the last output depends (receptive field)."""
        return 1 + CONVOLUTIONS * (self.kernel_size - 1) * sum(self.dilations)


@dataclass(frozen=True)
class TcnConfig(NetworkConfig):
    """Configuration of a temporal convolutional network with output heads."""

    family: ClassVar[str] = "tcn"
    layers: TcnLayers

    def cost(self, *, lookback: int) -> Profile:
        layers, inputs, total = self.layers, self.input_dim, Profile()
        for _ in range(layers.blocks):
            total += _block_cost(inputs, layers, lookback, narrow=inputs == self.input_dim)
            inputs = layers.channels
        heads = linear(layers.channels, self.n_classes)
        return total + heads + (linear(layers.channels, 1) if self.has_regression else Profile())

    def describe(self) -> str:
        layers = self.layers
        return (
            f"{layers.blocks} residual block{'s' if layers.blocks > 1 else ''} of {CONVOLUTIONS} causal convolutions"
            f" ({layers.channels} channels, size {layers.kernel_size}, dilations {', '.join(map(str, layers.dilations))},"
            f" {layers.norm} norm), which read the last {layers.reach:,} bars"
        )


def _block_cost(inputs: int, layers: TcnLayers, steps: int, *, narrow: bool) -> Profile:
    width, total = layers.channels, Profile()
    for place in range(CONVOLUTIONS):
        read = inputs if place == 0 else width
        total += convolution(read, width, layers.kernel_size, steps=steps, narrow=narrow and place == 0)
        # a padded input, and the outputs of convolution, activation and dropout
        total += Profile(parameters=2 * width, sequence_elements=steps * (read + 3 * width), layers=3)
        if layers.norm == BATCH:
            total += Profile(buffers=2 * width + 1, sequence_elements=steps * width, layers=1)
    total += Profile(sequence_elements=2 * steps * width, layers=2)  # sum with the shortcut, activation
    return total if inputs == width else total + linear(inputs, width, times=steps, narrow=narrow)


def read_layers(params: Params) -> TcnLayers:
    """Return the layers from the parameters of a full configuration."""
    return read_group(TcnLayers, "tcn", params, PARAMETERS)
