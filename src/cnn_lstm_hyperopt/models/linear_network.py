"""Linear model of all inputs of a window, as a network."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.linear import LinearConfig
from cnn_lstm_hyperopt.models.network import LinearModel, Network, Output


class LinearNetwork(Network):
    """Network whose outputs are linear in all inputs of a window."""

    def __init__(self, config: LinearConfig) -> None:
        super().__init__()
        self.config = config
        self.outputs = nn.Linear(config.steps * config.input_dim, config.outputs)
        self._n_classes = config.n_classes

    @classmethod
    def of(cls, config: LinearConfig, model: LinearModel) -> "LinearNetwork":
        """Return the network that computes a linear model of the inputs, which are ordered by bar, then by feature."""
        network = cls(config)
        with torch.no_grad():
            network.outputs.weight.copy_(model.weights)
            network.outputs.bias.copy_(model.biases)
        return network

    def recompute_in_backward(self, recompute: bool) -> None:
        """Do nothing: a linear model stores no intermediate results."""

    def forward(self, x: Tensor) -> Output:
        """Return the output for windows ``(batch, lookback, input_dim)``."""
        found = self.outputs(x.flatten(1))
        return Output(found[:, : self._n_classes], found[:, -1] if self.config.has_regression else None)
