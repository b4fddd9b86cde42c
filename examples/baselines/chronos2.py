"""Chronos-2 (Ansari et al. 2025, arXiv 2510.15821) as a zero-shot baseline, with weights in a local folder.

    pip install 'chronos-forecasting>=2'
    export CHRONOS2_PATH=/models/chronos-2  # a copy of the repository amazon/chronos-2 of the Hugging Face Hub
    cnn-lstm-hyperopt run --demo --retrain-best --baseline examples.baselines.chronos2:forecast

The project's tests check only the error for a missing folder. They do not run the model, whose weights are in no package.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt import BaselineWindows

CONTEXT, BATCH = 512, 256
"""Number of values that the model reads, and number of windows in one step."""
LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def forecast(train: BaselineWindows, validation: BaselineWindows) -> Callable[[BaselineWindows], NDArray[np.float64]]:
    """Return a function that forecasts class probabilities. The training and validation windows are not used."""
    folder = Path(os.environ.get("CHRONOS2_PATH", "chronos-2"))
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"CHRONOS2_PATH: {folder} has no config.json; download the model, or name its folder")
    from chronos import Chronos2Pipeline

    pipeline = Chronos2Pipeline.from_pretrained(str(folder), device_map="cpu")

    def probabilities(windows: BaselineWindows) -> NDArray[np.float64]:
        parts = []
        for batch in windows.batches(BATCH):
            series = batch.series(CONTEXT).astype(np.float32)[:, None]  # (windows, 1 variate, values)
            found, _ = pipeline.predict_quantiles(series, prediction_length=batch.series_step, quantile_levels=LEVELS)
            quantiles = np.stack([each.numpy()[0, -1] for each in found])
            parts.append(batch.class_probabilities(np.array(LEVELS), quantiles))
        return np.concatenate(parts)

    return probabilities
