"""Training losses. The best epoch is selected by another loss, the validation cross-entropy without label smoothing."""

from torch import Tensor
from torch.nn import functional

from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training.augmentation import Mixed


def mixed_targets(
    labels: Tensor, values: Tensor | None, mixed: Mixed, *, n_classes: int
) -> tuple[Tensor, Tensor | None]:
    """Mix the targets of an augmented batch in the same way as its windows.

    Args:
        labels: ``(batch,)`` int64 classes.
        values: ``(batch,)`` standardised regression targets, or None.
        mixed: the augmented batch.
        n_classes: number of classes.

    Returns:
        A pair of classification targets and mixed values. The classification targets are the labels; with mixup, they are the
        float32 shares of the classes, ``(batch, n_classes)``.
    """
    if mixed.partner is None:
        return labels, values
    shares = mixed.mix(functional.one_hot(labels, n_classes).float())
    return shares, None if values is None else mixed.mix(values)


def task_losses(
    output: Output,
    targets: Tensor,
    values: Tensor | None,
    *,
    label_smoothing: float,
    class_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the cross-entropy with label smoothing and the mean squared error of a batch, each of shape ``()``.

    Args:
        output: output of the network.
        targets: ``(windows,)`` int64 labels, or ``(windows, n_classes)`` share of each class.
        values: ``(windows,)`` standardised regression targets, or None.
        label_smoothing: share of each label's probability that is spread over all classes (Szegedy et al. 2016, section 7).
        class_weights: ``(n_classes,)`` weights of the classes in the cross-entropy; None: no weights. Weights multiply the
            frequencies of the classes, and with them the predicted odds. Therefore the logarithms of the weights are added to
            the logits, in the loss only: the network predicts the unweighted probabilities (logit adjustment, Menon et al. 2021).

    Returns:
        The cross-entropy in nats, and the mean squared error, which is None without a regression head or target.
    """
    if class_weights is None:
        cross_entropy = functional.cross_entropy(output.logits, targets, label_smoothing=label_smoothing)
    else:
        cross_entropy = _weighted_cross_entropy(output.logits, targets, label_smoothing, class_weights)
    if output.value is None or values is None:
        return cross_entropy, None
    return cross_entropy, functional.mse_loss(output.value, values)


def _weighted_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float, weights: Tensor) -> Tensor:
    """Return the mean over windows of the cross-entropy times the weight of the window's class, ``()``."""
    n_classes = logits.shape[1]
    shares = targets if targets.is_floating_point() else functional.one_hot(targets, n_classes).to(logits.dtype)
    weighted = shares * weights
    smoothed = (1 - label_smoothing) * weighted + label_smoothing / n_classes * weighted.sum(dim=1, keepdim=True)
    return -(smoothed * functional.log_softmax(logits + weights.log(), dim=1)).sum(dim=1).mean()
