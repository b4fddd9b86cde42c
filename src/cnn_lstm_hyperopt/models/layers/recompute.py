"""Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174): the backward pass recomputes intermediate results."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_RECOMPUTING: ContextVar[bool] = ContextVar("recomputing", default=False)


def recomputing() -> bool:
    """Return whether the current forward pass is the second forward pass, in which a layer must not change its buffers."""
    return _RECOMPUTING.get()


def run(part: Callable[..., Tensor], *inputs: Any, recompute: bool) -> Tensor:
    """Return ``part(*inputs)``; if ``recompute``, store only the inputs and compute ``part`` again in the backward pass.

    The second computation restores the state of torch's random number generators, so dropout draws the same masks as before.
    """
    if not recompute or not torch.is_grad_enabled():
        return part(*inputs)
    output: Tensor = checkpoint(part, *inputs, use_reentrant=False, context_fn=_contexts)
    return output


def _contexts() -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """Return the contexts of the first and the second forward pass."""
    return contextlib.nullcontext(), _second_pass()


@contextlib.contextmanager
def _second_pass() -> Iterator[None]:
    token = _RECOMPUTING.set(True)
    try:
        yield
    finally:
        _RECOMPUTING.reset(token)
