"""``validation/``: what each finished trial said of the validation windows, for overfitting statistics and ensembles."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.training import Predictions


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
