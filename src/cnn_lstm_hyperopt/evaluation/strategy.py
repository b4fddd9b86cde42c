"""Returns of a long/flat strategy after costs, of buy-and-hold, and of the strategy's timing alone (the excess)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.retrain import EvaluationSettings, Execution
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.evaluation.bootstrap import mean_interval
from cnn_lstm_hyperopt.evaluation.overfitting import sharpe
from cnn_lstm_hyperopt.metrics.proportions import Interval

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_YEAR = np.timedelta64(31_557_600, "s")  # 365.25 days


@dataclass(frozen=True)
class TradingRules:
    """Rules by which positions are traded.

    Attributes:
        horizon: bars for which a position is held.
        cost_bps: fees of a change of position, in basis points of the traded amount.
        half_spreads: half of the bid-ask spread of each symbol, in basis points; a change of position pays it, too. Empty: none.
        execution: prices at which positions change, as in ``evaluation.execution``.
    """

    horizon: int
    cost_bps: float
    half_spreads: Mapping[str, float] = field(default_factory=dict)
    execution: Execution = "next_open"

    @classmethod
    def of(cls, dataset: Dataset, settings: EvaluationSettings) -> "TradingRules":
        """Return the rules for a dataset that was prepared with these settings."""
        return cls(dataset.horizon, settings.cost_bps, dataset.half_spreads, settings.execution)

    def costs(self, symbols: NDArray[Any]) -> Floats:
        """Return the cost of a change of position in each of the ``symbols``, as a share of the traded amount."""
        spreads = [self.half_spreads[str(name)] if self.half_spreads else 0.0 for name in symbols]
        return (self.cost_bps + np.array(spreads)) / 1e4


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
class Excess:
    """A strategy minus holding at the strategy's mean position, without drift: the part of the returns that is timing.

    Attributes:
        exposure: mean position of the strategy over all decisions, in [0, 1].
        returns: excess returns after costs (:meth:`Market.excess`).
    """

    exposure: float
    returns: Returns

    @cached_property
    def interval(self) -> Interval | None:
        """95 % interval of the mean return of a period; None: too few dates or days."""
        return mean_interval(self.returns.returns, self.returns.dates)

    @property
    def annual_return(self) -> float | None:
        """Mean return of a period × periods per year; None for integer dates."""
        per_year = self.returns.periods_per_year
        return None if per_year is None else self.returns.mean * per_year

    @property
    def annual_interval(self) -> Interval | None:
        """95 % interval of :attr:`annual_return`; None if one of its factors is unknown."""
        per_year, interval = self.returns.periods_per_year, self.interval
        return None if per_year is None or interval is None else Interval(*(each * per_year for each in interval))


@dataclass(frozen=True, eq=False)
class Strategy:
    """Returns of a model's long/flat strategy, and of buy-and-hold of the same symbols.

    Attributes:
        rules: rules by which both trade.
        model: returns of the strategy that is long if the model predicts up, otherwise flat.
        hold: returns of the strategy that is always long.
        excess: the part of the strategy's returns that is timing.
    """

    rules: TradingRules
    model: Returns
    hold: Returns
    excess: Excess


@dataclass(frozen=True, eq=False)
class Market:
    """Decisions of a strategy that changes positions every ``horizon`` bars of a symbol, so that returns never overlap.

    The capital is split equally among the symbols. A symbol's position changes at its own first date and at every
    ``horizon``-th of its dates after it, because a trade spans bars of its own symbol. A period is ``horizon`` dates of all
    symbols together, so each symbol decides at most once per period. (If each date of decision were a period, the same days
    would count several times.) All positions begin flat, and the last positions are not sold.

    Attributes:
        windows: ``(decisions,)`` window of each decision, by symbol, then by date.
        returns: ``(decisions,)`` simple return of a long position.
        costs: ``(decisions,)`` cost of a change of position, as a share of the traded amount.
        owner: ``(decisions,)`` number of each decision's symbol, ascending.
        period: ``(decisions,)`` number of each decision's period.
        dates: ``(periods,)`` first date of each period.
    """

    windows: Integers
    returns: Floats
    costs: Floats
    owner: Integers
    period: Integers
    dates: NDArray[Any]

    @classmethod
    def of(
        cls, returns: NDArray[np.floating], dates: NDArray[Any], symbols: NDArray[Any], rules: TradingRules
    ) -> "Market | None":
        """Return the decisions of some windows; None if no window has a trade.

        Args:
            returns: ``(windows,)`` simple return of a long position; windows with NaN are left out.
            dates: ``(windows,)`` date of each window's decision.
            symbols: ``(windows,)`` symbol of each window.
            rules: horizon and costs.
        """
        traded = np.flatnonzero(np.isfinite(returns))
        if not len(traded):
            return None
        unique, day = np.unique(dates[traded], return_inverse=True)
        names, who = np.unique(symbols[traded], return_inverse=True)
        in_turn = np.lexsort((day, who))  # by symbol, then by time
        first = np.searchsorted(who[in_turn], np.arange(len(names)))
        decides = (np.arange(len(in_turn)) - first[who[in_turn]]) % rules.horizon == 0
        decisions = in_turn[decides]
        windows, owner = traded[decisions], who[decisions]
        return cls(
            windows=windows,
            returns=returns[windows].astype(np.float64),
            costs=rules.costs(names)[owner],
            owner=owner,
            period=day[decisions] // rules.horizon,
            dates=unique[:: rules.horizon],
        )

    def strategy(self, positions: NDArray[np.floating]) -> Returns:
        """Return the returns of the positions of all windows ``(windows,)``: 1 is long, 0 is flat.

        A decision earns position × return − cost × change of position. The return of a period is the sum of what its
        decisions earn, divided by the number of symbols.
        """
        held = positions[self.windows].astype(np.float64)
        changes = self._changes(held)
        return self._of_periods(held * self.returns - self.costs * changes, int(np.count_nonzero(changes)))

    def excess(self, positions: NDArray[np.floating]) -> Excess:
        """Return the strategy minus a holding whose position is the mean of the strategy's positions in the symbol so far.

        A decision earns (position − position of the holding) × (return − mean return of the symbol), minus the difference of
        the costs. So a constant added to all returns of a symbol (drift) changes nothing, and constant positions have no excess.
        The mean position of the whole period would know later positions. Rules that oppose past returns would gain from it,
        because their later positions depend on the present return.
        """
        held = positions[self.windows].astype(np.float64)
        counts = np.bincount(self.owner)
        first = np.cumsum(counts) - counts
        total = np.cumsum(held)
        before = (total - held)[first][self.owner]
        holding = (total - before) / (np.arange(len(held)) - first[self.owner] + 1)
        returns = self.returns - (np.bincount(self.owner, weights=self.returns) / counts)[self.owner]
        ours = self._changes(held)
        gains = (held - holding) * returns - self.costs * (ours - self._changes(holding))
        return Excess(float(held.mean()), self._of_periods(gains, int(np.count_nonzero(ours))))

    def _changes(self, held: Floats) -> Floats:
        """Return the absolute changes of the positions ``held`` (decisions,)."""
        before = np.concatenate([[0.0], held[:-1]])
        before[np.flatnonzero(np.diff(self.owner, prepend=-1))] = 0.0
        changes: Floats = np.abs(held - before)
        return changes

    def _of_periods(self, gains: Floats, n_trades: int) -> Returns:
        """Return the returns of the periods from what the decisions earn, (decisions,)."""
        n_symbols = int(self.owner[-1]) + 1
        returns = np.bincount(self.period, weights=gains, minlength=len(self.dates)) / n_symbols
        return Returns(dates=self.dates, returns=returns, n_trades=n_trades)


def long_flat(
    probabilities: NDArray[np.floating],
    returns: NDArray[np.floating],
    dates: NDArray[Any],
    symbols: NDArray[Any],
    rules: TradingRules,
) -> Strategy | None:
    """Return the strategy that is long if the most probable class is the last one (up), otherwise flat.

    Args:
        probabilities: ``(windows, classes)`` predicted probabilities.
        returns, dates, symbols, rules: as for :meth:`Market.of`.

    Returns:
        The strategy; None if no window has a trade.
    """
    market = Market.of(returns, dates, symbols, rules)
    if market is None:
        return None
    up = goes_long(probabilities)
    return Strategy(rules, market.strategy(up), market.strategy(np.ones(len(up))), market.excess(up))


def goes_long(probabilities: NDArray[np.floating]) -> Floats:
    """Return the positions ``(windows,)``: 1 where the most probable class is the last one (up), otherwise 0."""
    up: NDArray[np.bool_] = probabilities.argmax(axis=1) == probabilities.shape[1] - 1
    return up.astype(np.float64)
