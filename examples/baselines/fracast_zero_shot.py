"""A zero-shot foundation model as a baseline: Fracast-0 (85,001 parameters), whose weights are in the package fracast.

From the root of the repository:

    pip install -e '.[fracast]'
    cnn-lstm-hyperopt run --demo --retrain-best --baseline examples.baselines.fracast_zero_shot:forecast

The model was not trained on your bars. It reads the last values before the end of each window, and forecasts quantiles of the
next range (target volatility) or of the later close (other targets).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt import BaselineWindows

CONTEXT, BATCH = 256, 256
"""Number of values that the model reads, and number of windows in one step."""


def forecast(train: BaselineWindows, validation: BaselineWindows) -> Callable[[BaselineWindows], NDArray[np.float64]]:
    """Return a function that forecasts class probabilities. The training and validation windows are not used."""
    from fracast import FracastModel

    model = FracastModel.from_pretrained(weights="fp32", device="cpu")

    def probabilities(windows: BaselineWindows) -> NDArray[np.float64]:
        parts = []
        for batch in windows.batches(BATCH):
            quantiles = model.forecast_batch(batch.series(CONTEXT), horizon=batch.series_step)[:, -1]
            parts.append(batch.class_probabilities(np.array(model.quantiles), quantiles))
        return np.concatenate(parts)

    return probabilities
