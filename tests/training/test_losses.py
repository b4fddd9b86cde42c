"""The training loss against numpy."""

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.config import TrainingSettings, parse_space
from cnn_lstm_hyperopt.models import Output
from cnn_lstm_hyperopt.training import TrainingConfig
from cnn_lstm_hyperopt.training.losses import multi_task_loss


def smoothed_cross_entropy(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    """Szegedy et al. 2016, section 7: the target is (1 − ε) · one-hot + ε / K."""
    n_classes = logits.shape[1]
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    target = np.full(logits.shape, smoothing / n_classes)
    target[np.arange(len(labels)), labels] += 1 - smoothing
    return float(-(target * log_probabilities).sum(axis=1).mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
@pytest.mark.parametrize(
    ("weight", "other"), [(0.3, 0.7), (0.5, 0.5), (0.8, 0.2), (0.7, 0.3), (1.0, 0.2), (0.0, 0.7), (0.9, 0.2)]
)
@pytest.mark.parametrize("n_classes", [2, 5])
def test_it_is_the_weighted_sum_of_smoothed_cross_entropy_and_squared_error(
    make_config, n_classes, weight, other, smoothing
):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, n_classes)), rng.integers(n_classes, size=7)
    value, target = rng.normal(size=7), rng.normal(size=7)
    config = make_config(classification_weight=weight, label_smoothing=smoothing)
    loss = multi_task_loss(
        Output(torch.from_numpy(logits), torch.from_numpy(value)),
        torch.from_numpy(labels),
        torch.from_numpy(target),
        config,
    )
    expected = weight * smoothed_cross_entropy(logits, labels, smoothing) + other * ((value - target) ** 2).mean()
    assert float(loss) == pytest.approx(expected)


@pytest.mark.parametrize("missing", ["head", "target"])
def test_without_regression_it_is_the_cross_entropy_alone(make_config, missing):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(7, 3)), rng.integers(3, size=7)
    value = torch.zeros(7)
    loss = multi_task_loss(
        Output(torch.from_numpy(logits), None if missing == "head" else value),
        torch.from_numpy(labels),
        None if missing == "target" else value,
        make_config(classification_weight=0.3, label_smoothing=0.1),
    )
    assert float(loss) == pytest.approx(smoothed_cross_entropy(logits, labels, 0.1))


@pytest.mark.parametrize(
    ("weight", "expected"), [(0.0, 0.7), (0.2, 0.7), (0.3, 0.7), (0.45, 0.55), (0.8, 0.2), (0.85, 0.2), (1.0, 0.2)]
)
def test_the_regression_weight_is_the_rest_within_its_bounds(make_config, weight, expected):
    assert make_config(classification_weight=weight).regression_weight == pytest.approx(expected)


def test_a_config_is_read_from_parameters_and_settings():
    space = parse_space(None)[0]
    params = {name: getattr(domain, "low", None) or "?" for name, domain in space.domains.items()}
    params |= {
        "training.learning_rate": 1e-3,
        "training.batch_size": 32,
        "training.weight_decay": 1e-5,
        "training.optimizer": "sgd",
        "training.scheduler": "step",
        "training.gradient_clip": 2.5,
        "regularization.label_smoothing": 0.15,
        "multi_task.classification_weight": 0.6,
    }
    settings = TrainingSettings(max_epochs=9, min_patience=3, patience_factor=0.75)
    config = TrainingConfig.from_params(params, settings, max_epochs=77)
    assert config == TrainingConfig(1e-3, 32, 1e-5, "sgd", "step", 2.5, 0.15, 0.6, 77, 3, 0.75)
    assert config.regression_weight == pytest.approx(0.4)
