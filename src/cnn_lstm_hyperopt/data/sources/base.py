"""What a source of bars is, and what all sources do alike: choose dates, and say what there is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Protocol

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt.data.bars import Bars, date_text
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import enumerated, shown_name

Span = tuple[date, date]
_SLACK = timedelta(days=10)
_LISTED = 30


class Source(Protocol):
    """Somewhere that bars come from."""

    @property
    def name(self) -> str:
        """What the setting ``source`` calls it."""
        ...

    @property
    def survivorship(self) -> str:
        """What is known of symbols that are missing because they did not survive."""
        ...

    def best_accuracy(self, target: str, horizon: int) -> float | None:
        """Share of right classes that nothing can surpass on average; None where nobody knows."""
        ...

    def available(self) -> dict[str, Span]:
        """First and last date of each symbol that the source has."""
        ...

    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """Bars of symbols, and warnings.

        Args:
            symbols: names in any case; empty: all that there are.
            start: first date; None: from the first bar.
            end: last date, inclusive; None: to the last bar.

        Raises:
            DataError: a symbol is not there, or has no bar in the range; the text lists what there is.
        """
        ...


def listing(spans: Mapping[str, Span]) -> str:
    """What there is, in one line: each symbol with its first and last date."""
    return enumerated(
        [f"{shown_name(symbol)} {first} to {last}" for symbol, (first, last) in sorted(spans.items())], _LISTED
    )


def span_of(bars: Bars) -> Span:
    """First and last date that the source has of a symbol."""
    whole = bars.whole
    first, last = (bars.index[0], bars.index[-1]) if whole is None else (whole.first, whole.last)
    return first.date(), last.date()


def choose_dates(
    every: Sequence[Bars], start: date | None, end: date | None, *, asked: bool, there_is: str
) -> tuple[list[Bars], list[str]]:
    """Bars from ``start`` to ``end``.

    A symbol that was asked for by name and has no bar there is an error. One that came along with "all" is
    left out with a warning.

    Args:
        every: bars of the chosen symbols: all, or cut by these dates already.
        start: first date; None: no limit.
        end: last date, inclusive; None: no limit.
        asked: whether the user named the symbols.
        there_is: a listing for the error.
    """
    kept: list[Bars] = []
    warnings: list[str] = []
    for bars in every:
        cut = _between(bars, start, end)
        span = f"{start or 'the first bar'} to {end or 'the last bar'}"
        if cut.frame.empty and asked:
            raise DataError(f"{bars.symbol} has no bars from {span}{_nearest(bars, start)}; there are: {there_is}")
        if cut.frame.empty:
            warnings.append(f"{bars.symbol} is left out: it has no bars from {span}{_nearest(bars, start)}")
            continue
        kept.append(cut)
        first, last = cut.index[0].date(), cut.index[-1].date()
        if asked and ((start and first - start > _SLACK) or (end and end - last > _SLACK)):
            warnings.append(f"{bars.symbol} was asked for from {span}, but has bars from {first} to {last} only")
    if not kept:
        raise DataError(
            f"no symbol has bars from {start or 'the first bar'} to {end or 'the last bar'}; there are: {there_is}"
        )
    return kept, warnings


def _between(bars: Bars, start: date | None, end: date | None) -> Bars:
    if start is None and end is None:
        return bars
    index = bars.index
    first = 0 if start is None else _before(index, pd.Timestamp(start))
    last = len(index) if end is None else _before(index, pd.Timestamp(end) + pd.Timedelta(days=1))
    return replace(bars, frame=bars.frame.iloc[first:last])


def _before(index: pd.DatetimeIndex, stamp: pd.Timestamp) -> int:
    """Bars before ``stamp``, which may lie beyond what nanoseconds reach."""
    return int(np.count_nonzero(index < stamp))


def _nearest(bars: Bars, start: date | None) -> str:
    """The bars around a hole in which the whole range lies, if it does."""
    before, after = (bars.whole.before, bars.whole.after) if bars.whole else _neighbours(bars.index, start)
    if before is None or after is None:
        return ""
    return f" (none between {date_text(before)} and {date_text(after)})"


def _neighbours(index: pd.DatetimeIndex, start: date | None) -> tuple[pd.Timestamp | None, pd.Timestamp | None]:
    place = _before(index, pd.Timestamp(start)) if start else 0
    return (index[place - 1], index[place]) if 0 < place < len(index) else (None, None)
