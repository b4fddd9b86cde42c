"""R² of predicted values, measured against the best simple forecast, with a confidence interval."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.metrics.proportions import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RSquared:
    """R² of predicted values: 1 − mean squared error (MSE) of the predictions / MSE of a reference forecast.

    Attributes:
        value: R² against the best reference. If R² is above 0, the predictions are better than all references.
        interval: confidence interval of ``value``; None if there are too few units, or if the predictions equal the reference.
        reference: name of the reference with the lowest MSE on the same windows. This reference is chosen with knowledge of
            the true values, so it is harder to beat.
        against: R² against each reference, by name.
    """

    value: float
    interval: Interval | None
    reference: str
    against: Mapping[str, float]


EPSILON = float(np.finfo(np.float32).eps)
"""Relative precision of predicted values, which are float32 numbers."""


def rounding(targets: Floats) -> float:
    """Return the mean squared error up to which a forecast counts as exact.

    Such an error is at most 1.2e-7 of the variance of the true values, so the R² of the forecast against their mean is 1 as a
    float32 number. Or the error is that of true values that are stored as float32 numbers.
    """
    return EPSILON * float(np.var(targets)) + EPSILON**2 * float(np.mean(np.square(targets)))


def r_squared(
    targets: Floats, values: Floats, references: Mapping[str, NDArray[np.floating]], dependence: Dependence
) -> RSquared | None:
    """Return the R² of predicted values against the best reference.

    The interval is that of a ratio of two means (delta method, Cochran 1977, ch. 6). Let e be the error of the prediction and
    r the error of the reference for the same window. Then R² varies as the mean over windows of −(e² − (1 − R²) r²) /
    mean(r²).

    Args:
        targets: ``(windows,)`` true values.
        values: ``(windows,)`` predictions.
        references: forecasts ``(windows,)`` of each reference, by name.
        dependence: dependence of the windows.

    Returns:
        The R², or None if there is no reference, or if the error of a reference is at the level of rounding.
    """
    squares = {name: np.square(targets - each) for name, each in references.items()}
    errors = {name: float(each.mean()) for name, each in squares.items()}
    if not errors or min(errors.values()) <= rounding(targets):
        return None
    own = np.square(targets - values)
    reference = min(errors, key=errors.__getitem__)
    ratio = float(own.mean()) / errors[reference]
    interval = None
    if dependence.too_few is None and not np.array_equal(values, references[reference]):
        variance = dependence.variance((ratio * squares[reference] - own) / errors[reference])
        half = variance.reach * math.sqrt(variance.value)
        interval = Interval(1 - ratio - half, min(1.0, 1 - ratio + half))
    return RSquared(
        1 - ratio, interval, reference, {name: 1 - float(own.mean()) / each for name, each in errors.items()}
    )
