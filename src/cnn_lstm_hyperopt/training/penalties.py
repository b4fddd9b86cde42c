"""L1 and L2 penalties and decoupled weight decay, each applied to all weights in one call.

The gradients of the penalties are added to the weights' gradients directly, because autograd would build a graph over all
weights in each step. The penalties include biases and the parameters of norms, as in PyTorch's optimisers.
"""

from collections.abc import Sequence

import torch
from torch import nn


def add_penalty_gradients(weights: Sequence[nn.Parameter], *, l1: float, l2: float) -> None:
    """Add the gradient of l1 · Σ|w| + l2 / 2 · Σ w² to the gradients of the weights w; the derivative of |w| at 0 is 0."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    values = [weight.detach() for weight in weights if weight.grad is not None]
    if l1 > 0:
        torch._foreach_add_(gradients, torch._foreach_sign(values), alpha=l1)
    if l2 > 0:
        torch._foreach_add_(gradients, values, alpha=l2)


def decay_weights(weights: Sequence[nn.Parameter], *, learning_rate: float, decay: float) -> None:
    """Multiply all weights by 1 − learning rate · decay, before the optimiser's step.

    This is the decoupled weight decay of Loshchilov & Hutter (2019, arXiv 1711.05101), as in PyTorch's AdamW.
    """
    if decay > 0:
        torch._foreach_mul_([weight.detach() for weight in weights], 1 - learning_rate * decay)
