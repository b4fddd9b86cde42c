"""Linear baselines as members of an ensemble. They are saved like networks, so predictions need no other package or code."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.splits import spread_positions
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation.baselines.base import UNKNOWN, Floats, Sample
from cnn_lstm_hyperopt.evaluation.baselines.linear_form import LinearForm
from cnn_lstm_hyperopt.evaluation.baselines.logistic import LogisticBaseline
from cnn_lstm_hyperopt.evaluation.baselines.ridge import RidgeRegression
from cnn_lstm_hyperopt.inference.metadata import ModelDescription
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.models.linear import LinearConfig, linear_params
from cnn_lstm_hyperopt.models.linear_network import LinearNetwork
from cnn_lstm_hyperopt.models.network import LinearModel
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import BASELINE_NUMBERS, BASELINE_WINDOWS, window_limit

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LinearMember:
    """A fitted linear baseline in the form of a saved model.

    Attributes:
        name: name of the baseline.
        model: the saved model. The inputs are those of the networks.
        seconds: wall-clock seconds of the fit.
    """

    name: str
    model: SavedModel
    seconds: float


def linear_members(
    dataset: Dataset, *, seed: int, max_gap_days: float, decision_weights: NDArray[np.float64] | None
) -> Sequence[LinearMember]:
    """Fit logistic regression and ridge regression on the windows of a dataset.

    Both baselines see only the inputs of the windows, because a saved model has no other data. The ridge regression of the
    verdict's table may also use bars outside of the windows. Values are forecast by ridge regression in both members.

    Args:
        dataset: dataset with the windows. The training windows fit the baselines; the validation windows select their options.
        seed: seed of the study.
        max_gap_days: setting of the data.
        decision_weights: weights of the classes in the decision rule of the models; None: no weights.

    Returns:
        The members; no members if a class has no training window.
    """
    train, validation = (_sample(dataset, part) for part in (dataset.train, dataset.validation))
    logistic, ridge = LogisticBaseline(), RidgeRegression()
    seconds = []
    for baseline in (logistic, ridge):
        began = time.perf_counter()
        baseline.fit(train, validation, n_classes=dataset.n_classes, seed=seed)
        seconds.append(time.perf_counter() - began)
    values = ridge.linear_values(dataset.lookback) if dataset.has_regression else None
    description = ModelDescription.of(
        dataset,
        linear_params(dataset.lookback),
        max_gap_days=max_gap_days,
        decision_weights=None if decision_weights is None else tuple(decision_weights.tolist()),
    )
    found = []
    forms = {each.name: each.linear_form(dataset.lookback) for each in (logistic, ridge)}
    for (name, form), taken in zip(forms.items(), seconds, strict=True):
        if form is None or (dataset.has_regression and values is None):
            log.info("%s is no candidate for the ensemble: it has no linear form", name)
        else:
            found.append(LinearMember(name, _saved(form, values, description), taken))
    return found


def _saved(form: LinearForm, values: LinearForm | None, about: ModelDescription) -> SavedModel:
    """Return the saved model with these logits and, with regression, these values in the target's units."""
    weights, biases = form.weights, form.biases
    if values is not None:
        mean, std = about.value_scale.mean, about.value_scale.std
        weights, biases = np.vstack([weights, values.weights / std]), np.append(biases, (values.biases - mean) / std)
    config = LinearConfig(len(about.features), about.n_classes, about.has_regression, about.lookback)
    model = LinearModel(_tensor(weights), _tensor(biases))
    return SavedModel(LinearNetwork.of(config, model).eval(), about)


def _tensor(numbers: Floats) -> torch.Tensor:
    return torch.from_numpy(numbers.astype(np.float32))


def _sample(dataset: Dataset, windows: Windows) -> Sample:
    """Return evenly spread windows as a sample without market data and earlier labels."""
    limit = window_limit(dataset, BASELINE_WINDOWS, BASELINE_NUMBERS)
    chosen = spread_positions(len(windows), limit)
    values = None if windows.values is None else windows.values.numpy()[chosen].astype(np.float64)
    return Sample(
        inputs=windows.gather(torch.from_numpy(chosen)).numpy(),
        labels=windows.labels.numpy()[chosen],
        last_labels=np.full(len(chosen), UNKNOWN),
        values=values,
    )
