"""Returns of a long/flat strategy that trades predicted directions with costs, and of buy-and-hold on the same windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.evaluation.overfitting import sharpe

Floats = NDArray[np.float64]
_YEAR = np.timedelta64(31_557_600, "s")  # 365.25 days


@dataclass(frozen=True, eq=False)
class Returns:
    """Simple returns of a strategy after costs.

    Attributes:
        dates: ``(periods,)`` first date of each period.
        returns: ``(periods,)`` return of the decisions in each period, as the mean over all symbols.
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
        """Sharpe ratio over cash without interest, not annualised; None for constant returns or fewer than two periods."""
        return sharpe(self.returns)

    @property
    def periods_per_year(self) -> float | None:
        """Mean number of periods per year; None for fewer than two periods and for integer dates."""
        if len(self.dates) < 2 or not np.issubdtype(self.dates.dtype, np.datetime64):
            return None
        return float((len(self.dates) - 1) / ((self.dates[-1] - self.dates[0]) / _YEAR))

    @property
    def annual_sharpe(self) -> float | None:
        """Sharpe ratio × √(periods per year), which assumes independent returns (Lo 2002); None if a factor is unknown."""
        ratio, per_year = self.sharpe, self.periods_per_year
        return None if ratio is None or per_year is None else ratio * float(np.sqrt(per_year))

    @property
    def final_wealth(self) -> float:
        """Final value of an investment of 1."""
        return float(np.prod(1 + self.returns))


@dataclass(frozen=True, eq=False)
class Strategy:
    """Returns of a model's long/flat strategy, and of buy-and-hold of the same symbols.

    Attributes:
        cost_bps: cost of a change of position, in basis points of the traded amount.
        model: returns of the strategy that is long if the model predicts up, otherwise flat.
        hold: returns of the strategy that is always long.
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
    """Return the strategy that is long if the most probable class is the last one (up), otherwise flat.

    Args:
        probabilities: ``(windows, classes)`` predicted probabilities.
        values: ``(windows,)`` true log return of each window over the horizon.
        dates: ``(windows,)`` date of each window's decision.
        symbols: ``(windows,)`` symbol of each window.
        horizon: number of bars for which a position is held.
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
    """Return the returns of positions that change every ``horizon`` bars of their symbol, so that returns never overlap.

    The capital is split equally among the symbols. A symbol's position changes at its own first date and at every
    ``horizon``-th of its dates after it, because a value spans bars of its own symbol. A period is ``horizon`` dates of all
    symbols together, so each symbol decides at most once per period. (If each date of decision were a period, the same days
    would count several times.) A decision earns position × (exp(value) − 1) − cost_bps / 10⁴ × change of position. The return
    of a period is the sum of what its decisions earn, divided by the number of symbols. All positions begin flat, and the last
    positions are not sold. The other arguments are those of :func:`long_flat`.

    Args:
        positions: ``(windows,)`` position of each window: 1 is long, 0 is flat.
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
