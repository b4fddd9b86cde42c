"""Importance of inputs for a trained network: how much its loss grows when inputs of other windows replace these inputs.

This is the permutation importance of Breiman 2001 ("Random forests"), with the log loss.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.runtime.device import one_thread
from cnn_lstm_hyperopt.training.runtime.precision import Precision, computing_in

BATCH = 256
"""Number of windows, counted once for each permutation, that a network evaluates together."""

Floats = NDArray[np.float64]


def loss_increases(
    network: Network,
    windows: Windows,
    groups: Mapping[str, tuple[int, ...]],
    sources: NDArray[np.int64],
    precision: Precision = "float32",
) -> dict[str, Floats]:
    """Return the increase of the log loss of each window, in nats, when the inputs of a group are replaced.

    Args:
        network: a trained network.
        windows: labelled windows on the network's device, ``(n,)``.
        groups: channels of each group of inputs.
        sources: ``(permutations, n)`` positions of the windows whose inputs replace those of each window.
        precision: precision of the computation.

    Returns:
        For each group, ``(n,)`` increases, each a mean over the permutations.
    """
    found = {group: np.empty(len(windows)) for group in groups}
    with one_thread(), torch.inference_mode():
        network.eval()
        for index, other in _batches(windows, sources):
            x, replaced = windows.gather(index), windows.gather(other.reshape(-1))
            labels, here = windows.labels[index], index.cpu().numpy()
            loss = _losses(network, x, labels, precision)
            repeated, repeated_labels = x.repeat(len(sources), 1, 1), labels.repeat(len(sources))
            for group, channels in groups.items():
                changed = repeated.clone()
                changed[..., list(channels)] = replaced[..., list(channels)]
                losses = _losses(network, changed, repeated_labels, precision).reshape(len(sources), -1)
                found[group][here] = (losses.mean(dim=0) - loss).cpu().numpy()
    return found


def _batches(windows: Windows, sources: NDArray[np.int64]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield positions of windows and, for each permutation, the positions of the windows that replace them."""
    device = windows.starts.device
    others = torch.as_tensor(sources, device=device)
    for index in torch.arange(len(windows), device=device).split(max(1, BATCH // len(sources))):
        yield index, others[:, index]


def _losses(network: Network, x: torch.Tensor, labels: torch.Tensor, precision: Precision) -> torch.Tensor:
    with computing_in(precision, x.device):
        logits = network(x).logits
    return functional.cross_entropy(logits.double(), labels, reduction="none")
