"""Features of windows that training does not change, computed once instead of in every step."""

import torch
from torch import Tensor

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.network import Network

MAX_BYTES = 500_000_000
"""Maximum size of stored features. Larger ones are computed in every step."""
EVALUATED_AT_ONCE = 16
"""Number of windows whose features are computed at the same time."""


def stored_bytes(windows: int, width: int) -> int:
    """Return the number of bytes of ``width`` stored features of each window; 0 if they are not stored."""
    size = 4 * windows * width
    return size if size <= MAX_BYTES else 0


@torch.no_grad()
def fixed_features(network: Network, windows: Windows) -> Tensor | None:
    """Return the fixed features of windows, ``(windows, features)``; None if there are none or if they are too large."""
    index = torch.arange(len(windows), device=windows.device)
    first = network.fixed_features(windows.gather(index[:EVALUATED_AT_ONCE]))
    if first is None or not stored_bytes(len(windows), first.shape[1]):
        return None
    features = first.new_empty(len(windows), first.shape[1])
    for part in index.split(EVALUATED_AT_ONCE):
        features[part] = torch.as_tensor(network.fixed_features(windows.gather(part)))
    return features


def at(features: Tensor | None, index: Tensor) -> tuple[Tensor, ...]:
    """Return the further argument of a network for the windows at the positions ``index``: their features, or no argument."""
    return () if features is None else (features[index],)
