"""Base class of the optimisers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import nn, optim

from cnn_lstm_hyperopt.training.penalties import decay_weights


class Optimizer(ABC):
    """Base class of the optimisers.

    Attributes:
        name: name in the search space, which is also the name of the optimiser's file.
        place: position of the optimiser in the search space.
        description: description of the optimiser in one line, for the documentation.
        states: number of values that the optimiser stores for each weight.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]
    states: ClassVar[int]

    @abstractmethod
    def make(self, weights: Iterable[nn.Parameter], rate: float) -> optim.Optimizer:
        """Create PyTorch's optimiser without weight decay. The option ``fused`` updates all weights in one pass over memory."""

    def decay(self, weights: Sequence[nn.Parameter], *, learning_rate: float, strength: float) -> None:
        """Apply weight decay, after gradient clipping and before the optimiser's step. The default is decoupled weight decay."""
        decay_weights(weights, learning_rate=learning_rate, decay=strength)
