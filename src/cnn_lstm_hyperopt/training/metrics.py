"""Predictions of a network on windows, and what they are worth."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.models import CnnLstm
from cnn_lstm_hyperopt.training.precision import Precision, computing_in

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class ValueScale:
    """Mean and standard deviation of the regression target over training windows, in its own units."""

    mean: float
    std: float


@dataclass(frozen=True)
class Predictions:
    """What a network says of windows, in their order.

    Attributes:
        probabilities: ``(windows, n_classes)`` float32, rows add up to 1.
        values: ``(windows,)`` float32 in the target's units, None without a regression head.
    """

    probabilities: NDArray[np.float32]
    values: NDArray[np.float32] | None

    @property
    def classes(self) -> NDArray[np.int64]:
        """The most probable class of each window."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Evaluation:
    """Unsmoothed cross-entropy (nats), share of right classes, and squared error in the target's units."""

    loss: float
    accuracy: float
    mse: float | None
    predictions: Predictions


@torch.inference_mode()
def predict(
    network: CnnLstm, windows: Windows, scale: ValueScale, precision: Precision = "float32"
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits ``(windows, n_classes)`` and values ``(windows,)`` in the target's units (None without a head)."""
    network.eval()
    logits, values = [], []
    for index in torch.arange(len(windows), device=windows.starts.device).split(EVALUATION_BATCH):
        with computing_in(precision, windows.device):
            output = network(windows.gather(index))
        logits.append(output.logits.float())
        if output.value is not None:
            values.append(output.value.float() * scale.std + scale.mean)
    return torch.cat(logits), torch.cat(values) if values else None


def evaluate(network: CnnLstm, windows: Windows, scale: ValueScale, precision: Precision = "float32") -> Evaluation:
    """What the network is worth on labelled windows."""
    logits, values = predict(network, windows, scale, precision)
    mse = None
    if values is not None and windows.values is not None:
        mse = float(functional.mse_loss(values.double(), windows.values.double()))
    return Evaluation(
        loss=float(functional.cross_entropy(logits, windows.labels)),
        accuracy=float((logits.argmax(dim=1) == windows.labels).double().mean()),
        mse=mse,
        predictions=as_predictions(logits, values),
    )


def as_predictions(logits: torch.Tensor, values: torch.Tensor | None) -> Predictions:
    """Logits and values as probabilities and arrays on the host."""
    return Predictions(
        probabilities=torch.softmax(logits, dim=1).cpu().numpy(),
        values=None if values is None else values.cpu().numpy(),
    )
