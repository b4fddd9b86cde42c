"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): the backward pass recomputes intermediate results."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def run(part: Callable[..., Tensor], *inputs: Any, recompute: bool) -> Tensor:
    """Return ``part(*inputs)``; if ``recompute``, store only the inputs and compute ``part`` again in the backward pass.

    The second computation restores the state of torch's random number generators, so dropout draws the same masks as before.
    """
    if not recompute or not torch.is_grad_enabled():
        return part(*inputs)
    output: Tensor = checkpoint(part, *inputs, use_reentrant=False)
    return output
