"""Early stopping with a patience that grows with the best epoch."""

import math
from typing import Any


class Patience:
    """Early stopping after max(``minimum``, ``factor`` × best epoch) epochs without a lower loss.

    So patience is longer if the best epoch comes later ("patience increase", Bengio 2012, arXiv 1206.5533, section 3.2.2).

    Attributes:
        best_loss, best_epoch: lowest loss of an epoch and this epoch; infinite and 0 before the first epoch ends.
    """

    def __init__(self, *, minimum: int, factor: float) -> None:
        self.best_loss = math.inf
        self.best_epoch = 0
        self._minimum = minimum
        self._factor = factor

    def improved(self, epoch: int, loss: float) -> bool:
        """Record the loss of an epoch, counted from 1; return whether it is below all earlier losses."""
        if loss < self.best_loss:
            self.best_loss, self.best_epoch = loss, epoch
            return True
        return False

    def exhausted(self, epoch: int) -> bool:
        """Return whether the training should end after this epoch."""
        patience = max(self._minimum, math.ceil(self._factor * self.best_epoch))
        return epoch - self.best_epoch >= patience

    def state_dict(self) -> dict[str, Any]:
        """Return the lowest loss and its epoch, the state that changes during training."""
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`."""
        self.best_loss, self.best_epoch = state["best_loss"], state["best_epoch"]
