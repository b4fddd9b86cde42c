"""Counts of random convolution kernels that win in their group (HYDRA, Dempster, Schmidt & Webb 2023, DMKD 37)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from cnn_lstm_hyperopt.models.cost import KERNEL_SIZE, KERNELS_OF_A_GROUP, channels_of_a_group, kernel_dilations


class RandomKernels(nn.Module):
    """Features of fixed random kernels in groups, for each dilation, on the window and on its differences from step to step.

    At each step, the kernel with the largest response in its group wins, and the kernel with the smallest response loses. A
    kernel has two features (section 3 of the paper): the mean over all steps of its response where it wins (0 elsewhere), and
    the share of steps at which it loses. The network gets their square roots, as in the paper. The kernels are not trained.

    Args:
        input_dim: number of features per bar.
        lookback: number of bars in a window.
        groups: number of groups of kernels for each dilation.
    """

    kernels: Tensor
    channels: Tensor

    def __init__(self, input_dim: int, lookback: int, groups: int) -> None:
        super().__init__()
        self._dilations = kernel_dilations(lookback)
        self._groups = groups
        forms = 2 * len(self._dilations)
        kernels = torch.randn(forms, groups * KERNELS_OF_A_GROUP, 1, KERNEL_SIZE)
        kernels = kernels - kernels.mean(dim=-1, keepdim=True)
        # each group reads the sum of some channels
        order = torch.rand(forms, groups, input_dim).argsort(dim=-1)
        self.register_buffer("kernels", kernels / kernels.abs().sum(dim=-1, keepdim=True))
        self.register_buffer("channels", (order < channels_of_a_group(input_dim)).float())

    def forward(self, x: Tensor) -> Tensor:
        """Map windows ``(batch, lookback, input_dim)`` to features ``(batch, 2 × forms × kernels)``."""
        with torch.autocast(x.device.type, enabled=False):  # few digits would make several kernels win
            window = x.float().transpose(1, 2)
            forms = [(form, dilation) for form in (window, window.diff(dim=-1)) for dilation in self._dilations]
            parts = [self._counts(form, place, dilation) for place, (form, dilation) in enumerate(forms)]
        return torch.cat(parts, dim=-1)

    def _counts(self, x: Tensor, place: int, dilation: int) -> Tensor:
        """Return the features of one form of the window ``(batch, input_dim, time)`` with one dilation."""
        if x.shape[2] == 0:  # the differences of a window of one bar
            x = functional.pad(x, (0, 1))
        groups = self._groups if x.shape[1] > 1 else 1
        read = self.channels[place] @ x if x.shape[1] > 1 else x
        padding = KERNEL_SIZE // 2 * dilation
        found = functional.conv1d(read, self.kernels[place], padding=padding, dilation=dilation, groups=groups)
        found = found.unflatten(1, (self._groups, KERNELS_OF_A_GROUP))
        highest, lowest = found.amax(dim=2, keepdim=True), found.amin(dim=2, keepdim=True)
        wins = ((found >= highest) * found).sum(dim=-1)
        losses = (found <= lowest).sum(dim=-1)
        shares: Tensor = torch.cat([wins, losses], dim=-1) / found.shape[-1]
        return shares.clamp(min=0).sqrt().flatten(1)
