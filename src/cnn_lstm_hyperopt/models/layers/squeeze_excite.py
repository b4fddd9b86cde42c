"""Squeeze-and-excite (Hu et al. 2018, arXiv 1709.01507): each channel is multiplied by a learned factor between 0 and 1."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cost import squeezed_width


class SqueezeExcite(nn.Module):
    """Factors σ(W₂ relu(W₁ m)) of the channels, where m is the mean of each channel over time (eq. 2 to 4)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(width, squeezed_width(width))
        self.excite = nn.Linear(squeezed_width(width), width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(batch, channels, time)`` to a tensor of the same shape."""
        factors = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=2)))))
        out: Tensor = x * factors.unsqueeze(-1)
        return out
