"""Base class of the learning-rate schedules."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

FINAL_SHARE = 0.01
"""Last learning rate as a share of the initial learning rate, in the schedules ``cosine`` and ``exponential``."""


class Schedule(ABC):
    """Base class of the learning-rate schedules. A schedule changes the learning rate once per epoch.

    Args:
        optimizer: optimiser whose learning rate changes.
        max_epochs: length of the schedule in epochs.

    Attributes:
        name: name in the search space, which is also the name of the schedule's file.
        place: position of the schedule in the search space.
        description: description of the schedule in one line, for the documentation.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]

    def __init__(self, optimizer: Optimizer, max_epochs: int) -> None:
        self._scheduler = self.make(optimizer, max_epochs)

    @staticmethod
    @abstractmethod
    def make(optimizer: Optimizer, max_epochs: int) -> LRScheduler:
        """Create PyTorch's scheduler."""

    def step(self, loss: float) -> None:
        """Advance the schedule by one epoch; ``loss`` is the validation loss of the epoch that has ended."""
        self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule. The learning rate is not included, since it is part of the optimiser's state."""
        return dict(self._scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`."""
        self._scheduler.load_state_dict(state)
