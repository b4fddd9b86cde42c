"""The linear solution at which a network with a linear highway starts: a logistic and a ridge regression of window summaries."""

import math
import warnings
from collections.abc import Callable, Hashable
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.data.splits import evenly_spread, spread_positions
from cnn_lstm_hyperopt.data.windows import Fold, Windows
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.models.linear import all_logits
from cnn_lstm_hyperopt.models.network import LinearModel, Network

Floats = NDArray[np.float64]
Linear = tuple[Floats, Floats]
"""Weights ``(outputs, columns)`` and biases ``(outputs,)``."""

MAX_WINDOWS = 50_000
"""Maximum number of windows of a fit; of more windows, evenly spread ones are used."""
PENALTIES = (math.inf, *(10.0**power for power in range(2, -6, -1)))
"""Strengths of the L2 penalty per window, for standardised summaries. With the first, all weights are 0."""
HELD_OUT = 0.2
"""Share of the training windows that select the penalties if there are no validation windows."""
_AT_ONCE = 1024


class LinearStarts:
    """Linear solutions of folds. A solution is computed once per fold and inputs, and does not depend on random numbers."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Fold, dict[Hashable, LinearModel]] = WeakKeyDictionary()

    def apply(self, network: Network, fold: Fold) -> None:
        """Let the network compute the linear solution of the fold, if the network starts at this solution."""
        if not network.starts_linear:
            return
        found = self._found.setdefault(fold, {})
        if network.inputs_key not in found:
            found[network.inputs_key] = linear_solution(network, fold)
        network.start_linear(found[network.inputs_key])


def linear_solution(network: Network, fold: Fold) -> LinearModel:
    """Fit linear models of the network's window summaries on the training windows of a fold.

    The logits are those of a logistic regression; the value is that of a ridge regression. The validation windows select the
    penalties. In a fold without validation windows, the latest fifth of the training windows does.
    """
    train = _thinned(fold.train)
    inputs = _summaries(network, train)
    mean, deviation = inputs.mean(axis=0), inputs.std(axis=0)
    constant = deviation <= 1e-6 * np.maximum(1.0, np.abs(mean))
    scale = np.where(constant, np.inf, np.where(constant, 1.0, deviation))  # constant columns become 0
    fitted, held_out = (train, _thinned(fold.validation)) if len(fold.validation) else _divided(train)

    def columns(part: Windows) -> Floats:
        return np.asarray((_summaries(network, part) - mean) / scale)

    def solution(fit: Callable[[Floats, Windows, float], Linear], loss: Callable[[Floats, Windows], float]) -> Linear:
        some, others = columns(fitted), columns(held_out)
        models = [fit(some, fitted, penalty) for penalty in PENALTIES]
        best = int(np.argmin([loss(others @ weights.T + biases, held_out) for weights, biases in models]))
        return models[best] if fitted is train else fit(columns(train), train, PENALTIES[best])

    n_classes = network.config.n_classes
    with threadpool_limits(1):  # sums in one order: the same result on every machine
        parts = [solution(lambda x, part, penalty: logistic(x, _labels(part), n_classes, penalty), _log_loss)]
        if network.config.has_regression:
            parts.append(
                solution(
                    lambda x, part, penalty: ridge(x, _values(part, fold), penalty),
                    lambda forecasts, part: float(np.mean((forecasts[:, 0] - _values(part, fold)) ** 2)),
                )
            )
    weights = np.concatenate([each[0] for each in parts]) / scale
    biases = np.concatenate([each[1] for each in parts]) - weights @ mean
    return LinearModel(torch.from_numpy(weights.astype(np.float32)), torch.from_numpy(biases.astype(np.float32)))


def logistic(inputs: Floats, labels: NDArray[np.int64], n_classes: int, penalty: float) -> Linear:
    """Fit a logistic regression on standardised inputs and return the weights and biases of the logits of all classes.

    If the penalty is infinite or all labels are equal, the result is the base rates. A class without a window gets its base rate
    for the mean window.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    counts = np.bincount(labels, minlength=n_classes) + 1.0
    rates, classes = counts / counts.sum(), np.unique(labels)
    weights, biases = np.zeros((n_classes, inputs.shape[1])), np.log(rates)
    if math.isinf(penalty) or len(classes) < 2:
        return weights, biases
    model = LogisticRegression(C=1 / (penalty * len(inputs)), max_iter=1000)
    with warnings.catch_warnings():
        # an incomplete fit is no problem: the loss compares all fits
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(inputs, labels)
    weights[classes], found = all_logits(model.coef_, model.intercept_)
    missing = np.setdiff1d(np.arange(n_classes), classes)
    biases[classes] = found - np.logaddexp.reduce(found) + np.log(1 - rates[missing].sum())
    return weights, biases


def ridge(inputs: Floats, values: Floats, penalty: float) -> Linear:
    """Fit a ridge regression on standardised inputs; if the penalty is infinite, the result is the mean of the values."""
    from sklearn.linear_model import Ridge

    if math.isinf(penalty):
        return np.zeros((1, inputs.shape[1])), values.mean(keepdims=True)
    model = Ridge(alpha=penalty * len(inputs)).fit(inputs, values)
    return model.coef_[None], np.array([model.intercept_])


def _log_loss(logits: Floats, windows: Windows) -> float:
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return -score("log_loss", _labels(windows), np.exp(logs))


@torch.inference_mode()
def _summaries(network: Network, windows: Windows) -> Floats:
    """Return the window summaries of the network, ``(windows, summaries)``."""
    index = torch.arange(len(windows), device=windows.device)
    parts = [network.summaries(windows.gather(part)).double().cpu() for part in index.split(_AT_ONCE)]
    return np.asarray(torch.cat(parts).numpy())


def _thinned(windows: Windows) -> Windows:
    if len(windows) <= MAX_WINDOWS:
        return windows
    return windows.subset(spread_positions(len(windows), MAX_WINDOWS))


def _divided(windows: Windows) -> tuple[Windows, Windows]:
    """Divide windows into earlier and latest ones; windows without dates, which have no order, are held out evenly."""
    order = np.argsort(windows.dates, kind="stable")
    count = round(HELD_OUT * len(order))
    held_out = order[len(order) - count :] if windows.dated else order[evenly_spread(len(order), HELD_OUT)]
    return windows.subset(np.setdiff1d(order, held_out)), windows.subset(held_out)


def _labels(windows: Windows) -> NDArray[np.int64]:
    return np.asarray(windows.labels.cpu().numpy(), dtype=np.int64)


def _values(windows: Windows, fold: Fold) -> Floats:
    """Return the regression values in standardised units, ``(windows,)``."""
    if windows.values is None:
        raise ValueError("a network with a regression head needs windows with values")
    return np.asarray((windows.values.double().cpu().numpy() - fold.value_mean) / fold.value_std)
