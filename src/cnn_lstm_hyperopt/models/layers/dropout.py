"""Dropout whose random masks are drawn fast on a CPU.

PyTorch's masks take a fifth of the time of a small network's training step on a CPU.
"""

import torch
from torch import Tensor, nn

_LEVELS = 1 << 16


class Dropout(nn.Dropout):
    """Inverted dropout (Srivastava et al. 2014) that takes four 16-bit numbers from each random 64-bit number.

    Dropout rates are rounded to multiples of 1/65536. Random numbers come from torch's global random number generator. On other
    devices than a CPU, the layer is ``nn.Dropout``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Set each number of ``input`` to 0 with probability ``p`` and divide all other numbers by 1 − p; keep the shape."""
        dropped = round(self.p * _LEVELS)
        if not self.training or dropped == 0:
            return input
        if input.device.type != "cpu" or dropped == _LEVELS:
            return super().forward(input)
        count = input.numel()
        words = torch.empty((count + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.int16)[:count].view(input.shape) >= dropped - _LEVELS // 2
        return input * kept.to(input.dtype).mul_(_LEVELS / (_LEVELS - dropped))
