"""R² of predicted values against the best simple forecast, with an interval."""

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
    """R² of predicted values: 1 − MSE of the predictions / MSE of a reference.

    Attributes:
        value: R² against the best reference; above 0: the predictions are better than all references.
        interval: interval of ``value``; None: too few units, or the predictions are those of the reference.
        reference: name of the reference with the lowest MSE on the same windows. It is chosen in hindsight, so it is harder to
            beat.
        against: R² against each reference.
    """

    value: float
    interval: Interval | None
    reference: str
    against: Mapping[str, float]


def r_squared(
    targets: Floats, values: Floats, references: Mapping[str, NDArray[np.floating]], dependence: Dependence
) -> RSquared | None:
    """Return the R² of ``values``.

    The interval is that of a ratio of two means (delta method, Cochran 1977, ch. 6): R² varies as the mean over windows of
    −(e² − (1 − R²) r²) / mean(r²), with errors e of the predictions and r of the reference on the same window.

    Args:
        targets: ``(windows,)`` true values.
        values: ``(windows,)`` predictions.
        references: for each reference's name, its forecasts ``(windows,)``.
        dependence: dependence of the windows.

    Returns:
        None if there is no reference, or a reference without error.
    """
    squares = {name: np.square(targets - each) for name, each in references.items()}
    errors = {name: float(each.mean()) for name, each in squares.items()}
    if not errors or min(errors.values()) <= 0:
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
