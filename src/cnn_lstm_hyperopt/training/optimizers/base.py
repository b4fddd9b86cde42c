"""Base class of the optimisers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import nn, optim

from cnn_lstm_hyperopt.training.penalties import decay_weights


class Optimizer(ABC):
    """An optimiser.

    Attributes:
        name: name in the search space and of its file.
        place: position in the order of the optimisers.
        description: one line for the documentation.
        states: state values per parameter.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]
    states: ClassVar[int]

    @abstractmethod
    def make(self, weights: Iterable[nn.Parameter], rate: float) -> optim.Optimizer:
        """Return PyTorch's optimiser without weight decay; ``fused`` updates all weights in one pass over memory."""

    def decay(self, weights: Sequence[nn.Parameter], *, learning_rate: float, strength: float) -> None:
        """Apply weight decay after gradient clipping and before the step; decoupled by default."""
        decay_weights(weights, learning_rate=learning_rate, decay=strength)
