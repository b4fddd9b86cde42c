"""The optimisers by name, each made from what it updates and the learning rate.

None of them decays weights: L2 and decoupled weight decay are the same for all (``penalties``). So ``adam`` and ``adamw`` are one
algorithm here, both with decoupled decay; the space keeps both names because people look for them. ``fused`` updates all weights
in one pass over memory; PyTorch has no such RMSprop.
"""

from collections.abc import Callable, Iterable

from torch import nn, optim

OptimizerFactory = Callable[[Iterable[nn.Parameter], float], optim.Optimizer]

OPTIMIZERS: dict[str, OptimizerFactory] = {
    "adam": lambda weights, rate: optim.Adam(weights, lr=rate, fused=True),
    "adamw": lambda weights, rate: optim.AdamW(weights, lr=rate, weight_decay=0.0, fused=True),
    "sgd": lambda weights, rate: optim.SGD(weights, lr=rate, momentum=0.9, nesterov=True, fused=True),
    "rmsprop": lambda weights, rate: optim.RMSprop(weights, lr=rate, foreach=True),
}
