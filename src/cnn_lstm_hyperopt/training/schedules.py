"""The learning-rate schedules by name; each is stepped once an epoch with the validation loss.

``max_epochs`` stretches a schedule: a trial and a retraining pass through the same shape.
"""

import math
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, ReduceLROnPlateau, StepLR

FINAL_SHARE = 0.01
"""Share of the initial learning rate at which ``cosine`` and ``exponential`` end."""


class Schedule:
    """One face for PyTorch's schedulers, of which only the plateau one wants the loss."""

    def __init__(self, scheduler: CosineAnnealingLR | ExponentialLR | ReduceLROnPlateau | StepLR) -> None:
        self._scheduler = scheduler

    def step(self, loss: float) -> None:
        """Moves on by one epoch that ended with this validation loss."""
        if isinstance(self._scheduler, ReduceLROnPlateau):
            self._scheduler.step(loss)
        else:
            self._scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Where it stands; the learning rate itself is part of the optimiser's state."""
        return dict(self._scheduler.state_dict())

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """The inverse of :meth:`state_dict`."""
        self._scheduler.load_state_dict(state)


ScheduleFactory = Callable[[Optimizer, int], Schedule]


def _cosine(optimizer: Optimizer, max_epochs: int) -> Schedule:
    """From the initial rate to 1 % of it along half a cosine (Loshchilov & Hutter 2017, eq. 5)."""
    rate = float(optimizer.param_groups[0]["lr"])
    return Schedule(CosineAnnealingLR(optimizer, T_max=max_epochs, eta_min=FINAL_SHARE * rate))


def _step(optimizer: Optimizer, max_epochs: int) -> Schedule:
    """A tenth after each third of the epochs (rounded up, so that the last third is not cut short)."""
    return Schedule(StepLR(optimizer, step_size=math.ceil(max_epochs / 3), gamma=0.1))


def _exponential(optimizer: Optimizer, max_epochs: int) -> Schedule:
    """The same factor each epoch, 1 % at the end."""
    return Schedule(ExponentialLR(optimizer, gamma=FINAL_SHARE ** (1 / max_epochs)))


def _plateau(optimizer: Optimizer, max_epochs: int) -> Schedule:
    """Half after two epochs in a row without a lower validation loss."""
    return Schedule(ReduceLROnPlateau(optimizer, factor=0.5, patience=1, threshold=0.0))


SCHEDULES: dict[str, ScheduleFactory] = {
    "cosine": _cosine,
    "step": _step,
    "exponential": _exponential,
    "plateau": _plateau,
}
