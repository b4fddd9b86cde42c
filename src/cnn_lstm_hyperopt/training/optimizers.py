"""The optimisers by name. Each is made from the network's parameters, the learning rate and the weight decay."""

from collections.abc import Callable, Iterable

from torch import nn, optim

OptimizerFactory = Callable[[Iterable[nn.Parameter], float, float], optim.Optimizer]

OPTIMIZERS: dict[str, OptimizerFactory] = {
    "adam": lambda weights, rate, decay: optim.Adam(weights, lr=rate, weight_decay=decay),
    "adamw": lambda weights, rate, decay: optim.AdamW(weights, lr=rate, weight_decay=decay),
    "sgd": lambda weights, rate, decay: optim.SGD(weights, lr=rate, weight_decay=decay, momentum=0.9),
    "rmsprop": lambda weights, rate, decay: optim.RMSprop(weights, lr=rate, weight_decay=decay),
}
