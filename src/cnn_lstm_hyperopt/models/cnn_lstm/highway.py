"""Linear highway: a linear model of window summaries, whose output is added to the outputs of the heads."""

import torch
from torch import Tensor, nn

from cnn_lstm_hyperopt.models.cnn_lstm.params import HIGHWAY_SPANS, highway_width
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
        linear = self.weights(summaries(x))  # (batch, n_classes, and one more with regression)
        value = None if output.value is None else output.value + linear[:, -1]
        return Output(output.logits + linear[:, : self._n_classes], value)


def summaries(x: Tensor) -> Tensor:
    """Return the means of each feature over the last 1, 5 and 22 bars and over the whole window.

    Args:
        x: windows ``(batch, time, input_dim)``. In a shorter window, a mean is over all bars.

    Returns:
        ``(batch, 4 × input_dim)``, ordered by span.
    """
    return torch.cat([*(x[:, -span:].mean(dim=1) for span in HIGHWAY_SPANS), x.mean(dim=1)], dim=-1)
