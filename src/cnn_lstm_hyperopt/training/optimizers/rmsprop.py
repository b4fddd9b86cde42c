"""RMSprop."""

from collections.abc import Iterable

from torch import nn, optim

from cnn_lstm_hyperopt.training.optimizers.base import Optimizer


class RmsProp(Optimizer):
    """RMSprop with a smoothing constant of 0.99 and decoupled weight decay. PyTorch has no fused version of RMSprop."""

    name, place, states = "rmsprop", 3, 1
    description = "RMSprop with smoothing 0.99 and decoupled weight decay"

    def make(self, weights: Iterable[nn.Parameter], rate: float) -> optim.Optimizer:
        return optim.RMSprop(weights, lr=rate, foreach=True)
