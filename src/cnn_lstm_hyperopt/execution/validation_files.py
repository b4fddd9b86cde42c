"""``validation/``: what each finished trial said of the validation windows, for overfitting statistics and ensembles."""

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
    """Keeps what each finished one said of the validation windows."""

    def __init__(self, folder: Path, folds: Sequence[Fold]) -> None:
        self._folder, self._folds = folder, folds

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """Writes the predictions of the trial's best epoch, before the trial counts as finished: none can be missing."""
        if trained.outcome.best is not None:
            write_validation(self._folder, assignment.number, self._folds, trained.outcome.best.predictions)


def delete_validation(folder: Path, failed: Iterable[int]) -> None:
    """Removes what trials said that failed after all: their process ended between the file and the trial's stored end."""
    for number in failed:
        _path(folder, number).unlink(missing_ok=True)


def write_validation(folder: Path, number: int, folds: Sequence[Fold], predictions: Predictions) -> Path:
    """Writes ``trial_00042.parquet``, a row for each validation window, in the order of the predictions.

    Columns: date, symbol, label, ``probability_1`` … (the first class is what is left to 1), value. With several folds there is
    also the fold, counted from 1; their windows follow each other in the folds' order, and one that several folds hold out is
    there several times.

    Args:
        folder: made if it is missing; what it lies in must be there.
        number: of the trial.
        folds: whose validation windows they are.
        predictions: of all of them, fold after fold.
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
    path = _path(folder, number)
    with written_beside(path) as beside, beside.open("wb") as file:  # by its name alone Arrow might take it for a URI
        pq.write_table(pa.table(columns), file, compression="zstd")
    return path


def _path(folder: Path, number: int) -> Path:
    return folder / f"trial_{number:05d}.parquet"
