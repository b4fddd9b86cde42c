"""Files in the folder ``validation``: predictions of finished trials on the validation windows, for statistics and ensembles."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cnn_lstm_hyperopt.data.windows import Fold
from cnn_lstm_hyperopt.execution.trial_events import TrialEvents
from cnn_lstm_hyperopt.search import Assignment
from cnn_lstm_hyperopt.training import Predictions
from cnn_lstm_hyperopt.training.trial_trainer import TrainedNetwork
from cnn_lstm_hyperopt.utils.atomic_io import written_beside


class ValidationWriter(TrialEvents):
    """Subscriber that writes the validation predictions of each finished trial."""

    def __init__(self, folder: Path, folds: Sequence[Fold]) -> None:
        self._folder, self._folds = folder, folds

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """Write the predictions of the best epoch before the trial is stored, so that each finished trial has predictions."""
        if trained.outcome.best is not None:
            write_validation(self._folder, assignment.number, self._folds, trained.outcome.best.predictions)


def delete_validation(folder: Path, failed: Iterable[int]) -> None:
    """Remove predictions of failed trials, whose process ended after it wrote the file and before it stored the trial."""
    for number in failed:
        validation_path(folder, number).unlink(missing_ok=True)


def write_validation(folder: Path, number: int, folds: Sequence[Fold], predictions: Predictions) -> Path:
    """Write the predictions of a trial, such as ``trial_00042.parquet``, with a row for each validation window.

    Columns: date, symbol, label, ``probability_1`` … (the probability of class 0 is 1 minus the sum of these), value and, with
    several folds, the number of the fold from 1. Rows are in the order of the folds; a window in several folds has several rows.

    Args:
        folder: folder of the file, which is created if it is missing; its parent folder must exist.
        number: number of the trial.
        folds: folds of the study.
        predictions: predictions for all validation windows, in the order of the folds.
    """
    folder.mkdir(exist_ok=True)
    validation = [fold.validation for fold in folds]
    symbols = np.concatenate([windows.symbols for windows in validation])
    labels = np.concatenate([windows.labels.numpy() for windows in validation])
    columns = {
        "date": pa.array(np.concatenate([windows.dates for windows in validation])),
        "symbol": pa.array(symbols.tolist()).dictionary_encode(),
        "label": pa.array(labels.astype(np.int16)),
    }
    if len(folds) > 1:
        numbers = np.arange(1, len(folds) + 1, dtype=np.int8)
        columns["fold"] = pa.array(np.repeat(numbers, [len(windows) for windows in validation]))
    for k in range(1, predictions.probabilities.shape[1]):
        columns[f"probability_{k}"] = pa.array(predictions.probabilities[:, k])
    if predictions.values is not None:
        columns["value"] = pa.array(predictions.values)
    path = validation_path(folder, number)
    with written_beside(path) as beside, beside.open("wb") as file:  # Arrow may read a plain name as a URI
        pq.write_table(pa.table(columns), file, compression="zstd")
    return path


def validation_path(folder: Path, number: int) -> Path:
    """Return the path of the predictions of a trial."""
    return folder / f"trial_{number:05d}.parquet"
