"""How dropout rates move over a training.

Rising schedules are curriculum dropout (Morerio et al. 2017, arXiv 1703.06229): first learn, then be disturbed.
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
    """Sets the rate of every dropout layer of a network, epoch by epoch."""

    def __init__(self, network: nn.Module, name: str, max_epochs: int) -> None:
        self._factor = DROPOUT_SCHEDULES[name]
        self._last = max_epochs - 1
        self._rates = [(layer, layer.p) for layer in network.modules() if isinstance(layer, nn.Dropout)]

    def start_epoch(self, epoch: int) -> None:
        """``epoch`` counts from 1; a training of a single epoch has its full rates."""
        factor = self._factor((epoch - 1) / self._last if self._last > 0 else 1.0)
        for layer, rate in self._rates:
            layer.p = factor * rate

    def restore(self) -> None:
        """The configured rates again."""
        for layer, rate in self._rates:
            layer.p = rate
