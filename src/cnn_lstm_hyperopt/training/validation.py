"""Predictions of a network on windows, and their evaluation."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from cnn_lstm_hyperopt.config.schema.study import MetricName
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.metrics import as_scored, decided, score
from cnn_lstm_hyperopt.models.network import Network
from cnn_lstm_hyperopt.training.fixed_features import at
from cnn_lstm_hyperopt.training.runtime.precision import Precision, computing_in

EVALUATION_BATCH = 256
"""Number of windows in a batch of an evaluation, unless a lack of memory makes batches smaller."""


@dataclass(frozen=True)
class ValueScale:
    """Mean and standard deviation of the regression target over the training windows, in the target's units."""

    mean: float
    std: float


@dataclass(frozen=True)
class Predictions:
    """Predictions of a network, in the order of the windows.

    Attributes:
        probabilities: ``(windows, n_classes)`` float32 probability of each class; rows add up to 1.
        values: ``(windows,)`` float32 predicted values in the target's units; None without a regression head.
        decision_weights: ``(n_classes,)`` weights of the classes in the decision rule; None: the most probable class.
    """

    probabilities: NDArray[np.float32]
    values: NDArray[np.float32] | None
    decision_weights: NDArray[np.float64] | None = None

    @property
    def decided(self) -> NDArray[np.floating]:
        """Weighted probabilities ``(windows, n_classes)``; the largest one is the predicted class."""
        return decided(self.probabilities, self.decision_weights)

    def as_scored(self, metric: str) -> NDArray[np.floating]:
        """Return what a metric scores: weighted probabilities for a metric of predicted classes, otherwise the probabilities."""
        return as_scored(metric, self.probabilities, self.decision_weights)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Predicted class of each window."""
        return np.asarray(self.decided.argmax(axis=1), dtype=np.int64)


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a network on labelled windows.

    Attributes:
        loss: cross-entropy without label smoothing, in nats.
        accuracy: share of windows whose predicted class is correct.
        mse: mean squared error in the target's squared units; None without a regression head or target.
        predictions: the network's predictions.
        score: score by the study's metric; larger is better. The score is NaN if it is undefined, such as an AUC of a single
            class.
    """

    loss: float
    accuracy: float
    mse: float | None
    predictions: Predictions
    score: float


@torch.inference_mode()
def predict(
    network: Network,
    windows: Windows,
    scale: ValueScale,
    precision: Precision = "float32",
    *,
    batch_size: int = EVALUATION_BATCH,
    features: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return a network's logits ``(windows, n_classes)`` and its values ``(windows,)`` in the target's units.

    The values are None without a regression head. ``features`` are the fixed features of all windows; None: the network computes
    them.
    """
    network.eval()
    logits, values = [], []
    for index in torch.arange(len(windows), device=windows.starts.device).split(batch_size):
        with computing_in(precision, windows.device):
            output = network(windows.gather(index), *at(features, index))
        logits.append(output.logits.float())
        if output.value is not None:
            values.append(output.value.float() * scale.std + scale.mean)
    return torch.cat(logits), torch.cat(values) if values else None


def evaluate(
    network: Network,
    windows: Windows,
    scale: ValueScale,
    precision: Precision = "float32",
    metric: MetricName = "accuracy",
    *,
    decision_weights: NDArray[np.float64] | None = None,
    batch_size: int = EVALUATION_BATCH,
    features: torch.Tensor | None = None,
) -> Evaluation:
    """Evaluate a network on labelled windows; see :func:`predict`."""
    logits, values = predict(network, windows, scale, precision, batch_size=batch_size, features=features)
    mse = None
    if values is not None and windows.values is not None:
        mse = float(functional.mse_loss(values.double(), windows.values.double()))
    predictions, labels = as_predictions(logits, values), windows.labels.cpu().numpy()
    return Evaluation(
        loss=float(functional.cross_entropy(logits, windows.labels)),
        accuracy=score("accuracy", labels, predictions.probabilities, decision_weights),
        mse=mse,
        predictions=predictions,
        score=score(metric, labels, predictions.probabilities, decision_weights),
    )


def over_folds(evaluations: Sequence[Evaluation]) -> Evaluation:
    """Return one evaluation for all folds: the unweighted mean of each number, and all predictions in the order of the folds."""
    if len(evaluations) == 1:
        return evaluations[0]
    errors = [each.mse for each in evaluations if each.mse is not None]
    values = [each.predictions.values for each in evaluations if each.predictions.values is not None]
    return Evaluation(
        loss=statistics.fmean(each.loss for each in evaluations),
        accuracy=statistics.fmean(each.accuracy for each in evaluations),
        mse=statistics.fmean(errors) if errors else None,
        predictions=Predictions(
            probabilities=np.concatenate([each.predictions.probabilities for each in evaluations]),
            values=np.concatenate(values) if values else None,
        ),
        score=statistics.fmean(each.score for each in evaluations),
    )


def as_predictions(logits: torch.Tensor, values: torch.Tensor | None) -> Predictions:
    """Return predictions in CPU memory; their probabilities are the softmax of the logits."""
    return Predictions(
        probabilities=torch.softmax(logits, dim=1).cpu().numpy(),
        values=None if values is None else values.cpu().numpy(),
    )
