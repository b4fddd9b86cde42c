"""What directions are worth in money: a long/flat strategy with costs, and buy-and-hold of the same windows."""

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
        returns: ``(periods,)`` of equal parts in all symbols, from the decisions of each period to their horizon.
        n_trades: changes of position, purchases and sales.
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
        """As the dates have it; None for fewer than two, and where dates are mere integers."""
        if len(self.dates) < 2 or not np.issubdtype(self.dates.dtype, np.datetime64):
            return None
        return float((len(self.dates) - 1) / ((self.dates[-1] - self.dates[0]) / _YEAR))

    @property
    def annual_sharpe(self) -> float | None:
        """Sharpe ratio × √(periods a year), as if returns were independent (Lo 2002)."""
        ratio, per_year = self.sharpe, self.periods_per_year
        return None if ratio is None or per_year is None else ratio * float(np.sqrt(per_year))

    @property
    def final_wealth(self) -> float:
        """What 1 became."""
        return float(np.prod(1 + self.returns))


@dataclass(frozen=True, eq=False)
class Strategy:
    """A model's directions as a strategy, beside holding the same symbols all the time.

    Attributes:
        cost_bps: of a change of position, in basis points of what changes hands.
        model: long where the model says up, otherwise flat.
        hold: always long.
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
    """Long where the most probable class is the highest one (up), otherwise flat.

    Args:
        probabilities: ``(windows, classes)``.
        values: ``(windows,)`` true log returns over the horizon.
        dates: ``(windows,)`` of decision.
        symbols: ``(windows,)`` names.
        horizon: bars that a decision lasts.
        cost_bps: of a change of position, in basis points.
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
    """Returns of positions that are taken every ``horizon`` bars of their symbol, so that they never overlap.

    The capital is cut into as many equal parts as there are symbols. Each part trades its own symbol on its own schedule: at
    every ``horizon``-th of the symbol's dates, the first at its first, because a value spans bars of its own symbol, however many
    dates other symbols have meanwhile. A period is ``horizon`` dates of all symbols together, in which each symbol decides at
    most once; its return is that of the decisions made in it: the sum of position × (exp(value) − 1), less cost_bps / 10⁴ × the
    changes of position, over the number of all symbols. (A period of its own for each date of decision would count the same days
    of the market several times where symbols decide on different dates.) It begins flat; a position changes at decisions of its
    symbol only, and the last ones are not sold. Arguments as in :func:`long_flat`.

    Args:
        positions: ``(windows,)`` 1 long, 0 flat.
    """
    unique, day = np.unique(dates, return_inverse=True)
    names, who = np.unique(symbols, return_inverse=True)
    in_turn = np.lexsort((day, who))  # symbol after symbol, each in order of time
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
