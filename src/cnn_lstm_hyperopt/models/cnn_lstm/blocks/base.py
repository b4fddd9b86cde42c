"""Base class of the convolution blocks."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from cnn_lstm_hyperopt.models.cost import Profile

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Block(abc.ABC):
    """Base class of the convolution blocks. A block maps a sequence to a sequence of the same length and of another width.

    The branch adds norm, activation, squeeze-and-excite, shortcut and downsampling, which are the same for all blocks. A subclass
    is a frozen dataclass without more fields. A subclass loads torch only in :meth:`layers`, because reading settings must not
    load torch.

    Attributes:
        name: value of the parameter ``cnn.block`` that selects this block.
        place: position among the values of ``cnn.block``; the random draws of a study depend on the order of these values.
        description: description of the block in one line, for the documentation.
        num_filters: number of filters of each size.
        filter_sizes: odd filter sizes.
        position: position of the block in the branch, from 0.
        dilation: distance between the steps that a filter reads.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]

    num_filters: int
    filter_sizes: tuple[int, ...]
    position: int = 0
    dilation: int = 1

    @property
    @abc.abstractmethod
    def width(self) -> int:
        """Number of channels that the block returns."""

    @abc.abstractmethod
    def cost(self, inputs: int, steps: int) -> Profile:
        """Return the cost of the block on ``inputs`` channels of ``steps`` steps."""

    @abc.abstractmethod
    def layers(self, inputs: int) -> nn.Module:
        """Create the layers, which map ``(batch, inputs, time)`` to ``(batch, width, time)``, without norm and activation."""
