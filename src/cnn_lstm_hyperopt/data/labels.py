"""What a model is to predict at each bar: a class and a value, from the bars that follow."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.settings import Target

HISTORY = 60
"""Bars of ranges whose median the next range is compared with (target volatility)."""

_RANGE_FLOOR = 1e-5


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of the decisions at bars 0..n−1 of one segment.

    Attributes:
        classes: (bars,) int64, 0 or 1; −1 where not valid.
        values: (bars,) float64, the regression target; NaN where not valid.
        valid: (bars,) bool, whether bars t+1..t+horizon (and the history) exist.
    """

    classes: NDArray[np.int64]
    values: NDArray[np.float64]
    valid: NDArray[np.bool_]


def make_labels(frame: pd.DataFrame, target: Target, horizon: int) -> Labels:
    """Labels of consecutive bars (one segment), each for the decision at bar t, looking at bars t+1..t+h.

    - direction: class 1 if C[t+h] > C[t], otherwise 0; value ln(C[t+h] / C[t]).
    - volatility: with R(s) = max(ln(highest high / lowest low of the h bars s−h+1..s), 1e-5), class 1 if
      R(t+h) is above the median of R(t−59), …, R(t), otherwise 0; value ln R(t+h).

    Args:
        frame: (bars,) float64 columns open, high, low, close, volume.
        target: direction or volatility.
        horizon: h, in bars, ≥ 1.
    """
    close = frame["close"].to_numpy(np.float64)
    if target == "direction":
        now, ahead = close, _ahead(close, horizon)
        return _labels(ahead > now, np.log(ahead / now), np.isfinite(ahead))
    highest = frame["high"].rolling(horizon).max().to_numpy(np.float64)
    lowest = frame["low"].rolling(horizon).min().to_numpy(np.float64)
    spread = np.maximum(np.log(highest / lowest), _RANGE_FLOOR)
    usual = pd.Series(spread).rolling(HISTORY).median().to_numpy(np.float64)
    ahead = _ahead(spread, horizon)
    return _labels(ahead > usual, np.log(ahead), np.isfinite(ahead) & np.isfinite(usual))


def _ahead(values: NDArray[np.float64], horizon: int) -> NDArray[np.float64]:
    """The value ``horizon`` bars later; NaN where there is none."""
    return np.concatenate([values[horizon:], np.full(min(horizon, len(values)), np.nan)])


def _labels(above: NDArray[np.bool_], values: NDArray[np.float64], valid: NDArray[np.bool_]) -> Labels:
    return Labels(
        classes=np.where(valid, above, -1).astype(np.int64),
        values=np.where(valid, values, np.nan),
        valid=valid,
    )
