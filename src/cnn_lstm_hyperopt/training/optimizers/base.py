"""What every optimiser has."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from torch import nn, optim

from cnn_lstm_hyperopt.training.penalties import decay_weights


class Optimizer(ABC):
    """An optimiser by its name.

    Attributes:
        name: in the search space; its file has the same.
        place: in the order of the family.
        description: one line for the documentation.
        states: numbers that it keeps for each parameter.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]
    states: ClassVar[int]

    @abstractmethod
    def make(self, weights: Iterable[nn.Parameter], rate: float) -> optim.Optimizer:
        """Return PyTorch's optimiser without any weight decay; ``fused`` ones update all weights in one pass over memory."""

    def decay(self, weights: Sequence[nn.Parameter], *, learning_rate: float, strength: float) -> None:
        """Apply weight decay before a step, after the gradient was clipped: decoupled, unless an optimiser says otherwise."""
        decay_weights(weights, learning_rate=learning_rate, decay=strength)
