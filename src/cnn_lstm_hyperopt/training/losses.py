"""The losses that are minimised in training. Selection never uses them: that is the plain validation cross-entropy."""

from torch import Tensor
from torch.nn import functional

from cnn_lstm_hyperopt.data.augmentation import Mixed
from cnn_lstm_hyperopt.models import Output


def task_losses(
    output: Output, labels: Tensor, values: Tensor | None, *, label_smoothing: float, mixed: Mixed | None = None
) -> tuple[Tensor, Tensor | None]:
    """Smoothed cross-entropy and mean squared error of a batch, each of shape ``()``.

    Args:
        output: of the network.
        labels: ``(batch,)`` int64.
        values: ``(batch,)`` standardised regression targets, or None.
        label_smoothing: share of the target's mass that is spread over all classes (Szegedy et al. 2016, section 7).
        mixed: how the batch was mixed; its targets are mixed alike.

    Returns:
        Cross-entropy in nats; squared error, None without a regression head or target.
    """
    targets = labels
    if mixed is not None and mixed.partner is not None:
        targets = mixed.mix(functional.one_hot(labels, output.logits.shape[1]).to(output.logits.dtype))
        values = None if values is None else mixed.mix(values)
    cross_entropy = functional.cross_entropy(output.logits, targets, label_smoothing=label_smoothing)
    if output.value is None or values is None:
        return cross_entropy, None
    return cross_entropy, functional.mse_loss(output.value, values)
