"""Stochastic gradient descent."""

from collections.abc import Iterable

from torch import nn, optim

from cnn_lstm_hyperopt.training.optimizers.base import Optimizer


class Sgd(Optimizer):
    """SGD with Nesterov momentum 0.9 and decoupled weight decay."""

    name, place, states = "sgd", 2, 1
    description = "SGD with Nesterov momentum 0.9 and decoupled weight decay"

    def make(self, weights: Iterable[nn.Parameter], rate: float) -> optim.Optimizer:
        return optim.SGD(weights, lr=rate, momentum=0.9, nesterov=True, fused=True)
