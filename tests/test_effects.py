"""Every parameter of the search space changes what is trained wherever a configuration has it."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from cnn_lstm_hyperopt.config import PARAMETERS, TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.trial_data import TrialData
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.models.inputs import GROUPS
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner

CPU = torch.device("cpu")
VALUES: dict[str, tuple[Scalar, ...]] = {
    "cnn.num_filters": (4, 8),
    "cnn.filter_sizes": ("3-5", "3-7"),
    "cnn.dropout": (0.2, 0.5),
    "cnn.blocks": (2, 1),
    "cnn.dilation_growth": (1, 2),
    "cnn.activation": ("relu", "gelu", "swish"),
    "cnn.attention_heads": (1, 2),
    "lstm.hidden_dim": (8, 16),
    "lstm.num_layers": (1, 2),
    "lstm.dropout": (0.2, 0.5),
    "lstm.attention_heads": (1, 2),
    "fusion.dim": (8, 16),
    "fusion.dropout": (0.2, 0.5),
    "fusion.attention_heads": (1, 2),
    "training.learning_rate": (1e-2, 3e-2),
    "training.batch_size": (16, 32),
    "training.weight_decay": (1e-3, 1e-1),
    "training.gradient_clip": (1.0, 1e-2),
    "training.optimizer": ("adam", "adamw", "sgd", "rmsprop"),
    "regularization.l1": (1e-3, 1e-2),
    "regularization.l2": (1e-3, 1e-1),
    "regularization.label_smoothing": (0.0, 0.2),
    "multi_task.classification_weight": (0.3, 0.8),
    "augmentation.jitter": (0.1, 0.0),
    "augmentation.scaling": (0.2, 0.0),
    "augmentation.time_masking": (0.9, 0.0),
    "augmentation.mixup": (0.4, 0.0),
}
"""Where the default domain is large or its ends are too much alike for a short training."""
SPACE, _ = parse_space({})
OF_BARS = {f"inputs.{group}" for group in GROUPS}
"""Parameters that change nothing without bars."""


def values_of(name: str) -> tuple[Scalar, ...]:
    return VALUES.get(name) or PARAMETERS[name].options or (False, True)


def completed(chosen: dict[str, Scalar]) -> dict[str, Scalar]:
    """The configuration with ``chosen`` in it and otherwise the first value of each parameter."""
    params: dict[str, Scalar] = {}
    for name in SPACE.active(params):
        params[name] = chosen.get(name, values_of(name)[0])
    return params


CASES = [
    (name, dict(zip(spec.when, parents, strict=True)))
    for name, spec in PARAMETERS.items()
    if name not in OF_BARS
    for parents in product(*(allowed[:2] for allowed in spec.when.values()))
]
"""Each parameter, with each value of its parent that a small network can have."""


@pytest.fixture(scope="module")
def runner() -> TrialRunner:
    def windows(count: int) -> Windows:
        generator = torch.Generator().manual_seed(count)
        labels = torch.randint(0, 2, (count,), generator=generator)
        series = torch.randn(count * 8, 3, generator=generator) + labels.repeat_interleave(8)[:, None]
        values = series[7::8, 0].clone()
        return Windows(series, 8 * torch.arange(count), 8, labels, values, np.arange(count), np.full(count, "all"))

    data = TrialData((Fold(windows(64), windows(16), 0.0, 1.0),), n_classes=2, has_regression=True)
    settings = TrainingSettings(max_epochs=3, precision="float32")
    return TrialRunner(data, settings, seed=0, device=CPU, speeds=calibration_for(CPU))


def predicted(runner: TrialRunner, params: dict[str, Scalar]) -> Any:
    best = runner.run_trial(0, params, lambda _: CONTINUE).outcome.best
    assert best is not None
    return best.predictions.probabilities


@pytest.mark.mostly_slow(30)
@pytest.mark.parametrize(("name", "context"), CASES, ids=[f"{name} {context or ''}" for name, context in CASES])
def test_a_parameter_changes_what_is_trained_where_a_configuration_has_it(
    runner: TrialRunner, name: str, context: dict[str, Scalar]
) -> None:
    configurations = [completed({**context, name: value}) for value in values_of(name)]
    assert all(name in params for params in configurations)
    first, *others = (predicted(runner, params) for params in configurations)
    for other in others:
        assert not np.array_equal(first, other)
