"""Schedules that change dropout rates over the epochs of a training.

Rates that rise over the epochs are called curriculum dropout (Morerio et al. 2017, arXiv 1703.06229).
"""

import math
from collections.abc import Callable

from torch import nn

DropoutFactor = Callable[[float], float]
"""Function from progress (0 in the first epoch, 1 in the last) to the factor that multiplies the configured dropout rate."""


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return progress


def _cosine(progress: float) -> float:
    return (1 - math.cos(math.pi * progress)) / 2


DROPOUT_SCHEDULES: dict[str, DropoutFactor] = {"constant": _constant, "linear": _linear, "cosine": _cosine}


class DropoutSchedule:
    """Schedule that sets the rates of all dropout layers of a network at the start of each epoch."""

    def __init__(self, network: nn.Module, name: str, max_epochs: int) -> None:
        self._factor = DROPOUT_SCHEDULES[name]
        self._last = max_epochs - 1
        self._rates = [(layer, layer.p) for layer in network.modules() if isinstance(layer, nn.Dropout)]

    def start_epoch(self, epoch: int) -> None:
        """Set the dropout rates of an epoch, counted from 1; a training of one epoch uses the configured rates."""
        factor = self._factor((epoch - 1) / self._last if self._last > 0 else 1.0)
        for layer, rate in self._rates:
            layer.p = factor * rate

    def restore(self) -> None:
        """Set all dropout layers back to their configured rates."""
        for layer, rate in self._rates:
            layer.p = rate
