"""Calibration of finalists on the validation windows: temperature, then conformal sets; and the effect of the temperature."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence, calibration_error
from cnn_lstm_hyperopt.evaluation.temperature import fit_temperature
from cnn_lstm_hyperopt.inference.conformal import Conformal, calibrate
from cnn_lstm_hyperopt.inference.temperature import Calibrated, scaled
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.training import Predictions


def temperature_on(validation: Windows, predictions: Predictions, horizon: int) -> float:
    """Return the temperature of a model with these predictions for the validation windows."""
    dependence = Dependence.of(validation, horizon=horizon)
    return fit_temperature(validation.labels.numpy(), predictions.probabilities, dependence)


def sets_on(validation: Windows, predictions: Predictions, temperature: float) -> Conformal | None:
    """Return the conformal sets of a model with this temperature and these unscaled predictions for the validation windows."""
    targets = None if validation.values is None else validation.values.numpy()
    return calibrate(validation.labels.numpy(), scaled(predictions, temperature), targets)


def calibrated(retrained: Retrained, predictions: Predictions, validation: Windows, horizon: int) -> Retrained:
    """Return the finalist with a temperature and conformal sets that are fitted on the validation windows.

    Args:
        retrained: finalist.
        predictions: predictions of the finalist for the validation windows, without temperature scaling.
        validation: the validation windows.
        horizon: number of bars that a label looks ahead.
    """
    temperature = temperature_on(validation, predictions, horizon)
    return replace(retrained, temperature=temperature, conformal=sets_on(validation, predictions, temperature))


@dataclass(frozen=True)
class CalibrationEffect:
    """Log loss (nats) and expected calibration error of a model, before and after temperature scaling."""

    log_loss: tuple[float, float]
    calibration_error: tuple[float, float]

    @classmethod
    def of(cls, labels: NDArray[np.int64], predictions: Calibrated) -> "CalibrationEffect":
        """Return the effect on labelled windows."""
        before, after = (each.probabilities for each in predictions)
        losses = -score("log_loss", labels, before), -score("log_loss", labels, after)
        return cls(losses, (calibration_error(labels, before), calibration_error(labels, after)))

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers for ``results.json``."""
        return {
            "log_loss_before": self.log_loss[0],
            "log_loss_after": self.log_loss[1],
            "calibration_error_before": self.calibration_error[0],
            "calibration_error_after": self.calibration_error[1],
        }


def scaling_text(entry: Mapping[str, Any]) -> str:
    """Return a sentence about the temperature of a model and its effect on test; empty for results of earlier versions."""
    scaling = entry.get("temperature_scaling")
    if scaling is None:
        return ""
    test = scaling["test"]
    return (
        f"Temperature scaling fitted on validation: T = {scaling['temperature']:.3f}. On test it changes the log loss from"
        f" {test['log_loss_before']:.4f} to {test['log_loss_after']:.4f} and the calibration error from"
        f" {test['calibration_error_before']:.3f} to {test['calibration_error_after']:.3f}."
    )
