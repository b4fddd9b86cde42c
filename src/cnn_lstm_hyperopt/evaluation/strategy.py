"""Returns of predicted directions: a long/flat strategy with costs, and buy-and-hold on the same windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.overfitting import sharpe

Floats = NDArray[np.float64]
_YEAR = np.timedelta64(31_557_600, "s")  # 365.25 days


@dataclass(frozen=True, eq=False)
class Returns:
    """Simple returns after costs.

    Attributes:
        dates: ``(periods,)`` first date of each period.
        returns: ``(periods,)`` mean over all symbols, of the decisions of each period over their horizon.
        n_trades: number of changes of position.
    """

    dates: NDArray[Any]
    returns: Floats
    n_trades: int

    @property
    def mean(self) -> float:
        """Mean return of a period."""
        return float(self.returns.mean())

    @property
    def sharpe(self) -> float | None:
        """Sharpe ratio of a period, against cash without interest; None for constants and fewer than two periods."""
        return sharpe(self.returns)

    @property
    def periods_per_year(self) -> float | None:
        """Mean number of periods a year; None for fewer than two periods and for integer dates."""
        if len(self.dates) < 2 or not np.issubdtype(self.dates.dtype, np.datetime64):
            return None
        return float((len(self.dates) - 1) / ((self.dates[-1] - self.dates[0]) / _YEAR))

    @property
    def annual_sharpe(self) -> float | None:
        """Sharpe ratio × √(periods a year), which assumes independent returns (Lo 2002)."""
        ratio, per_year = self.sharpe, self.periods_per_year
        return None if ratio is None or per_year is None else ratio * float(np.sqrt(per_year))

    @property
    def final_wealth(self) -> float:
        """Final value of 1 invested."""
        return float(np.prod(1 + self.returns))


@dataclass(frozen=True, eq=False)
class Strategy:
    """A model's long/flat strategy and buy-and-hold of the same symbols.

    Attributes:
        cost_bps: cost of a change of position, in basis points of the traded amount.
        model: returns of long if the model predicts up, otherwise flat.
        hold: returns of always long.
    """

    cost_bps: float
    model: Returns
    hold: Returns


def long_flat(
    probabilities: NDArray[np.floating],
    values: NDArray[np.floating],
    dates: NDArray[Any],
    symbols: NDArray[Any],
    *,
    horizon: int,
    cost_bps: float,
) -> Strategy:
    """Return the strategy that is long if the most probable class is the highest one (up), otherwise flat.

    Args:
        probabilities: ``(windows, classes)``.
        values: ``(windows,)`` true log returns over the horizon.
        dates: ``(windows,)`` dates of decision.
        symbols: ``(windows,)`` names.
        horizon: duration of a decision, in bars.
        cost_bps: cost of a change of position, in basis points.
    """
    up = probabilities.argmax(axis=1) == probabilities.shape[1] - 1
    return Strategy(
        cost_bps=cost_bps,
        model=strategy_returns(up.astype(np.float64), values, dates, symbols, horizon=horizon, cost_bps=cost_bps),
        hold=strategy_returns(np.ones(len(up)), values, dates, symbols, horizon=horizon, cost_bps=cost_bps),
    )


def strategy_returns(
    positions: Floats,
    values: NDArray[np.floating],
    dates: NDArray[Any],
    symbols: NDArray[Any],
    *,
    horizon: int,
    cost_bps: float,
) -> Returns:
    """Return the returns of positions taken every ``horizon`` bars of their symbol, so that they never overlap.

    The capital is split equally among the symbols. Each symbol decides at its own first date and at every ``horizon``-th date
    after it, because a value spans bars of its own symbol. A period is ``horizon`` dates of all symbols together, so each
    symbol decides at most once in it. Its return is the sum over its decisions of position × (exp(value) − 1) −
    cost_bps / 10⁴ × change of position, divided by the number of symbols. (One period for each date of decision would count
    the same days several times.) All positions begin flat, and the last ones are not sold. Arguments as in
    :func:`long_flat`.

    Args:
        positions: ``(windows,)`` 1 long, 0 flat.
    """
    unique, day = np.unique(dates, return_inverse=True)
    names, who = np.unique(symbols, return_inverse=True)
    in_turn = np.lexsort((day, who))  # by symbol, then by time
    first = np.searchsorted(who[in_turn], np.arange(len(names)))
    decides = (np.arange(len(in_turn)) - first[who[in_turn]]) % horizon == 0
    decisions = in_turn[decides]
    held, owner = positions[decisions], who[decisions]
    before = np.concatenate([[0.0], held[:-1]])
    before[np.searchsorted(owner, np.arange(len(names)))] = 0.0
    changes = np.abs(held - before)
    gains = held * np.expm1(values[decisions].astype(np.float64)) - cost_bps / 1e4 * changes
    periods = unique[::horizon]
    returns = np.bincount(day[decisions] // horizon, weights=gains, minlength=len(periods)) / len(names)
    return Returns(dates=periods, returns=returns, n_trades=int(np.count_nonzero(changes)))
