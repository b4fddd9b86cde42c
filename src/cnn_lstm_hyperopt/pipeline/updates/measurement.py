"""Scores of a model on windows of an update."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.pooled import scaled_windows
from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.data.splits import Integers
from cnn_lstm_hyperopt.data.window_table import WindowTable
from cnn_lstm_hyperopt.evaluation.bootstrap import mean_interval
from cnn_lstm_hyperopt.inference.model import SavedModel
from cnn_lstm_hyperopt.metrics.log_loss import MIN_PROBABILITY

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Measured:
    """Result of a model on each of some windows.

    Attributes:
        dates: (windows,) decision dates.
        losses: (windows,) negated log probability of the true class, in nats.
        hits: (windows,) 1 where the predicted class is right, else 0.
    """

    dates: NDArray[Any]
    losses: Floats
    hits: Floats

    @property
    def log_loss(self) -> float:
        """Mean loss of the windows."""
        return float(self.losses.mean())

    def as_dict(self) -> dict[str, Any]:
        """Return the scores with their intervals. An interval is None if there are too few dates."""
        accuracy, log_loss = (mean_interval(each, self.dates) for each in (self.hits, self.losses))
        return {
            "first": date_text(self.dates.min()),
            "last": date_text(self.dates.max()),
            "windows": len(self.dates),
            "dates": len(np.unique(self.dates)),
            "accuracy": float(self.hits.mean()),
            "accuracy_interval": None if accuracy is None else list(accuracy),
            "log_loss": self.log_loss,
            "log_loss_interval": None if log_loss is None else list(log_loss),
        }

    def errors_by_date(self) -> tuple[NDArray[Any], Floats]:
        """Return the dates in order of time, and the share of wrong predictions on each."""
        dates, place = np.unique(self.dates, return_inverse=True)
        return dates, 1 - np.bincount(place, weights=self.hits) / np.bincount(place)


def measure(model: SavedModel, table: WindowTable, chosen: Integers) -> Measured:
    """Return the results of a model on the windows at the positions ``chosen``, which must not be empty.

    Raises:
        DataError: a prediction is not finite.
    """
    about = model.description
    if about.scaler is None:
        raise RuntimeError("a model of bars has a scaler")
    predictions = model.predict_windows(scaled_windows(table, chosen, about.scaler, about.lookback))
    labels = table.classes[chosen]
    of_label = predictions.probabilities[np.arange(len(chosen)), labels].astype(np.float64)
    losses = -np.log(np.maximum(of_label, MIN_PROBABILITY))
    return Measured(table.dates[chosen], losses, (predictions.classes == labels).astype(np.float64))


def difference_interval(candidate: Measured, present: Measured) -> list[float] | None:
    """Return the interval of the candidate's log loss minus that of the present version, on the same windows."""
    found = mean_interval(candidate.losses - present.losses, present.dates)
    return None if found is None else list(found)
