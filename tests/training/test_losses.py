"""The losses of a batch against numpy; a training's settings from parameters."""

import numpy as np
import pytest
import torch

from builders.trainings import config
from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training import TrainingConfig
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig, Mixed
from cnn_lstm_hyperopt.training.losses import mixed_targets, task_losses

BATCH = 7


def smoothed_cross_entropy(logits, target, smoothing):
    """Szegedy et al. 2016, section 7: the target is (1 − ε) · q + ε / K for a distribution q ``(batch, K)``."""
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smoothed = (1 - smoothing) * target + smoothing / logits.shape[1]
    return float(-(smoothed * log_probabilities).sum(axis=1).mean())


def batch(n_classes):
    """Logits, labels, predicted values, true values."""
    rng = np.random.default_rng(n_classes)
    logits, labels = 3 * rng.normal(size=(BATCH, n_classes)), rng.integers(n_classes, size=BATCH)
    return logits, labels, rng.normal(size=BATCH), rng.normal(size=BATCH)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("share", [None, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_they_are_the_smoothed_cross_entropy_and_the_mean_squared_error(n_classes, share, smoothing):
    """A mixed batch has soft targets. Its partners are a 7-cycle, not swaps, which would hide an inverted pairing."""
    logits, labels, value, target = (torch.from_numpy(part) for part in batch(n_classes))
    partner = np.roll(np.arange(BATCH), 2)
    none = Mixed(torch.empty(0), None, 1.0)
    mixed = none if share is None else Mixed(none.x, torch.from_numpy(partner), share)
    targets, values = mixed_targets(labels, target, mixed, n_classes=n_classes)
    both = task_losses(Output(logits, value), targets, values, label_smoothing=smoothing)
    one_hot, weight = np.eye(n_classes)[labels.numpy()], 1.0 if share is None else share
    soft = weight * one_hot + (1 - weight) * one_hot[partner]
    mixed_target = (weight * target + (1 - weight) * target[partner]).numpy()
    assert [loss.shape for loss in both] == [(), ()]
    assert float(both[0]) == pytest.approx(smoothed_cross_entropy(logits.numpy(), soft, smoothing))
    assert float(both[1]) == pytest.approx(((value.numpy() - mixed_target) ** 2).mean())
    for output, truth in ((Output(logits, None), values), (Output(logits, value), None)):
        assert task_losses(output, targets, truth, label_smoothing=smoothing) == (both[0], None)
    assert mixed_targets(labels, None, mixed, n_classes=n_classes)[1] is None


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, 0.7), (0.2, 0.7), (0.3, 0.7), (0.45, 0.55), (0.8, 0.2), (0.85, 0.2), (1.0, 0.2)]
)
def test_the_regression_weight_is_the_rest_within_its_bounds(weight, expected):
    assert config(classification_weight=weight).regression_weight == pytest.approx(expected)


PARAMS = {
    "training.learning_rate": 1e-3,
    "training.batch_size": 32,
    "training.weight_decay": 1e-5,
    "training.optimizer": "sgd",
    "training.scheduler": "step",
    "training.gradient_clip": 2.5,
    "regularization.l1_switch": True,
    "regularization.l1": 2e-6,
    "regularization.l2": 3e-5,
    "regularization.dropout_schedule": "linear",
    "regularization.label_smoothing": 0.15,
    "multi_task.balancing": "dynamic",
    "multi_task.classification_weight": 0.6,
    "augmentation.switch": True,
    "augmentation.jitter": 0.01,
    "augmentation.scaling": 0.02,
    "augmentation.time_masking": 0.03,
    "augmentation.mixup": 0.04,
}
SETTINGS = TrainingSettings(max_epochs=9, min_patience=3, patience_factor=0.75)


def test_a_config_is_read_from_parameters_and_settings():
    groups = ("training.", "regularization.", "multi_task.")
    same_name = {name.partition(".")[2]: value for name, value in PARAMS.items() if name.startswith(groups)}
    del same_name["l1_switch"]
    assert TrainingConfig.from_params(PARAMS, SETTINGS, max_epochs=77) == TrainingConfig(
        **same_name,
        augmentation=AugmentationConfig(jitter=0.01, scaling=0.02, time_masking=0.03, mixup=0.04),
        max_epochs=77,
        min_patience=3,
        patience_factor=0.75,
    )


def test_what_a_switch_leaves_out_is_off_and_what_it_needs_is_required():
    off = {"regularization.l1_switch": False, "augmentation.switch": False, "multi_task.balancing": "uncertainty"}
    unused = ("regularization.l1", "multi_task.classification_weight")
    without = {name: value for name, value in PARAMS.items() if name not in unused and "augmentation" not in name}
    read = TrainingConfig.from_params(without | off, SETTINGS, max_epochs=1)
    assert (read.l1, read.augmentation, read.augmentation.active) == (0, AugmentationConfig(), False)
    with pytest.raises(ConfigError) as caught:
        TrainingConfig.from_params(without | {"augmentation.switch": False}, SETTINGS, max_epochs=1)
    assert (caught.value.field, caught.value.code) == ("regularization.l1", "missing-parameter")
