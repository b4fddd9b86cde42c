"""How far bars are apart."""

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.windows import Windows


def step_seconds(stamps: NDArray[np.int64]) -> float | None:
    """Median distance of ascending stamps in nanoseconds; None of fewer than two."""
    return float(np.median(np.diff(stamps))) / 1e9 if len(stamps) > 1 else None


def window_step_seconds(windows: Windows) -> float | None:
    """Of the symbol with the most windows, one of which ends at nearly every bar; None of a user's own loaders."""
    if windows.dates.dtype.kind != "M" or not len(windows):
        return None
    names, counts = np.unique(windows.symbols, return_counts=True)
    dates = windows.dates[windows.symbols == names[np.argmax(counts)]]
    return step_seconds(np.sort(dates.astype("datetime64[ns]").astype(np.int64)))


def duration(seconds: float) -> str:
    """``1 day``, ``5 minutes``."""
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {name}{'' if seconds == size else 's'}"
    return f"{seconds:.3g} seconds"
