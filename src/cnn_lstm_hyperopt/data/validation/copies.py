"""Search for symbols with the same returns, which are copies of a file, even with shifted dates or multiplied prices.

The search uses returns that are larger than their neighbours. In a copy, such a return has the same value, and the returns
around it have the same signs. If all large returns are sorted by these signs and values, copies become neighbours. So the
work grows with the number of bars and not with the number of pairs of symbols. Each pair of symbols found is then compared
bar by bar.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cnn_lstm_hyperopt.data.problems import Problem, date_text
from cnn_lstm_hyperopt.utils.text import enumerated

RUN = 50
"""Minimum number of different closes in a run of equal returns. Shorter runs can agree by chance if prices have few digits."""
EXACT = 1e-6
"""Largest difference at which two logarithmic returns count as equal, in addition to the rounding of the prices."""
_REACH = 10
"""Number of returns before and after a large return whose signs are compared first."""
_ROUNDING_SHARE = 1 / 20
"""Maximum allowance for the rounding of prices, as a share of the median size of a return.

Returns of an index fund and of its index differ by more.
"""
_DIGITS = 6
_PART = 2**15

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Series:
    """Closes of a symbol, prepared for the comparison with other symbols.

    Attributes:
        closes: (bars,) positive closes.
        logs: (bars,) logarithms of the closes.
        rounding: (bars,) smallest step between prices at each close, as a share of the close.
        typical: median size of the logarithmic returns that are not 0; 0 if all returns are 0.
    """

    closes: Array
    logs: Array
    rounding: Array
    typical: float

    @classmethod
    def of(cls, closes: Array) -> "Series":
        """Return the series prepared from closes (bars,), which are all positive."""
        logs = np.log(closes)
        sizes = np.abs(np.diff(logs))
        moved = sizes[sizes > 0]
        return cls(closes, logs, _tick(closes) / closes, float(np.median(moved)) if len(moved) else 0.0)


@dataclass(frozen=True)
class Match:
    """Result of the comparison of two series: their equal returns.

    Attributes:
        bars: number of equal returns in all runs together.
        first, second: positions of the first bar of the first run in the two series.
    """

    bars: int
    first: int
    second: int


def copy_problems(every: Sequence[tuple[str, pd.DatetimeIndex, Array]]) -> dict[str, list[Problem]]:
    """Return warnings about symbols with the same returns. The keys are the symbols whose returns other symbols repeat.

    Args:
        every: name, dates and closes of each symbol.
    """
    found: dict[str, list[Problem]] = {}
    for root, matches in find_copies([closes for _, _, closes in every]).items():
        symbol, index, _ = every[root]
        others = [_copy_text(every[other], index, match) for other, match in sorted(matches.items())]
        found.setdefault(symbol, []).append(
            Problem(
                symbol,
                "",
                "same_returns",
                "warning",
                f"the returns are the same as those of {enumerated(others)}",
                "keep one of these symbols: copies are no further evidence, and a shifted copy puts test bars into training",
                count=len(others),
                first=date_text(index[min(match.first for match in matches.values())]),
                value=every[min(matches)][0],
            )
        )
    return found


def _copy_text(other: tuple[str, pd.DatetimeIndex, Array], index: pd.DatetimeIndex, match: Match) -> str:
    name, dates, _ = other
    here, there = index[match.first], dates[match.second]
    bars = f"{match.bars + 1:,} bars"
    return f"{name} ({bars})" if here == there else f"{name} ({bars}; its {date_text(there)} is {date_text(here)} here)"


def find_copies(closes: Sequence[Array]) -> dict[int, dict[int, Match]]:
    """Return the matches with other series for each series that other series repeat.

    Series are identified by position in ``closes``.

    Args:
        closes: (bars,) positive closes of each symbol, in order of date.
    """
    if len(closes) < 2:
        return {}
    every = [Series.of(each) for each in closes]
    lags = _likely_lags(every)
    links: dict[int, dict[int, int]] = defaultdict(dict)
    for (one, two), lag in lags.items():
        if _match(every[one], every[two], lag) is not None:
            links[one][two] = lag
            links[two][one] = -lag
    found: dict[int, dict[int, Match]] = defaultdict(dict)
    seen: set[int] = set()
    for root in sorted(links):
        if root in seen:
            continue
        for parent, member, lag, lag_of_root in _connected(root, links, seen):
            match = _match(every[root], every[member], lag_of_root)
            if match is not None:
                found[root][member] = match
            elif (match := _match(every[parent], every[member], lag)) is not None:
                found[parent][member] = match
    return dict(found)


def _connected(root: int, links: dict[int, dict[int, int]], seen: set[int]) -> Iterator[tuple[int, int, int, int]]:
    """Yield all series that are linked to the series ``root`` by matches.

    Each item has the parent, the member, the member's lag to the parent, and its lag to the root.
    """
    seen.add(root)
    open_ends = [(root, 0)]
    for parent, so_far in open_ends:
        for member, lag in sorted(links[parent].items()):
            if member not in seen:
                seen.add(member)
                open_ends.append((member, so_far + lag))
                yield parent, member, lag, so_far + lag


def _likely_lags(every: Sequence[Series]) -> dict[tuple[int, int], int]:
    """Return the most frequent lag between the two series of each pair that agrees around a large return."""
    parts = [_large_returns(each, number) for number, each in enumerate(every)]
    owners, places, signs = (
        np.concatenate(column) for column in zip(*((o, p, s) for o, p, s, _ in parts), strict=True)
    )
    sizes = np.concatenate([part[3] for part in parts])
    order = np.lexsort((places, owners, sizes, signs))
    one, two = order[:-1], order[1:]
    near = (signs[one] == signs[two]) & (owners[one] != owners[two])
    one, two = one[near], two[near]
    swapped = owners[one] > owners[two]
    one, two = np.where(swapped, two, one), np.where(swapped, one, two)
    starts = np.cumsum([0, *(len(each.logs) for each in every)])
    logs, rounding = (np.concatenate([getattr(each, name) for each in every]) for name in ("logs", "rounding"))
    typical = np.array([each.typical for each in every])
    agree = np.ones(len(one), dtype=bool)
    around = np.arange(-_REACH, _REACH + 2)
    for begin in range(0, len(one), _PART):
        part = slice(begin, begin + _PART)
        a, b = (starts[owners[side[part]], None] + places[side[part], None] + around for side in (one, two))
        tolerance = _tolerance(rounding[a] + rounding[b], typical[owners[one[part]], None])
        agree[part] = (np.abs(np.diff(logs[a] - logs[b], axis=1)) <= tolerance[:, 1:]).all(axis=1)
    one, two = one[agree], two[agree]
    if not len(one):
        return {}
    pairs = np.stack([owners[one], owners[two], places[two] - places[one]], axis=1)
    distinct, votes = np.unique(pairs, axis=0, return_counts=True)
    return {(a, b): lag for a, b, lag in distinct[np.argsort(votes, kind="stable")].tolist()}


def _large_returns(series: Series, number: int) -> tuple[Integers, Integers, Integers, Array]:
    """Return the returns whose size exceeds that of the ten returns before and after.

    For each: the number of the series, the position, the signs of the returns around, and the value.

    ``signs`` has the signs of the 21 returns as digits of a number with base 3.
    """
    returns = np.diff(series.logs)
    size = pd.Series(np.abs(returns))
    before = size.rolling(_REACH).max().shift(1).to_numpy()
    after = size[::-1].rolling(_REACH).max().shift(1).to_numpy()[::-1]
    places = np.flatnonzero((size.to_numpy() > before) & (size.to_numpy() > after))  # false at the ends: NaN
    signs = np.sign(returns).astype(np.int64) + 1
    powers = 3 ** np.arange(2 * _REACH + 1, dtype=np.int64)
    around = sliding_window_view(signs, len(powers))[places - _REACH] @ powers if len(places) else places
    return np.full(len(places), number, dtype=np.int64), places.astype(np.int64), around, returns[places]


def _match(one: Series, two: Series, lag: int) -> Match | None:
    """Return the equal returns of two series, or None if no run of equal returns is long enough.

    In a run of equal returns, the ratio of both prices is constant except for rounding. So series that only move together,
    such as an index and its fund, do not match.

    Args:
        one, two: the two series to compare.
        lag: bar t of ``one`` is compared with bar t + ``lag`` of ``two``.
    """
    first = max(0, -lag)
    bars = min(len(one.logs), len(two.logs) - lag) - first
    if bars < RUN:
        return None
    a, b = slice(first, first + bars), slice(first + lag, first + lag + bars)
    ratio = two.logs[b] - one.logs[a]
    tolerance = _tolerance(one.rounding[a] + two.rounding[b], one.typical)
    borders = np.flatnonzero(np.abs(np.diff(ratio)) > tolerance[1:])
    begins, ends = np.concatenate(([0], borders + 1)), np.concatenate((borders + 1, [bars]))
    total, start = 0, None
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        run = slice(begin, end)
        if end - begin < RUN or len(np.unique(one.closes[a][run])) < RUN:
            continue
        if np.ptp(ratio[run]) <= tolerance[run].max():
            total += end - begin - 1
            start = begin if start is None else start
    return None if start is None else Match(total, first + start, first + start + lag)


def _tolerance(rounding: Array, typical: float | Array) -> Array:
    """Return the largest difference at which returns count as equal, from the sum of the relative roundings of two prices."""
    return np.where(rounding <= _ROUNDING_SHARE * typical, np.maximum(rounding, EXACT), EXACT)


def _tick(closes: Array) -> float:
    """Return the smallest step between prices: 0.01 for prices with two decimals, and 0 for more than six decimals."""
    for digits in range(_DIGITS + 1):
        scaled = closes * 10**digits
        if np.allclose(scaled, np.round(scaled), rtol=1e-12, atol=1e-6):
            return 10.0**-digits
    return 0.0
