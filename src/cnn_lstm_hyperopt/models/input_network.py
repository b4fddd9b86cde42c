"""Network that chooses channels of the windows, may standardise and normalise them, and passes them to a family's network."""

import torch
from torch import Tensor

from cnn_lstm_hyperopt.models.inputs import InputsConfig
from cnn_lstm_hyperopt.models.layers.input_scale import InputScale
from cnn_lstm_hyperopt.models.network import LinearModel, Network, Output

EPSILON = 1e-5
"""Number that is added to variances (in scaled units), so that constant channels have a finite log standard deviation."""


class InputsNetwork(Network):
    """A network that passes chosen channels of the windows to the network of a family. The output is that of this network.

    The weights are those of the family's network, and the scale of the windows if there is one. The numbers of the channels are
    not stored with the weights.
    """

    columns: Tensor

    def __init__(self, config: InputsConfig, network: Network) -> None:
        super().__init__()
        self.config = config
        self.network = network
        self._window_norm = config.window_norm
        self.starts_linear = network.starts_linear
        self.inputs_key = (config.columns, config.window_norm, config.standardise)
        self.scale = InputScale(config.input_dim) if config.standardise else None
        self.register_buffer("columns", torch.tensor(config.columns, dtype=torch.int64), persistent=False)

    @property
    def input_scale(self) -> InputScale | None:
        return self.scale

    def recompute_in_backward(self, recompute: bool) -> None:
        self.network.recompute_in_backward(recompute)

    def forward(self, x: Tensor, *fixed: Tensor) -> Output:
        """Return the output for windows ``(batch, lookback, input_dim)``; see the base class."""
        output: Output = self.network(self._inputs(x), *fixed)
        return output

    def fixed_features(self, x: Tensor) -> Tensor | None:
        return self.network.fixed_features(self._inputs(x))

    def summaries(self, x: Tensor) -> Tensor:
        return self.network.summaries(self._inputs(x))

    def start_linear(self, model: LinearModel) -> None:
        self.network.start_linear(model)

    def _inputs(self, x: Tensor) -> Tensor:
        """Return the inputs of the family's network, ``(batch, lookback, inputs)``."""
        chosen = (x if self.scale is None else self.scale(x)).index_select(-1, self.columns)
        return normalised(chosen) if self._window_norm else chosen


def normalised(x: Tensor) -> Tensor:
    """Return normalised windows with their statistics: ``(batch, lookback, channels)`` becomes ``(…, 3 × channels)``.

    The result has first (x − mean) / std of each channel over the window, then the mean and ln std as constant channels. So the
    network knows the level and the spread, which the normalisation removes. RevIN (Kim et al. 2022, "Reversible instance
    normalization for accurate time-series forecasting", ICLR) adds both to the output again, which a classifier can't use.
    """
    mean = x.mean(dim=1, keepdim=True)
    centred = x - mean
    variance = centred.square().mean(dim=1, keepdim=True) + EPSILON
    return torch.cat([centred * variance.rsqrt(), mean.expand_as(x), (0.5 * variance.log()).expand_as(x)], dim=-1)
