"""``validation/``: what each finished trial said of the validation windows, for overfitting statistics and ensembles."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import Assignment, TrialRecord
from cnn_lstm_hyperopt.training import Predictions
from cnn_lstm_hyperopt.trial_runner import TrainedNetwork


class ValidationWriter:
    """An observer of trials that keeps what each finished one said of the validation windows."""

    def __init__(self, folder: Path, windows: Windows) -> None:
        self._folder, self._windows = folder, windows

    def on_trial_start(self, assignment: Assignment) -> None:
        """Nothing to do."""

    def on_trial_report(self, assignment: Assignment, report: ProgressReport) -> None:
        """Nothing to do."""

    def on_trial_trained(self, assignment: Assignment, trained: TrainedNetwork) -> None:
        """Writes the predictions of the trial's best epoch, before the trial counts as finished: none can be missing."""
        if trained.outcome.best is not None:
            write_validation(self._folder, assignment.number, self._windows, trained.outcome.best.predictions)

    def on_trial_end(self, record: TrialRecord, trained: TrainedNetwork | None) -> None:
        """Nothing to do."""


def write_validation(folder: Path, number: int, windows: Windows, predictions: Predictions) -> Path:
    """Writes ``trial_00042.parquet``: date, symbol, label, ``probability_1`` … (the first class is what is left to 1), value."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "date": pa.array(windows.dates),
        "symbol": pa.array(windows.symbols.tolist()).dictionary_encode(),
        "label": pa.array(windows.labels.numpy().astype(np.int16)),
    }
    for k in range(1, predictions.probabilities.shape[1]):
        columns[f"probability_{k}"] = pa.array(predictions.probabilities[:, k])
    if predictions.values is not None:
        columns["value"] = pa.array(predictions.values)
    path = folder / f"trial_{number:05d}.parquet"
    beside = path.with_name(f".{path.name}.part")
    pq.write_table(pa.table(columns), beside, compression="zstd")
    beside.replace(path)
    return path
