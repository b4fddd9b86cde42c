"""Linear highways: linear models of window summaries and of random kernels, which are added to the outputs of the heads."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.params import HIGHWAY_SPANS, highway_width
from cnn_lstm_hyperopt.models.cost import kernel_features
from cnn_lstm_hyperopt.models.layers.norms import BatchNorm
from cnn_lstm_hyperopt.models.layers.random_kernels import RandomKernels
from cnn_lstm_hyperopt.models.network import Output


class Highway(nn.Module):
    """Linear map from window summaries to logits and value, as the autoregressive part of LSTNet (Lai et al. 2018, section 3.6).

    The spans of the means are those of the HAR model (Corsi 2009). The map has no bias, because the heads have one.
    """

    def __init__(self, input_dim: int, n_classes: int, has_regression: bool) -> None:
        super().__init__()
        self.weights = nn.Linear(highway_width(input_dim), n_classes + has_regression, bias=False)
        self._n_classes = n_classes

    def forward(self, x: Tensor, output: Output) -> Output:
        """Add the linear map of windows ``(batch, time, input_dim)`` to the output of the heads."""
        return added(output, self.weights(summaries(x)), self._n_classes)


class KernelHighway(nn.Module):
    """Linear map from normalised features of random kernels to logits and value, as the ridge regression of HYDRA.

    The weights start at 0, so a feature that is 0 in all training windows has no weight. A linear map of n features moves n times
    as much per step of Adam as a map of one feature. Division by the fourth root of n is between no correction and the one of
    Yang et al. 2021 (arXiv 2203.03466, division by n); it was measured in docs/lab-notes/public-sets.md.
    """

    def __init__(self, input_dim: int, lookback: int, groups: int, n_classes: int, has_regression: bool) -> None:
        super().__init__()
        self.features = RandomKernels(input_dim, lookback, groups)
        width = kernel_features(lookback, groups)
        self.norm = BatchNorm(width, affine=False)
        self.weights = nn.Linear(width, n_classes + has_regression, bias=False)
        nn.init.zeros_(self.weights.weight)
        self._scale = width**-0.25
        self._n_classes = n_classes

    def forward(self, features: Tensor, output: Output) -> Output:
        """Add the linear map of features ``(batch, features)`` of the random kernels to the output of the heads."""
        normalised = self.norm(features.unsqueeze(-1)).squeeze(-1)
        return added(output, self.weights(self._scale * normalised), self._n_classes)


def added(output: Output, linear: Tensor, n_classes: int) -> Output:
    """Return the output plus the linear map ``(batch, n_classes)``, which has one more column with regression."""
    value = None if output.value is None else output.value + linear[:, -1]
    return Output(output.logits + linear[:, :n_classes], value)


def summaries(x: Tensor) -> Tensor:
    """Return the means of each feature over the last 1, 5 and 22 bars and over the whole window.

    Args:
        x: windows ``(batch, time, input_dim)``. In a shorter window, a mean is over all bars.

    Returns:
        ``(batch, 4 × input_dim)``, ordered by span.
    """
    return torch.cat([*(x[:, -span:].mean(dim=1) for span in HIGHWAY_SPANS), x.mean(dim=1)], dim=-1)
