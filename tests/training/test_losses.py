"""The losses of a batch against numpy, and what a training reads from parameters."""

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.config import TrainingSettings
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.network import Output
from cnn_lstm_hyperopt.training import TrainingConfig
from cnn_lstm_hyperopt.training.augmentation import AugmentationConfig, Mixed
from cnn_lstm_hyperopt.training.losses import mixed_targets, task_losses

BATCH = 7


def smoothed_cross_entropy(logits: np.ndarray, target: np.ndarray, smoothing: float) -> float:
    """Szegedy et al. 2016, section 7: the target is (1 − ε) · q + ε / K for a distribution q ``(batch, K)``."""
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    smoothed = (1 - smoothing) * target + smoothing / logits.shape[1]
    return float(-(smoothed * log_probabilities).sum(axis=1).mean())


def batch(n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels, predicted values, true values."""
    rng = np.random.default_rng(n_classes)
    logits, labels = 3 * rng.normal(size=(BATCH, n_classes)), rng.integers(n_classes, size=BATCH)
    return logits, labels, rng.normal(size=BATCH), rng.normal(size=BATCH)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_they_are_the_smoothed_cross_entropy_and_the_mean_squared_error(n_classes, smoothing):
    logits, labels, value, target = batch(n_classes)
    cross_entropy, squared_error = task_losses(
        Output(torch.from_numpy(logits), torch.from_numpy(value)),
        torch.from_numpy(labels),
        torch.from_numpy(target),
        label_smoothing=smoothing,
    )
    assert cross_entropy.shape == squared_error.shape == ()
    assert float(cross_entropy) == pytest.approx(smoothed_cross_entropy(logits, np.eye(n_classes)[labels], smoothing))
    assert float(squared_error) == pytest.approx(((value - target) ** 2).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.15])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_a_mixed_batch_has_soft_targets_that_are_smoothed_too(n_classes, share, smoothing):
    """The partners are a 7-cycle, not swaps: its own inverse would hide a confusion of who was mixed with whom."""
    logits, labels, value, target = batch(n_classes)
    partner = np.roll(np.arange(BATCH), 2)
    targets, values = mixed_targets(
        torch.from_numpy(labels),
        torch.from_numpy(target),
        Mixed(torch.empty(0), torch.from_numpy(partner), share),
        n_classes=n_classes,
    )
    cross_entropy, squared_error = task_losses(
        Output(torch.from_numpy(logits), torch.from_numpy(value)), targets, values, label_smoothing=smoothing
    )
    one_hot = np.eye(n_classes)[labels]
    soft = share * one_hot + (1 - share) * one_hot[partner]
    mixed_target = share * target + (1 - share) * target[partner]
    assert float(cross_entropy) == pytest.approx(smoothed_cross_entropy(logits, soft, smoothing))
    assert float(squared_error) == pytest.approx(((value - mixed_target) ** 2).mean())


def test_an_augmented_batch_without_mixup_keeps_its_targets():
    labels, target = (torch.from_numpy(part) for part in batch(3)[1::2])
    for values in (target, None):
        same = mixed_targets(labels, values, Mixed(torch.empty(0), None, 1.0), n_classes=3)
        assert same[0] is labels
        assert same[1] is values


@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("missing", ["head", "target"])
def test_without_a_head_or_a_target_there_is_no_squared_error(missing, mixing):
    logits, labels, value, target = (torch.from_numpy(part) for part in batch(3))
    partner = torch.tensor([1, 2, 3, 4, 5, 6, 0]) if mixing else None
    targets, values = mixed_targets(labels, target, Mixed(torch.empty(0), partner, 0.3), n_classes=3)
    without = mixed_targets(labels, None, Mixed(torch.empty(0), partner, 0.3), n_classes=3)[1]
    with_both = task_losses(Output(logits, value), targets, values, label_smoothing=0.1)
    cross_entropy, squared_error = task_losses(
        Output(logits, None if missing == "head" else value),
        targets,
        without if missing == "target" else values,
        label_smoothing=0.1,
    )
    assert squared_error is None
    assert cross_entropy == with_both[0]


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, 0.7), (0.2, 0.7), (0.3, 0.7), (0.45, 0.55), (0.8, 0.2), (0.85, 0.2), (1.0, 0.2)]
)
def test_the_regression_weight_is_the_rest_within_its_bounds(make_config, weight, expected):
    assert make_config(classification_weight=weight).regression_weight == pytest.approx(expected)


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
    assert TrainingConfig.from_params(PARAMS, SETTINGS, max_epochs=77) == TrainingConfig(
        learning_rate=1e-3,
        batch_size=32,
        weight_decay=1e-5,
        optimizer="sgd",
        scheduler="step",
        gradient_clip=2.5,
        label_smoothing=0.15,
        l1=2e-6,
        l2=3e-5,
        dropout_schedule="linear",
        balancing="dynamic",
        classification_weight=0.6,
        augmentation=AugmentationConfig(jitter=0.01, scaling=0.02, time_masking=0.03, mixup=0.04),
        max_epochs=77,
        min_patience=3,
        patience_factor=0.75,
    )


def test_what_a_switch_leaves_out_is_off():
    off = {"regularization.l1_switch": False, "augmentation.switch": False, "multi_task.balancing": "uncertainty"}
    gone = ("regularization.l1", "multi_task.classification_weight")
    without = {
        name: value for name, value in PARAMS.items() if name not in gone and not name.startswith("augmentation")
    }
    config = TrainingConfig.from_params(without | off, SETTINGS, max_epochs=1)
    assert config.l1 == 0
    assert config.augmentation == AugmentationConfig()
    assert not config.augmentation.active


def test_what_is_missing_although_its_switch_is_on_is_named():
    without = {name: value for name, value in PARAMS.items() if name != "regularization.l1"}
    with pytest.raises(ConfigError, match=r"^regularization\.l1 is missing from the configuration"):
        TrainingConfig.from_params(without | {"regularization.l1_switch": True}, SETTINGS, max_epochs=1)
