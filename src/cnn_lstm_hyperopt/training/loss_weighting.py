"""Weights of the two training losses. Selection and early stopping do not use them.

Each rule maps the cross-entropy and the mean squared error (of the standardised value) of a batch to one loss, and receives the
mean of both at the end of each epoch.
"""

import abc
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn


class LossWeighting(abc.ABC):
    """Base class of the loss weightings.

    Args:
        classification: weight w of the cross-entropy.
        regression: weight v of the squared error.
        device: device of learned weights.
    """

    def __init__(self, *, classification: float, regression: float, device: torch.device) -> None:
        self.weights = (classification, regression)
        self.device = device

    @abc.abstractmethod
    def combine(self, cross_entropy: Tensor, squared_error: Tensor) -> Tensor:
        """Combine both losses into one; all have shape ``()``."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the learned parameters; none in the base class."""
        return iter(())

    def end_epoch(self, cross_entropy: float, squared_error: float) -> None:
        """Receive the epoch's mean losses; the base class ignores them."""
        return

    def state_dict(self) -> dict[str, Any]:
        """Return the state that changes during training; empty in the base class."""
        return {}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`."""
        return


class FixedWeighting(LossWeighting):
    """w · cross-entropy + v · squared error."""

    def combine(self, cross_entropy: Tensor, squared_error: Tensor) -> Tensor:
        w, v = self.weights
        return w * cross_entropy + v * squared_error


class DynamicWeighting(LossWeighting):
    """Dynamic weight average (Liu, Johns & Davison 2019, arXiv 1803.10704, eq. 7), on top of the fixed weights.

    λ_k(t) = K · exp(r_k(t−1) / T) / Σ_i exp(r_i(t−1) / T) with r_k(t−1) = L_k(t−1) / L_k(t−2), K = 2 tasks and T = 2:
    the task whose loss falls more slowly gets more weight. λ = 1 in the first two epochs.
    """

    TEMPERATURE = 2.0

    def __init__(self, *, classification: float, regression: float, device: torch.device) -> None:
        super().__init__(classification=classification, regression=regression, device=device)
        self.factors = (1.0, 1.0)
        self._before: tuple[float, float] | None = None

    def combine(self, cross_entropy: Tensor, squared_error: Tensor) -> Tensor:
        (w, v), (a, b) = self.weights, self.factors
        return w * a * cross_entropy + v * b * squared_error

    def end_epoch(self, cross_entropy: float, squared_error: float) -> None:
        now = (cross_entropy, squared_error)
        if self._before is not None:
            # A loss of 0 can't fall, so its rate is 1.
            rates = [after / before if before > 0 else 1.0 for after, before in zip(now, self._before, strict=True)]
            largest = max(rates)  # subtracted, so that exp() can't overflow; softmax does not change
            shares = [math.exp((rate - largest) / self.TEMPERATURE) for rate in rates]
            self.factors = (2 * shares[0] / sum(shares), 2 * shares[1] / sum(shares))
        self._before = now

    def state_dict(self) -> dict[str, Any]:
        return {"factors": self.factors, "before": self._before}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.factors, self._before = state["factors"], state["before"]


class UncertaintyWeighting(LossWeighting):
    """Homoscedastic uncertainty (Kendall, Gal & Cipolla 2018, arXiv 1705.07115, eq. 7 and 10); learns s = ln σ².

    e^(−s₁) · cross-entropy + s₁ / 2 + e^(−s₂) / 2 · squared error + s₂ / 2. Ignores the fixed weights.
    """

    def __init__(self, *, classification: float, regression: float, device: torch.device) -> None:
        super().__init__(classification=classification, regression=regression, device=device)
        self.log_variances = nn.Parameter(torch.zeros(2, device=device))

    def combine(self, cross_entropy: Tensor, squared_error: Tensor) -> Tensor:
        s = self.log_variances
        precision = torch.exp(-s)
        return precision[0] * cross_entropy + precision[1] / 2 * squared_error + s.sum() / 2

    def parameters(self) -> Iterator[nn.Parameter]:
        return iter((self.log_variances,))

    def state_dict(self) -> dict[str, Any]:
        return {"log_variances": self.log_variances.detach()}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        self.log_variances.detach().copy_(state["log_variances"])  # in place: the optimiser has a reference to it


LOSS_WEIGHTINGS: dict[str, type[LossWeighting]] = {
    "fixed": FixedWeighting,
    "dynamic": DynamicWeighting,
    "uncertainty": UncertaintyWeighting,
}
