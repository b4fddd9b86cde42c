"""Temperature of a model: its place in the model's files, and its effect on predictions."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from cnn_lstm_hyperopt.evaluation.temperature import MAX_TEMPERATURE, MIN_TEMPERATURE, tempered
from cnn_lstm_hyperopt.inference.stored_form import StoredForm
from cnn_lstm_hyperopt.training import Predictions

TEMPERATURE = "temperature"
"""Key of the temperature in ``model.json`` and ``ensemble.json``."""


class Calibrated(NamedTuple):
    """Predictions of a model before and after temperature scaling. The model returns the predictions after it."""

    before: Predictions
    after: Predictions


def scaled(predictions: Predictions, temperature: float) -> Predictions:
    """Return predictions with tempered probabilities. With the temperature 1, the same predictions are returned.

    The decision weights stay the same, and are applied to the tempered probabilities.
    """
    if temperature == 1.0:
        return predictions
    return replace(predictions, probabilities=tempered(predictions.probabilities, temperature).astype(np.float32))


def stored(temperature: float) -> dict[str, float]:
    """Return the entry of a temperature for a file. Without scaling, there is no entry."""
    return {} if temperature == 1.0 else {TEMPERATURE: temperature}


class StoredTemperature(StoredForm):
    """Entry ``temperature`` of ``model.json`` and ``ensemble.json``."""

    temperature: float = Field(ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)

    @classmethod
    def taken_from(cls, raw: Any) -> float:
        """Return the temperature in the content of a file, and remove its key from the content.

        Return 1 if there is no entry, as in files of earlier versions.

        Raises:
            FormError: the entry is invalid.
        """
        if not isinstance(raw, dict) or TEMPERATURE not in raw:
            return 1.0
        return cls.read({TEMPERATURE: raw.pop(TEMPERATURE)}).temperature
