"""Random augmentation of each training batch. Validation and test windows are never augmented."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AugmentationConfig:
    """Strength of each kind of augmentation; a strength of 0 switches this kind off.

    Attributes:
        jitter: standard deviation of the noise that is added to each scaled feature of each bar.
        scaling: standard deviation of the random factor, with mean 1, that multiplies each feature of a window.
        time_masking: maximum share of a window's bars in the block of bars that is set to 0, which is the mean of scaled
            features.
        mixup: parameter α of the Beta(α, α) distribution of the weight with which pairs of windows are mixed (Zhang et al. 2018,
            arXiv 1710.09412).
    """

    jitter: float = 0.0
    scaling: float = 0.0
    time_masking: float = 0.0
    mixup: float = 0.0

    @property
    def active(self) -> bool:
        """Whether any kind of augmentation is switched on."""
        return max(self.jitter, self.scaling, self.time_masking, self.mixup) > 0


@dataclass(frozen=True)
class Mixed:
    """An augmented batch.

    Attributes:
        x: ``(batch, time, features)`` augmented windows.
        partner: ``(batch,)`` index of the window that is mixed into each window; None without mixup.
        share: weight of each window; the partner of the window has the weight 1 − share.
    """

    x: Tensor
    partner: Tensor | None
    share: float

    def mix(self, targets: Tensor) -> Tensor:
        """Mix targets ``(batch, …)`` with the same partners and weights as the inputs."""
        if self.partner is None:
            return targets
        return self.share * targets + (1 - self.share) * targets[self.partner]


def augment(x: Tensor, config: AugmentationConfig, generator: torch.Generator) -> Mixed:
    """Return an augmented copy of a batch.

    Args:
        x: ``(batch, time, features)`` windows of scaled features.
        config: strength of each kind of augmentation.
        generator: random number generator on the CPU, so that a seed gives the same draws on every device.
    """
    batch, time, features = x.shape

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).to(x.device)

    if config.scaling > 0:
        x = x * (1 + config.scaling * normal(batch, 1, features))
    if config.jitter > 0:
        x = x + config.jitter * normal(batch, time, features)
    if config.time_masking > 0:
        longest = max(1, int(config.time_masking * time))
        length = torch.randint(0, longest + 1, (batch, 1), generator=generator)
        start = (torch.rand(batch, 1, generator=generator) * (time - length + 1)).long()
        step = torch.arange(time)
        masked = (step >= start) & (step < start + length)  # (batch, time)
        x = x.masked_fill(masked.unsqueeze(-1).to(x.device), 0.0)
    if config.mixup == 0:
        return Mixed(x, None, 1.0)
    share = _beta(config.mixup, generator)
    partner = torch.randperm(batch, generator=generator).to(x.device)
    return Mixed(share * x + (1 - share) * x[partner], partner, share)


def _beta(alpha: float, generator: torch.Generator) -> float:
    """Draw from Beta(α, α) as G₁ / (G₁ + G₂) with G ~ Gamma(α, 1)."""
    first, second = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator=generator).tolist()
    total = first + second
    return float(first / total) if total > 0 else 0.5
