"""Measured values of the constraints of a trial, at the end of its training."""

import copy
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.evaluation import calibration_error
from cnn_lstm_hyperopt.training.latency import window_milliseconds
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork

CALIBRATION_BINS = 15
"""Number of bins of the expected calibration error, as in Guo, Pleiss, Sun & Weinberger 2017."""


def constraint_values(names: Iterable[str], trained: TrainedNetwork, folds: Sequence[Fold]) -> dict[str, float]:
    """Measure constraints of a trained trial by name.

    - ``latency_ms``: median milliseconds of one window in the network of the first fold, on one CPU thread.
    - ``calibration_error``: expected calibration error of the validation predictions of all folds.

    Raises:
        ValueError: there is no constraint with this name.
    """
    unknown = [name for name in names if name not in _MEASURES]
    if unknown:
        raise ValueError(f"{unknown[0]} is not a constraint of a trained network; known: {', '.join(_MEASURES)}")
    return {name: _MEASURES[name](trained, folds) for name in names}


def _latency(trained: TrainedNetwork, folds: Sequence[Fold]) -> float:
    network = copy.deepcopy(trained.networks[0]).to("cpu")
    return window_milliseconds([network], folds[0].validation.lookback)


def _calibration_error(trained: TrainedNetwork, folds: Sequence[Fold]) -> float:
    if trained.outcome.best is None:
        raise RuntimeError("a complete training has an evaluation")
    labels: NDArray[np.int64] = np.concatenate([fold.validation.labels.cpu().numpy() for fold in folds])
    return calibration_error(labels, trained.outcome.best.predictions.probabilities, bins=CALIBRATION_BINS)


_MEASURES: dict[str, Callable[[TrainedNetwork, Sequence[Fold]], float]] = {
    "latency_ms": _latency,
    "calibration_error": _calibration_error,
}
