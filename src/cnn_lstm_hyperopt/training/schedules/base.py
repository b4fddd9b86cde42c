"""Base class of the learning-rate schedules."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

FINAL_SHARE = 0.01
"""Final share of the initial learning rate in ``cosine`` and ``exponential``."""


class Schedule(ABC):
    """A learning-rate schedule, stepped once per epoch.

    Args:
        optimizer: optimiser whose learning rate changes.
        max_epochs: length of the schedule.

    Attributes:
        name: name in the search space and of its file.
        place: position in the order of the schedules.
        description: one line for the documentation.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]

    def __init__(self, optimizer: Optimizer, max_epochs: int) -> None:
        self._scheduler = self.make(optimizer, max_epochs)

    @staticmethod
    @abstractmethod
    def make(optimizer: Optimizer, max_epochs: int) -> LRScheduler:
        """Return PyTorch's scheduler."""

    def step(self, loss: float) -> None:
        """Advance by one epoch; ``loss`` is the epoch's validation loss."""
        self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the schedule; the learning rate itself is part of the optimiser's state."""
        return dict(self._scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._scheduler.load_state_dict(state)
