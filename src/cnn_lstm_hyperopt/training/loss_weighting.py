"""Weights of the two training losses. The selection of the best epoch and early stopping do not use these weights.

Each loss weighting combines the cross-entropy and the mean squared error (of the standardised value) of a batch into one loss. At
the end of each epoch, the loss weighting receives the mean of each loss over the epoch.
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
        """Combine both losses of a batch into one loss. All three losses have the shape ``()``."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the learned parameters of the loss weighting; the base class has none."""
        return iter(())

    def end_epoch(self, cross_entropy: float, squared_error: float) -> None:
        """Receive the mean losses of an epoch that has ended. The base class ignores these losses."""
        return

    def state_dict(self) -> dict[str, Any]:
        """Return the state that changes during training; the state of the base class is empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Restore the result of :meth:`state_dict`."""
        return


class FixedWeighting(LossWeighting):
    """Fixed weights w and v of the two losses: w · cross-entropy + v · squared error."""

    def combine(self, cross_entropy: Tensor, squared_error: Tensor) -> Tensor:
        w, v = self.weights
        return w * cross_entropy + v * squared_error


class DynamicWeighting(LossWeighting):
    """Dynamic weight average (Liu, Johns & Davison 2019, arXiv 1803.10704, eq. 7), multiplied by the fixed weights.

    The weight of loss k in epoch t is λ_k(t) = K · exp(r_k(t−1) / T) / Σ_i exp(r_i(t−1) / T), with the ratio r_k(t−1) = L_k(t−1)
    / L_k(t−2) of the mean losses L_k of two epochs, K = 2 losses and T = 2. So the loss that falls more slowly gets more weight.
    In the first two epochs, λ_k is 1.
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
            # A loss of 0 can't fall, so its ratio is 1.
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
    """Weighting by homoscedastic uncertainty (Kendall, Gal & Cipolla 2018, arXiv 1705.07115, eq. 7 and 10).

    The loss is e^(−s₁) · cross-entropy + s₁ / 2 + e^(−s₂) / 2 · squared error + s₂ / 2. The log variances s₁ and s₂ are learned.
    The fixed weights w and v are not used.
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
