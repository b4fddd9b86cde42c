"""Features relative to trailing medians: the range and the volume of a bar, of a week and of a month against 60 bars."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.labels import HISTORY, ranges

SPANS = (1, 5, 22)
"""Numbers of bars of the medians that are compared with the median of 60 bars: day, week and month, as in Corsi 2009 (HAR)."""
RELATIVE_RANGES = tuple(f"range_ratio{span}" for span in SPANS)
"""Names of the features ln(median range of the last s bars / median range of the last 60 bars)."""
VOLUME_RATIOS = tuple(f"volume_ratio{span}" for span in SPANS)
"""Names of the features ln((v + m) / 2m), with the median volumes v of the last s bars and m of the last 60 bars."""

Array = NDArray[np.float64]


def write_relative_ranges(frame: pd.DataFrame, out: Array) -> None:
    """Write the features :data:`RELATIVE_RANGES` of the bars of one segment.

    The range of a bar is that of the target volatility, max(ln(high / low), 1e-5), so a bar without a range has a finite
    logarithm. The median of 60 ranges is the boundary between the classes of this target. Row t depends on bars 0 to t only. At
    the first bars of the segment, a median has only the bars that exist.

    Args:
        frame: (bars,) float64 columns high and low.
        out: (bars, 3), one column for each of :data:`SPANS`.
    """
    each = ranges(frame)
    usual = trailing_median(each, HISTORY)
    for place, span in enumerate(SPANS):
        out[:, place] = np.log(trailing_median(each, span) / usual)


def write_volume_ratios(frame: pd.DataFrame, out: Array) -> None:
    """Write the features :data:`VOLUME_RATIOS` of the bars of one segment.

    The features do not change if all volumes are multiplied by a constant. For large volumes, a feature is near ln(v / m) − ln 2.
    If bars without volume are so frequent that m is 0, the mean of the 60 volumes replaces m. Without any volume, the features
    are 0. Row t depends on bars 0 to t only. At the first bars of the segment, a median has only the bars that exist.

    Args:
        frame: (bars,) float64 column volume.
        out: (bars, 3), one column for each of :data:`SPANS`.
    """
    volume = frame["volume"].to_numpy(np.float64)
    usual = trailing_median(volume, HISTORY)
    rare = usual == 0
    if rare.any():
        usual[rare] = pd.Series(volume).rolling(HISTORY, min_periods=1).mean().to_numpy()[rare]
    none = usual <= 0
    usual[none] = 1.0
    for place, span in enumerate(SPANS):
        out[:, place] = np.where(none, 0.0, np.log1p(trailing_median(volume, span) / usual) - np.log(2))


def trailing_median(values: Array, span: int) -> Array:
    """Return at each bar the median of the last ``span`` values, (bars,). The first bars have the values that exist."""
    return values.copy() if span == 1 else pd.Series(values).rolling(span, min_periods=1).median().to_numpy(copy=True)
