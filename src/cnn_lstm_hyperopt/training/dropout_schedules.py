"""Dropout rates over the epochs of a training.

Rising schedules are curriculum dropout (Morerio et al. 2017, arXiv 1703.06229).
"""

import math
from collections.abc import Callable

from torch import nn

DropoutFactor = Callable[[float], float]
"""Progress in [0, 1] (0 in the first epoch, 1 in the last) → share of the configured rate."""


def _constant(progress: float) -> float:
    return 1.0


def _linear(progress: float) -> float:
    return progress


def _cosine(progress: float) -> float:
    return (1 - math.cos(math.pi * progress)) / 2


DROPOUT_SCHEDULES: dict[str, DropoutFactor] = {"constant": _constant, "linear": _linear, "cosine": _cosine}


class DropoutSchedule:
    """Sets the rate of all dropout layers of a network in each epoch."""

    def __init__(self, network: nn.Module, name: str, max_epochs: int) -> None:
        self._factor = DROPOUT_SCHEDULES[name]
        self._last = max_epochs - 1
        self._rates = [(layer, layer.p) for layer in network.modules() if isinstance(layer, nn.Dropout)]

    def start_epoch(self, epoch: int) -> None:
        """Set the rates of an epoch, counted from 1; a single epoch has the configured rates."""
        factor = self._factor((epoch - 1) / self._last if self._last > 0 else 1.0)
        for layer, rate in self._rates:
            layer.p = factor * rate

    def restore(self) -> None:
        """Set the configured rates."""
        for layer, rate in self._rates:
            layer.p = rate
