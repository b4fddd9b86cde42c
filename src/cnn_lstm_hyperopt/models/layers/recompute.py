"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): part by part, intermediate results are made anew in backward."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def run(part: Callable[..., Tensor], *inputs: Any, recompute: bool) -> Tensor:
    """``part(*inputs)``; if ``recompute``, all that is kept for backward are its inputs, from which it is computed again.

    Dropout draws the same then: torch's generators are put back to where they stood.
    """
    if not recompute or not torch.is_grad_enabled():
        return part(*inputs)
    output: Tensor = checkpoint(part, *inputs, use_reentrant=False)
    return output
