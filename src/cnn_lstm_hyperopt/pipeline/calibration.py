"""Calibration of finalists on held-out windows: temperature, then conformal sets; and the effect of the temperature."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence, calibration_error
from cnn_lstm_hyperopt.evaluation.temperature import fit_temperature
from cnn_lstm_hyperopt.inference.conformal import Conformal, calibrate
from cnn_lstm_hyperopt.inference.ensemble import mean_of
from cnn_lstm_hyperopt.inference.temperature import Calibrated, scaled
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.retraining import Retrained
from cnn_lstm_hyperopt.training import Predictions


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Windows that calibrate the finalists and select the ensemble, with predictions for these windows.

    Attributes:
        windows: the validation windows. If the seeds of a finalist train on different folds, the windows are those that these
            folds hold out.
        folds: places of these folds; empty if the windows are the validation windows.
        of_runs: for each finalist, the predictions of each of its runs. With folds, all runs of a finalist have the same
            predictions: each window is predicted by the networks that did not train on it.
    """

    windows: Windows
    folds: tuple[int, ...]
    of_runs: list[list[Predictions]]


def held_out(finalists: Sequence[Retrained], dataset: Dataset) -> HeldOut:
    """Return the held-out windows of finalists with their predictions.

    If all trainings of a finalist on a fold failed, all networks of this finalist predict the windows of this fold.
    """
    used = {run.fold for each in finalists for run in each.runs}
    folds = tuple(sorted(place for place in used if place is not None))
    if not folds:
        return HeldOut(dataset.validation, (), [each.predictions(dataset.validation) for each in finalists])
    parts = [dataset.folds[place].validation for place in folds]

    def predicted(each: Retrained, place: int, part: Windows) -> Predictions:
        runs = [run for run in each.runs if run.fold == place] or each.runs
        return mean_of([run.model.predict_windows(part) for run in runs], [1 / len(runs)] * len(runs))

    of_runs = []
    for each in finalists:
        whole = joined([predicted(each, place, part) for place, part in zip(folds, parts, strict=True)])
        of_runs.append([whole] * len(each.runs))
    return HeldOut(parts[0].followed_by(*parts[1:]), folds, of_runs)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions for several sets of windows as one."""
    values = [each.values for each in parts if each.values is not None]
    return Predictions(
        np.concatenate([each.probabilities for each in parts]),
        np.concatenate(values) if len(values) == len(parts) else None,
        parts[0].decision_weights,
    )


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
