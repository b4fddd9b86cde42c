"""Statistical check that a feature contains no later bars, for features that can't be recomputed.

The statistics find copies of later bars, even with small changes. The statistics can't distinguish a weak or noisy leak from
a good feature.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from cnn_lstm_hyperopt.data.labels import Labels
from cnn_lstm_hyperopt.data.lookahead.surroundings import (
    Array,
    Calendar,
    Integers,
    Quantity,
    Usual,
    moved,
    quantities_around,
    single_quantities,
)
from cnn_lstm_hyperopt.errors import DataError

THRESHOLD = 0.9
"""Partial correlation with later bars that a feature reaches only if it has a leak.

A feature of bar t without a leak, given the bars up to t, correlates with later bars only as far as later bars can be
predicted. On real bars, a correlation of 0.1 with the next return is remarkable. In the synthetic market, in which a model can
reach an accuracy of 72 %, the correlation is 0.35. For a slowly varying feature, the check uses only a few past bars, so later
bars add information about its level. With equally many noisy measurements of the level before and after t, the later
measurements explain at most the share 1 / (2 + v) of the remaining variance. Here v > 0 is the variance of the measurements'
noise. So the correlation is at most √½ = 0.71. A copy of later bars has the correlation 1.
"""

_CURE = "shift the column by one bar if it is known only afterwards, else leave it out"
_MIN_BARS = 100
_OWN_LAGS = 3
_TAIL = 0.02  # share clipped on each side, so that a single crash does not dominate
_SIGNIFICANT = 6.0  # standard errors; chance exceeds this bound once in 10⁹ comparisons
_COPY, _MIN_COPIED = 0.999, 10  # minimum correlation of a copy, and minimum number of independent rows
_RAREST = 0.4  # maximum rank correlation of a flag on 5 % of the bars; rarer flags may be known in advance (half days)
_NEWS, _RANKED_NEWS = 0.1, 0.3  # minimum share of the variance of later bars that the past does not explain
_NOTHING = 1e-20  # share of a mean square below which a variance is rounding
_ROUNDING = 1e-9


def check_foresight(
    frame: pd.DataFrame, own: Array, names: Sequence[str], labels: Labels, horizon: int, symbol: str
) -> None:
    """Raise DataError if later bars explain a feature better than they can without a leak.

    Two statistics are computed for each feature x over the bars t of one segment. Both statistics compare only bars with the
    same time of day (for daily bars, the same day of the week), because the calendar is known in advance.

    1. The partial multiple correlation of x[t] with bars t+1..t+5 and with longer periods after t, given equally long periods
    up to t and earlier values of x. Slowly varying features (levels, averages, trends) do not increase this correlation,
    because the bars up to t explain them equally well.
    2. The rank correlation of x[t] with single quantities of the later bars, divided by the largest rank correlation that
    ties allow. This statistic finds copies with few different values, such as the sign of a return or the class of the label.
    A feature counts as a leak only if this correlation is far above the correlation with the same quantity up to t.

    A segment of fewer than 100 bars always passes.

    Args:
        frame: (bars,) bars of one segment.
        own: (bars, features) values of the features to check.
        names: names of the features.
        labels: labels of the same bars.
        horizon: number of later bars on which a label depends.
        symbol: symbol of the bars, for the text of the error.

    Raises:
        DataError: a feature seems to contain later bars. The text names these bars and the correlation.
    """
    with threadpool_limits(1):  # more threads slow down small matrices
        for name, text in _found(frame, own, names, labels, horizon):
            raise DataError(
                f"{symbol}: the feature {name} seems to contain {text}; {_CURE}", field=name, code="knows-later-bars"
            )


def _found(
    frame: pd.DataFrame, own: Array, names: Sequence[str], labels: Labels, horizon: int
) -> Iterator[tuple[str, str]]:
    """Yield the name of each feature with a leak, and a text that names the later bars that the feature contains."""
    enough_for = int(np.count_nonzero(np.isfinite(own).all(axis=1) & labels.valid))
    usual = Usual.of(frame)
    around = quantities_around(frame, usual, horizon, enough_for)
    single = single_quantities(frame, labels, horizon, enough_for)
    lagged = [moved(x, -lag) for x in own.T for lag in range(_OWN_LAGS + 1)]
    series = [each for quantity in (*around, *single) for each in (*quantity.later().values(), *quantity.earlier())]
    rows = np.flatnonzero(np.isfinite([*lagged, *series]).all(axis=0))
    if len(rows) < _MIN_BARS:
        return
    calendar = Calendar.of(frame, rows)
    news = _News.of(around, rows, calendar)
    ranked = [each for quantity in single for each in _Ranked.of(quantity, rows, news)]
    for place, name in enumerate(names):
        known = np.column_stack(lagged[place * (_OWN_LAGS + 1) : (place + 1) * (_OWN_LAGS + 1)])[rows]
        shares = [
            news.leak(known[:, :past] / unit[rows, None]) for unit in usual.units() for past in (1, _OWN_LAGS + 1)
        ]
        ranks = _ranks(known[:, 0])
        for text in filter(None, (max(shares)[1], *(each.leak(ranks) for each in ranked))):
            yield name, text


@dataclass(frozen=True, eq=False)
class _News:
    """Values of later bars minus their prediction from the bars up to t. The first statistic uses these residuals.

    Attributes:
        calendar: groups of the rows by time of day or day of the week.
        past: orthonormal basis of the quantities of bars up to t, centred in each calendar group. The basis has a row for
            each bar t and at most one column for each quantity.
        names: names of the later quantities.
        left: (rows, quantities) residuals of the later quantities after a regression on the past.
    """

    calendar: Calendar
    past: Array
    names: list[str]
    left: Array

    @classmethod
    def of(cls, around: Sequence[Quantity], rows: Integers, calendar: Calendar) -> "_News":
        earlier = np.column_stack([each[rows] for quantity in around for each in quantity.earlier()])
        later = {name: each[rows] for quantity in around for name, each in quantity.later().items()}
        values = np.column_stack(list(later.values()))
        past = _orthonormal(calendar.within(earlier))
        left = _residuals(values, past, calendar)
        left[:, left.var(axis=0) < _NEWS * values.var(axis=0)] = 0.0
        return cls(calendar, past, list(later), left)

    def leak(self, known: Array) -> tuple[float, str]:
        """Return the share of a feature's variance that only later bars explain, and a text if this share shows a leak.

        Args:
            known: (rows, 1 + lags) the feature and its values at ``lags`` earlier bars. Variance that the earlier values
                explain does not count.
        """
        residuals = _residuals(known, self.past, self.calendar)
        own = _orthonormal(residuals[:, 1:])
        left = np.column_stack([residuals[:, 0], self.left])
        for _ in range(2):  # twice, because of rounding
            left -= own @ (own.T @ left)
        left[:, 0] *= left[:, 0].var() > _NOTHING * np.mean(known[:, 0] ** 2)
        left = np.clip(left, *np.quantile(left, (_TAIL, 1 - _TAIL), axis=0))
        left -= left.mean(axis=0)
        spread = left.std(axis=0)
        kept = np.flatnonzero(spread[1:] > 0) + 1
        if spread[0] == 0 or not len(kept):
            return 0.0, ""
        target, predictors = left[:, 0] / spread[0], left[:, kept] / spread[kept]
        weights, _, rank, _ = np.linalg.lstsq(predictors, target, rcond=1e-6)
        free = len(target) - self.past.shape[1] - own.shape[1] - len(self.calendar.size)
        share = 1 - float(np.var(target - predictors @ weights))
        share = 1 - (1 - share) * free / max(free - int(rank), 1)  # adjusted R²
        if share < THRESHOLD**2:
            return share, ""
        each = predictors.T @ target / len(target)
        best = int(np.argmax(np.abs(each)))
        return share, (
            f"bars after its own (t), above all the {self.names[kept[best] - 1]} (correlation {each[best]:.2f}): they explain"
            f" {100 * share:.0f} % of its new information"
        )


def _orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis whose span contains all columns of a matrix."""
    spread = columns.std(axis=0)
    basis: Array = np.linalg.qr(columns[:, spread > 0] / spread[spread > 0])[0]
    return basis


def _residuals(columns: Array, basis: Array, calendar: Calendar) -> Array:
    """Return the residuals of columns (rows, columns) within calendar groups.

    Residuals that are only rounding errors become 0.
    """
    left = calendar.within(columns)
    for _ in range(2):  # twice, because of rounding
        left -= basis @ (basis.T @ left)
    left[:, left.var(axis=0) <= _NOTHING * np.mean(columns**2, axis=0)] = 0.0
    return left


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Ranks of one quantity a fixed number of bars after t (its lead), for the second statistic.

    Attributes:
        name: name of the quantity.
        later: (rows,) ranks of the values after t.
        earlier: ranks of the values up to t, (rows,) for each lag.
        n_independent: estimated number of independent rows. The number is lower if the quantity spans several bars or changes
            slowly.
        news: True if enough of the quantity's variance is not explained by the bars up to t.
    """

    name: str
    later: Array
    earlier: list[Array]
    n_independent: float
    news: bool
    calendar: Calendar

    @classmethod
    def of(cls, quantity: Quantity, rows: Integers, news: _News) -> "list[_Ranked]":
        """Return, for each lead (number of bars after t), the ranks over all t of the quantity's value at this lead."""
        earlier = [_ranks(each[rows]) for each in quantity.earlier()]
        ranked: list[_Ranked] = []
        for lead, (name, each) in zip(quantity.leads, quantity.later().items(), strict=True):
            values = each[rows]
            left = float(_residuals(values[:, None], news.past, news.calendar).var())
            swings = float(np.count_nonzero(np.diff(values > values.mean())))  # half of the rows without persistence
            ranked.append(
                cls(
                    name,
                    _ranks(values),
                    earlier,
                    min(len(rows) / lead, 2.0 * swings),
                    left > _RANKED_NEWS * float(values.var()),
                    news.calendar,
                )
            )
        return ranked

    def leak(self, ranks: Array) -> str:
        """Return a text about the later values that a feature contains, or "" without a leak.

        A feature has a leak if its ranks (rows,) agree with those of later values and not with those of earlier values. An
        exact copy is accepted as proof with fewer rows.
        """
        now, max_correlation = _rank_correlation(ranks, self.later, self.calendar)
        share = min(abs(now) / max_correlation, 1.0) if max_correlation >= _RAREST else 0.0
        proven = self.news and abs(now) * np.sqrt(self.n_independent) >= _SIGNIFICANT
        if share < THRESHOLD or not (proven or (share > _COPY and self.n_independent >= _MIN_COPIED)):
            return ""
        pairs = [_rank_correlation(ranks, before, self.calendar) for before in self.earlier]
        before = max(abs(correlation) / limit if limit else 0.0 for correlation, limit in pairs)
        if 1 - share**2 >= (1 - before**2) / 2 - _ROUNDING:
            return ""
        return (
            f"the {self.name} at its own bar (t): their rank correlation is {now:.2f} of {max_correlation:.2f} that are possible,"
            f" and {before * max_correlation:.2f} at most with bars up to t"
        )


def _ranks(values: Array) -> Array:
    """Return the ranks of values. Equal values get the mean of their ranks."""
    return np.asarray(pd.Series(values).rank())  # the import of scipy.stats takes 0.5 s


def _rank_correlation(a: Array, b: Array, calendar: Calendar) -> tuple[float, float]:
    """Return the correlation of ranks within calendar groups, and the largest correlation that ties allow (without groups)."""
    inside = calendar.within(np.column_stack([a, b]))
    spread = inside.std(axis=0)
    if spread.min() <= _ROUNDING * len(a):
        return 0.0, 0.0
    max_correlation = float(np.corrcoef(np.sort(a), np.sort(b))[0, 1])
    return float((inside[:, 0] * inside[:, 1]).mean() / spread.prod()), max_correlation
