"""Returns after costs of a long/flat strategy, of buy-and-hold, and of the strategy's timing alone (the excess)."""

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
from cnn_lstm_hyperopt.metrics.proportions import CONFIDENCE, Interval

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
_YEAR = np.timedelta64(31_557_600, "s")  # 365.25 days


@dataclass(frozen=True)
class TradingRules:
    """Trading rules: when positions change, and what a change costs.

    Attributes:
        horizon: number of bars for which a position is held.
        cost_bps: fee for a change of position, in basis points of the traded amount.
        half_spreads: half of the bid-ask spread of each symbol, in basis points. A change of position also costs this.
            Without entries, no symbol has a spread.
        execution: prices at which positions change; see the setting ``evaluation.execution``.
    """

    horizon: int
    cost_bps: float
    half_spreads: Mapping[str, float] = field(default_factory=dict)
    execution: Execution = "next_open"

    @classmethod
    def of(cls, dataset: Dataset, settings: EvaluationSettings) -> "TradingRules":
        """Return the trading rules for a dataset that was prepared with the given settings."""
        return cls(dataset.horizon, settings.cost_bps, dataset.half_spreads, settings.execution)

    def costs(self, symbols: NDArray[Any]) -> Floats:
        """Return the cost of a change of position for each of the ``symbols``, as a share of the traded amount."""
        spreads = [self.half_spreads[str(name)] if self.half_spreads else 0.0 for name in symbols]
        return (self.cost_bps + np.array(spreads)) / 1e4


@dataclass(frozen=True, eq=False)
class Returns:
    """Simple returns of a strategy after costs.

    Attributes:
        dates: ``(periods,)`` first date of each period.
        returns: ``(periods,)`` return of the decisions in each period, averaged over all symbols.
        n_trades: number of changes of position.
    """

    dates: NDArray[Any]
    returns: Floats
    n_trades: int

    @property
    def mean(self) -> float:
        """Mean of the returns of all periods."""
        return float(self.returns.mean())

    @property
    def sharpe(self) -> float | None:
        """Sharpe ratio relative to cash without interest, not annualised; None for constant returns or fewer than two periods."""
        return sharpe(self.returns)

    @property
    def periods_per_year(self) -> float | None:
        """Mean number of periods per year; None for fewer than two periods and for integer dates."""
        if len(self.dates) < 2 or not np.issubdtype(self.dates.dtype, np.datetime64):
            return None
        return float((len(self.dates) - 1) / ((self.dates[-1] - self.dates[0]) / _YEAR))

    @property
    def annual_sharpe(self) -> float | None:
        """Annualised Sharpe ratio: Sharpe ratio × √(periods per year), for independent returns (Lo 2002).

        The result is None if a factor is unknown.
        """
        ratio, per_year = self.sharpe, self.periods_per_year
        return None if ratio is None or per_year is None else ratio * float(np.sqrt(per_year))

    @property
    def final_wealth(self) -> float:
        """Value at the end of an investment of 1."""
        return float(np.prod(1 + self.returns))


@dataclass(frozen=True, eq=False)
class Excess:
    """Excess of a strategy over holding the symbols at the strategy's mean position.

    The excess is the part of the returns that is due to timing.

    Attributes:
        exposure: mean position of the strategy over all decisions, between 0 and 1.
        returns: excess returns of the periods after costs; see :meth:`Market.excess`.
        level: confidence level of the intervals.
    """

    exposure: float
    returns: Returns
    level: float = CONFIDENCE

    @cached_property
    def interval(self) -> Interval | None:
        """Confidence interval of the mean return of a period; None if there are too few dates or days."""
        return mean_interval(self.returns.returns, self.returns.dates, self.level)

    @property
    def annual_return(self) -> float | None:
        """Annual return: mean return of a period × periods per year. The result is None for integer dates."""
        per_year = self.returns.periods_per_year
        return None if per_year is None else self.returns.mean * per_year

    @property
    def annual_interval(self) -> Interval | None:
        """Confidence interval of :attr:`annual_return`; None if one of its factors is unknown."""
        per_year, interval = self.returns.periods_per_year, self.interval
        return None if per_year is None or interval is None else Interval(*(each * per_year for each in interval))


@dataclass(frozen=True, eq=False)
class Strategy:
    """Returns of a model's long/flat strategy, and of buy-and-hold of the same symbols.

    Attributes:
        rules: trading rules of both strategies.
        model: returns of the strategy that is long if the model predicts a rise, and otherwise flat.
        hold: returns of buy-and-hold, which is always long.
        excess: the part of the strategy's returns that is due to timing.
    """

    rules: TradingRules
    model: Returns
    hold: Returns
    excess: Excess


@dataclass(frozen=True, eq=False)
class Market:
    """Trading decisions every ``horizon`` bars of each symbol, so that the returns of decisions never overlap.

    The capital is divided equally among the symbols. A symbol's position changes at the symbol's first date and at every
    ``horizon``-th later date of the symbol, because a trade spans bars of its symbol. The dates of
    all symbols form one calendar, and a period is ``horizon`` consecutive dates of this calendar. So a symbol has at most one
    decision in a period. (If each date of a decision were a period, the same days would count several times.)
    All positions begin flat, and the last positions are not sold.

    Attributes:
        windows: ``(decisions,)`` window of each decision, sorted by symbol, then by date.
        returns: ``(decisions,)`` simple return of a long position after each decision.
        costs: ``(decisions,)`` cost of a change of position, as a share of the traded amount.
        owner: ``(decisions,)`` number of each decision's symbol, in ascending order.
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
        """Return the trading decisions for some windows, or None if no window has a trade.

        Args:
            returns: ``(windows,)`` simple return of a long position. Windows with NaN are left out.
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
        """Return the returns of a strategy from its positions ``(windows,)``, where 1 is long and 0 is flat.

        The return of a decision is position × return − cost × change of position. The return of a period is the sum over its
        decisions, divided by the number of symbols.
        """
        held = positions[self.windows].astype(np.float64)
        changes = self._changes(held)
        return self._of_periods(held * self.returns - self.costs * changes, int(np.count_nonzero(changes)))

    def excess(self, positions: NDArray[np.floating], level: float = CONFIDENCE) -> Excess:
        """Return the excess of a strategy over a holding, with intervals of the given confidence level.

        The position of the holding is the mean of the strategy's positions in the symbol up to the decision.

        The excess of a decision is (position − position of the holding) × (return − mean return of the symbol), minus the
        difference of the costs. So a constant added to all returns of a symbol (drift) changes nothing, and constant
        positions have no excess. The holding does not use the mean position of the whole period, because it contains later
        positions. Rules that oppose past returns would profit, because their later positions depend on the present return.
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
        return Excess(float(held.mean()), self._of_periods(gains, int(np.count_nonzero(ours))), level)

    def _changes(self, held: Floats) -> Floats:
        """Return the absolute changes of the positions ``held`` at each decision, (decisions,)."""
        before = np.concatenate([[0.0], held[:-1]])
        before[np.flatnonzero(np.diff(self.owner, prepend=-1))] = 0.0
        changes: Floats = np.abs(held - before)
        return changes

    def _of_periods(self, gains: Floats, n_trades: int) -> Returns:
        """Return the returns of the periods, computed from the returns of the decisions (decisions,)."""
        n_symbols = int(self.owner[-1]) + 1
        returns = np.bincount(self.period, weights=gains, minlength=len(self.dates)) / n_symbols
        return Returns(dates=self.dates, returns=returns, n_trades=n_trades)


def long_flat(
    probabilities: NDArray[np.floating],
    returns: NDArray[np.floating],
    dates: NDArray[Any],
    symbols: NDArray[Any],
    rules: TradingRules,
    level: float = CONFIDENCE,
) -> Strategy | None:
    """Return the strategy that is long if the last class (up) is the most probable class, and otherwise flat.

    Args:
        probabilities: ``(windows, classes)`` predicted probabilities.
        returns, dates, symbols, rules: as for :meth:`Market.of`.
        level: confidence level of the intervals of the excess.

    Returns:
        The strategy, or None if no window has a trade.
    """
    market = Market.of(returns, dates, symbols, rules)
    if market is None:
        return None
    up = goes_long(probabilities)
    return Strategy(rules, market.strategy(up), market.strategy(np.ones(len(up))), market.excess(up, level))


def goes_long(probabilities: NDArray[np.floating]) -> Floats:
    """Return the positions ``(windows,)``: 1 (long) where the last class (up) is the most probable class, otherwise 0."""
    up: NDArray[np.bool_] = probabilities.argmax(axis=1) == probabilities.shape[1] - 1
    return up.astype(np.float64)
