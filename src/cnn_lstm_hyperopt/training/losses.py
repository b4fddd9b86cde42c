"""The loss that is minimised in training. Selection never uses it: that is the plain validation cross-entropy."""

from torch import Tensor
from torch.nn import functional

from cnn_lstm_hyperopt.models import Output
from cnn_lstm_hyperopt.training.config import TrainingConfig


def multi_task_loss(output: Output, labels: Tensor, values: Tensor | None, config: TrainingConfig) -> Tensor:
    """w · smoothed cross-entropy + v · mean squared error of the standardised value; the first alone without a value.

    Args:
        labels: ``(batch,)`` int64.
        values: ``(batch,)`` standardised regression targets, or None.
    """
    loss = functional.cross_entropy(output.logits, labels, label_smoothing=config.label_smoothing)
    if output.value is None or values is None:
        return loss
    error = functional.mse_loss(output.value, values)
    return config.classification_weight * loss + config.regression_weight * error
