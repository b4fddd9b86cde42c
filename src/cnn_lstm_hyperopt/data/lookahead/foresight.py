"""Does a column contain what comes after its bar? Statistics for features that can't be computed again without the future.

They find what is a copy of later bars or nearly so. A weak or noisy leak looks like a good feature: only whoever made the column
can tell them apart.
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
"""A correlation with what comes after that no honest feature has.

Given all that the bars up to t say, an honest feature of bar t is related to later bars only as far as these can be predicted.
On real bars a correlation of 0.1 with the next return is remarkable; in the synthetic market, where who knows all is right in
72 % of the cases, it is 0.35. A slow feature, whose past the check knows from a few bars only, is known better with the bars
after t than without them, as if these were more of its past, but no better: with n noisy readings of a level on either side,
the share 1 / (2 + v) of what is left of the variance is explained by the later ones (v > 0: variance of their noise), that is
a correlation of √½ = 0.71 at most. A copy has 1.
"""

_CURE = "shift the column by one bar if it is known only afterwards, else leave it out"
_FEWEST_BARS = 100
_OWN_LAGS = 3
_TAIL = 0.02  # of each side is clipped: one crash must not decide
_SIGNIFICANT = 6.0  # standard errors: chance alone gets there once in 10⁹ comparisons
_COPY, _COPIES = 0.999, 10  # so good a copy, over so many rows that are apart
_RAREST = 0.4  # largest rank correlation of a mark of 5 % of the bars; rarer ones may be known before (half days, say)
_NEWS, _RANKED_NEWS = 0.1, 0.3  # share of the variance of later bars that the past leaves open; below, they are no news
_NOTHING = 1e-20  # share of a mean square that is rounding
_ROUNDING = 1e-9


def check_foresight(
    frame: pd.DataFrame, own: Array, names: Sequence[str], labels: Labels, horizon: int, symbol: str
) -> None:
    """Looks for features that are told by the bars after theirs, as no honest one can be.

    Two statistics of each feature x over the bars t of one segment, both within the time of day (the day of the week of daily
    bars), because the calendar is known in advance:

    1. The partial multiple correlation of x[t] with bars t+1..t+5 and longer stretches, given as many bars up to t and earlier
       values of x. It is blind to what is slow (levels, averages, trends): the bars up to t say it as well.
    2. The rank correlation of x[t] with single quantities of these bars, relative to the largest that ties allow. It finds
       copies with few values, such as the sign of a return or the class of the label. It must be far above that with the same
       quantity of bars up to t.

    Fewer than 100 bars say nothing; they pass.

    Args:
        frame: (bars,) of one segment.
        own: (bars, features).
        names: of the features.
        labels: of the same bars.
        horizon: bars that the label looks ahead.
        symbol: of the bars, for the error.

    Raises:
        DataError: a feature seems to know later bars; the text says which ones, with the figure.
    """
    with threadpool_limits(1):  # small matrices: more threads only wait for each other
        for name, text in _found(frame, own, names, labels, horizon):
            raise DataError(
                f"{symbol}: the feature {name} seems to know {text}; {_CURE}", field=name, code="knows-later-bars"
            )


def _found(
    frame: pd.DataFrame, own: Array, names: Sequence[str], labels: Labels, horizon: int
) -> Iterator[tuple[str, str]]:
    """Features and what they seem to know."""
    enough_for = int(np.count_nonzero(np.isfinite(own).all(axis=1) & labels.valid))
    usual = Usual.of(frame)
    around = quantities_around(frame, usual, horizon, enough_for)
    single = single_quantities(frame, labels, horizon, enough_for)
    lagged = [moved(x, -lag) for x in own.T for lag in range(_OWN_LAGS + 1)]
    series = [each for quantity in (*around, *single) for each in (*quantity.later().values(), *quantity.earlier())]
    rows = np.flatnonzero(np.isfinite([*lagged, *series]).all(axis=0))
    if len(rows) < _FEWEST_BARS:
        return
    calendar = Calendar.of(frame, rows)
    news = _News.of(around, rows, calendar)
    ranked = [each for quantity in single for each in _Ranked.of(quantity, rows, news)]
    for place, name in enumerate(names):
        known = np.column_stack(lagged[place * (_OWN_LAGS + 1) : (place + 1) * (_OWN_LAGS + 1)])[rows]
        told = [news.told(known[:, :past] / unit[rows, None]) for unit in usual.units() for past in (1, _OWN_LAGS + 1)]
        ranks = _ranks(known[:, 0])
        for text in filter(None, (max(told)[1], *(each.told(ranks) for each in ranked))):
            yield name, text


@dataclass(frozen=True, eq=False)
class _News:
    """What the bars up to t leave open of those after t.

    Attributes:
        calendar: of the rows.
        past: (rows, ≤ quantities) orthonormal: the bars up to t, within the calendar's groups.
        names: of the later quantities.
        left: (rows, quantities) what the past leaves open of them.
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

    def told(self, known: Array) -> tuple[float, str]:
        """Share of a feature that the later bars alone explain, and what it seems to know, "" if that share is not too high.

        Args:
            known: (rows, 1 + lags) the feature and its values at earlier bars, which are given, too: what is new in a slow
                feature shows then.
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
            f" {100 * share:.0f} % of what is new in it"
        )


def _orthonormal(columns: Array) -> Array:
    """A basis of a space that contains the columns; collinear ones only widen it."""
    spread = columns.std(axis=0)
    basis: Array = np.linalg.qr(columns[:, spread > 0] / spread[spread > 0])[0]
    return basis


def _residuals(columns: Array, basis: Array, calendar: Calendar) -> Array:
    """What the basis leaves open of the columns (rows, columns), within the calendar's groups; 0 where that is rounding."""
    left = calendar.within(columns)
    for _ in range(2):  # twice, because of rounding
        left -= basis @ (basis.T @ left)
    left[:, left.var(axis=0) <= _NOTHING * np.mean(columns**2, axis=0)] = 0.0
    return left


@dataclass(frozen=True, eq=False)
class _Ranked:
    """What the second statistic needs of a quantity.

    Attributes:
        name: of the quantity.
        later: (rows,) ranks after t.
        earlier: (rows,) each, ranks up to t.
        apart: how many rows say something that others do not: the quantity may span several bars, and persist.
        news: whether the bars up to t leave enough of it open.
    """

    name: str
    later: Array
    earlier: list[Array]
    apart: float
    news: bool
    calendar: Calendar

    @classmethod
    def of(cls, quantity: Quantity, rows: Integers, news: _News) -> "list[_Ranked]":
        """One for each lead."""
        earlier = [_ranks(each[rows]) for each in quantity.earlier()]
        ranked: list[_Ranked] = []
        for lead, (name, each) in zip(quantity.leads, quantity.later().items(), strict=True):
            values = each[rows]
            left = float(_residuals(values[:, None], news.past, news.calendar).var())
            swings = float(np.count_nonzero(np.diff(values > values.mean())))  # half of the rows, if nothing persists
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

    def told(self, ranks: Array) -> str:
        """What a feature with these ranks (rows,) seems to know: "" unless it ranks the bars as later ones do, not as those up
        to t. A perfect copy needs no long proof."""
        now, most = _rank_correlation(ranks, self.later, self.calendar)
        share = min(abs(now) / most, 1.0) if most >= _RAREST else 0.0
        proven = self.news and abs(now) * np.sqrt(self.apart) >= _SIGNIFICANT
        if share < THRESHOLD or not (proven or (share > _COPY and self.apart >= _COPIES)):
            return ""
        pairs = [_rank_correlation(ranks, before, self.calendar) for before in self.earlier]
        before = max(abs(correlation) / limit if limit else 0.0 for correlation, limit in pairs)
        if 1 - share**2 >= (1 - before**2) / 2 - _ROUNDING:
            return ""
        return (
            f"the {self.name} at its own bar (t): their rank correlation is {now:.2f} of {most:.2f} that are possible,"
            f" and {before * most:.2f} at most with bars up to t"
        )


def _ranks(values: Array) -> Array:
    """Equal values share their mean rank."""
    return np.asarray(pd.Series(values).rank())  # scipy.stats takes half a second to import


def _rank_correlation(a: Array, b: Array, calendar: Calendar) -> tuple[float, float]:
    """Correlation of ranks within the calendar's groups, and the largest that ties would allow without them."""
    inside = calendar.within(np.column_stack([a, b]))
    spread = inside.std(axis=0)
    if spread.min() <= _ROUNDING * len(a):
        return 0.0, 0.0
    most = float(np.corrcoef(np.sort(a), np.sort(b))[0, 1])
    return float((inside[:, 0] * inside[:, 1]).mean() / spread.prod()), most
