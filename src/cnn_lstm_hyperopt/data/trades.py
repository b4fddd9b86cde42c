"""Trades of long positions: their returns at the prices of execution, and the half-spreads of symbols."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.retrain import Execution
from cnn_lstm_hyperopt.data.bars import PRICES, Bars
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import shown_names

TRADED = "direction"
"""Name of the target whose predictions a trading strategy can use."""
_FILLS: dict[Execution, tuple[int, str]] = {
    "next_open": (1, "open"),
    "next_close": (1, "close"),
    "same_close": (0, "close"),
}
"""Number of bars from the decision to the entry, and the price of entry and exit, by the setting ``execution``."""
_FIELD = "evaluation.half_spread_bps"


def trades(
    frame: pd.DataFrame,
    segment: NDArray[np.int64],
    decided: NDArray[np.int64],
    *,
    horizon: int,
    execution: Execution,
) -> tuple[NDArray[np.float64], NDArray[np.datetime64]]:
    """Return the trade of each decision. The exit is ``horizon`` bars after the entry, at the same kind of price.

    Args:
        frame: (bars,) with an index of dates.
        segment: (bars,) segment number of each bar.
        decided: (windows,) position of the bar of each decision.
        horizon: number of bars for which the position is held.
        execution: prices of entry and exit.

    Returns:
        Simple returns (windows,) and dates of the exits (windows,), datetime64[ns]. Return and date are NaN and NaT where the
        segment ends before the exit.
    """
    delay, column = _FILLS[execution]
    last = np.searchsorted(segment, segment[decided], side="right") - 1
    exits = decided + delay + horizon
    possible = exits <= last
    entered, left = decided[possible] + delay, exits[possible]
    prices = frame[column].to_numpy(np.float64)
    returns = np.full(len(decided), np.nan)
    returns[possible] = prices[left] / prices[entered] - 1
    dates = np.full(len(decided), np.datetime64("NaT", "ns"))
    dates[possible] = pd.DatetimeIndex(frame.index).as_unit("ns").to_numpy()[left]
    return returns, dates


def half_spreads(
    every: Sequence[Bars], setting: float | Literal["auto"] | Mapping[str, float], *, before: np.datetime64
) -> dict[str, float]:
    """Return half of the bid-ask spread of each symbol, in basis points.

    Args:
        every: bars of all symbols.
        setting: a number for all symbols, a mapping of symbols (in any case) to numbers, or ``auto``: estimated from the bars.
        before: date before which bars are used for the estimates.

    Raises:
        ConfigError: the mapping has no number for a symbol, or a spread can't be estimated.
    """
    names = [bars.symbol for bars in every]
    if isinstance(setting, Mapping):
        known = {name.casefold(): value for name, value in setting.items()}
        missing = [name for name in names if name.casefold() not in known]
        if missing:
            text = f"{_FIELD} has no number for {shown_names(missing)}; give a number for every symbol, or one for all"
            raise ConfigError(text, field=_FIELD, code="half-spread-missing")
        return {name: known[name.casefold()] for name in names}
    if setting == "auto":
        return {bars.symbol: _estimated(bars, before) for bars in every}
    return dict.fromkeys(names, float(setting))


def _estimated(bars: Bars, before: np.datetime64) -> float:
    """Return the half-spread that the estimator EDGE (Ardia, Guidotti & Kroencke 2024) gives.

    The half-spread is 0 if the estimated squared spread is negative.
    """
    from bidask import edge  # imported only if an estimate is needed

    known = bars.frame.loc[bars.index < before, list(PRICES)].to_numpy(np.float64).T
    spread = edge(*known, sign=True)
    if np.isnan(spread):
        text = (
            f"{_FIELD}: the spread of {bars.symbol} can't be estimated from its {known.shape[1]:,} bars before the test set;"
            " give a number for this symbol"
        )
        raise ConfigError(text, field=_FIELD, code="half-spread-unknown")
    return max(0.0, 1e4 * float(spread) / 2)
