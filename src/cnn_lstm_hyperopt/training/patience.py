"""Early stopping whose patience grows with progress."""

import math
from typing import Any


class Patience:
    """Counts epochs since the lowest loss; patience is at least ``minimum`` and grows to ``factor × best epoch``.

    A training that still finds its best at epoch 40 is given more epochs to improve again than one that peaked at epoch 2
    (the "patience increase" of Bengio 2012, arXiv 1206.5533, section 3.2.2).
    """

    def __init__(self, *, minimum: int, factor: float) -> None:
        self.best_loss = math.inf
        self.best_epoch = 0
        self._minimum = minimum
        self._factor = factor

    def improved(self, epoch: int, loss: float) -> bool:
        """Records the loss of an epoch (counted from 1); whether it is the lowest so far."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            return True
        return False

    def exhausted(self, epoch: int) -> bool:
        """Whether the training should end after this epoch."""
        patience = max(self._minimum, math.ceil(self._factor * self.best_epoch))
        return epoch - self.best_epoch >= patience

    def state_dict(self) -> dict[str, Any]:
        """What has changed since it was made."""
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """The inverse of :meth:`state_dict`."""
        self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
