"""Split conformal prediction: sets of classes and intervals of values that contain the truth with a given probability.

Sets and intervals are calibrated on windows that were not used to train the model.

If calibration and new windows were exchangeable, a set would contain the true class with probability ``level`` or more, for
every model. Windows of a time series are not exchangeable, so the coverage on the test set is measured and reported.

Sources: Vovk, Gammerman & Shafer 2005, "Algorithmic Learning in a Random World"; the score of classes is LAC by Sadinle, Lei
& Wasserman 2019 (JASA 114), eq. 5; intervals of absolute residuals by Lei et al. 2018 (JASA 113), algorithm 2. The package
mapie computes the same sets for scikit-learn estimators and serves as reference in the tests.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from cnn_lstm_hyperopt.data.labels import OwnUnit
from cnn_lstm_hyperopt.inference.stored_form import StoredForm
from cnn_lstm_hyperopt.training import Predictions

LEVEL = 0.9
CONFORMAL = "conformal"
"""Key of the prediction sets in ``model.json`` and ``ensemble.json``."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Conformal:
    """Calibrated prediction sets and intervals of a model.

    Attributes:
        level: probability with which a set contains the true class, if windows are exchangeable.
        windows: number of calibration windows.
        class_score: a class is in the set if 1 − its probability is at most this number.
        half_width: half of the width of an interval, in the target's units; None without regression.
    """

    level: float
    windows: int
    class_score: float
    half_width: float | None = None

    def sets(self, probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return a mask (windows, classes) that is true if the class is in the window's set. A set may be empty."""
        return np.asarray(1.0 - probabilities.astype(np.float64) <= self.class_score)

    def intervals(self, values: NDArray[np.floating]) -> tuple[Array, Array] | None:
        """Return the ends of the intervals around predicted values: lower and upper, each (windows,).

        None without regression.
        """
        if self.half_width is None:
            return None
        return values - np.float64(self.half_width), values + np.float64(self.half_width)

    def add_columns(self, frame: pd.DataFrame, predictions: Predictions, unit: OwnUnit | None) -> None:
        """Append columns with the sets and intervals to a frame of predictions.

        The columns ``set_0`` … are 1 if the class is in the set, else 0. ``value_low`` and ``value_high`` are the ends of the
        interval.

        With ``unit``, two additional columns have the ends of the interval in this unit.
        """
        for number, inside in enumerate(self.sets(predictions.probabilities).T):
            frame[f"set_{number}"] = inside.astype(np.int64)
        ends = None if predictions.values is None else self.intervals(predictions.values)
        for end, values in zip(("low", "high"), ends or (), strict=False):
            frame[f"value_{end}"] = values.astype(np.float32)
            if unit is not None:
                frame[f"{unit.column}_{end}"] = unit.convert(values).astype(np.float32)


class StoredConformal(StoredForm):
    """Entry ``conformal`` of ``model.json`` and ``ensemble.json``."""

    level: float = Field(gt=0, lt=1)
    windows: int = Field(ge=1)
    class_score: float = Field(ge=0, le=1)
    half_width: float | None = Field(ge=0)

    @classmethod
    def taken_from(cls, raw: Any) -> Conformal | None:
        """Return the entry ``conformal`` in the content of a file, and remove its key from the content.

        Return None if there is no entry, as in files of earlier versions.

        Raises:
            FormError: the entry is invalid.
        """
        entry = raw.pop(CONFORMAL, None) if isinstance(raw, dict) else None
        return None if entry is None else Conformal(**dict(cls.read(entry, f"{CONFORMAL}: ")))


def calibrate(
    labels: NDArray[np.int64],
    predictions: Predictions,
    targets: NDArray[np.floating] | None,
    level: float = LEVEL,
) -> Conformal | None:
    """Return the conformal sets and intervals of a model, calibrated on its predictions for validation windows.

    Args:
        labels: ``(windows,)`` true classes.
        predictions: predictions for the windows.
        targets: ``(windows,)`` true values; None: no regression.
        level: probability with which a set contains the true class, above 0 and below 1.

    Returns:
        None if there are too few windows for ``level`` (fewer than 9 for 90 %).
    """
    truth = predictions.probabilities[np.arange(len(labels)), labels].astype(np.float64)
    class_score = conformal_quantile(1.0 - truth, level)
    if class_score is None:
        return None
    half_width = None
    if targets is not None and predictions.values is not None:
        half_width = conformal_quantile(np.abs(targets.astype(np.float64) - predictions.values), level)
    return Conformal(level, len(labels), class_score, half_width)


def conformal_quantile(scores: Array, level: float) -> float | None:
    """Return the ⌈(n + 1) level⌉-th smallest of n scores (Lei et al. 2018, algorithm 2), or None if there are fewer scores."""
    place = math.ceil(round((len(scores) + 1) * level, 9))
    return float(np.partition(scores, place - 1)[place - 1]) if place <= len(scores) else None
