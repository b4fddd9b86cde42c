"""Temperature scaling: one number per model that corrects probabilities that are too confident or not confident enough.

Source: Guo, Pleiss, Sun & Weinberger 2017, "On Calibration of Modern Neural Networks", ICML, section 4.2.
"""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.dependence import Dependence
from cnn_lstm_hyperopt.metrics.log_loss import MIN_PROBABILITY

PRIOR_DEVIATION = 0.25
"""Standard deviation of 1 / temperature around 1 in the prior. It decides how many windows a fit needs to leave 1.

benchmarks/evaluation_temperature.py compares several numbers.
"""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.2, 5.0

Floats = NDArray[np.float64]


def tempered(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Return the softmax of logarithms of probabilities divided by the temperature, ``(windows, classes)``.

    A temperature above 1 makes the probabilities more equal. The most probable class stays the same. A temperature of 1 changes
    nothing but rounding.

    Args:
        probabilities: ``(windows, classes)``, with a positive number in each row.
        temperature: positive number.
    """
    relative = probabilities.astype(np.float64)
    powers = (relative / relative.max(axis=1, keepdims=True)) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def fit_temperature(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    dependence: Dependence,
    *,
    deviation: float = PRIOR_DEVIATION,
) -> float:
    """Return the temperature that fits labelled windows, shrunk towards 1 if the windows contain little information.

    The function minimises m L(b) + (b − 1)² / (2 s²) over b = 1 / temperature. L is the mean log loss of the tempered
    probabilities, which is convex in b. The estimate is the mode under a normal prior of b with standard deviation s. m is the
    number of independent windows that contain as much information about b as the dependent windows.

    Args:
        labels: ``(windows,)`` true classes.
        probabilities: ``(windows, classes)`` predicted probabilities.
        dependence: dependence between the windows. If it has too few units for an interval, the temperature is 1.
        deviation: standard deviation s of the prior.
    """
    if dependence.too_few is not None:
        return 1.0
    from scipy.optimize import minimize_scalar  # imports in 0.1 s

    logs = np.log(np.maximum(probabilities.astype(np.float64), MIN_PROBABILITY))
    logs -= logs.max(axis=1, keepdims=True)
    at_true = logs[np.arange(len(labels)), labels]
    slopes = (tempered(np.exp(logs), 1.0) * logs).sum(axis=1) - at_true  # of the loss of each window, at b = 1
    share, _ = dependence.effective_share(slopes)
    windows = min(share, 1.0) * len(labels)

    def objective(b: float) -> float:
        loss = float((np.log(np.exp(b * logs).sum(axis=1)) - b * at_true).mean())
        return windows * loss + (b - 1) ** 2 / (2 * deviation**2)

    found = minimize_scalar(
        objective, bounds=(1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE), method="bounded", options={"xatol": 1e-6}
    )
    return float(1 / found.x)
