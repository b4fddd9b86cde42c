"""Base class of the sources of bars, and functions for all sources that choose dates and list symbols."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import ClassVar

from cnn_lstm_hyperopt.data.bars import Bars, outside
from cnn_lstm_hyperopt.data.problems import BadBarsError, Problem, date_text
from cnn_lstm_hyperopt.errors import DataError
from cnn_lstm_hyperopt.utils.text import enumerated, shown_name

Span = tuple[date, date]
_SLACK = timedelta(days=10)
_LISTED = 30


@dataclass(frozen=True)
class Source(ABC):
    """Base class of a source of bars.

    Subclasses are frozen dataclasses; their fields are the settings of ``data`` that they read.

    Attributes:
        name: value of the setting ``source``.
        place: position of the source in lists of sources.
        description: description of the source in a few words.
        survivorship: a sentence about survivorship bias, which says whether delisted symbols are missing.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]
    survivorship: ClassVar[str]

    def best_accuracy(self, target: str, horizon: int) -> float | None:
        """Return the best accuracy that a model can reach on average, or None if it is unknown, as for real markets."""
        return None

    @abstractmethod
    def available(self) -> dict[str, Span]:
        """Return the first and the last date of each symbol that the source offers."""

    @abstractmethod
    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """Return the bars of symbols in a range of dates, and warnings.

        Args:
            symbols: names of symbols in upper or lower case; empty: all symbols.
            start: first date of the bars; None: no limit.
            end: last date of the bars, inclusive; None: no limit.

        Raises:
            DataError: a symbol is unknown or has no bar in the range; the text lists the available symbols and dates.
        """


def read_all(symbols: Sequence[str], read: Callable[[str], Bars]) -> list[Bars]:
    """Return the bars of all symbols, read one after the other. The errors of all symbols are raised together.

    Raises:
        BadBarsError: bars of a symbol are invalid; the text has the errors of all symbols.
    """
    every: list[Bars] = []
    problems: list[Problem] = []
    for symbol in symbols:
        try:
            every.append(read(symbol))
        except BadBarsError as error:
            problems += error.problems
    if problems:
        raise BadBarsError(problems, [bars for bars in every if len(bars.frame)])
    return every


def listing(spans: Mapping[str, Span]) -> str:
    """Return one line of text with the first and the last date of each symbol."""
    return enumerated(
        [f"{shown_name(symbol)} {first} to {last}" for symbol, (first, last) in sorted(spans.items())], _LISTED
    )


def span_of(bars: Bars) -> Span:
    """Return the first and the last date of a symbol in its source."""
    whole = bars.whole
    first, last = (bars.index[0], bars.index[-1]) if whole is None else (whole.first, whole.last)
    return first.date(), last.date()


def choose_dates(
    every: Sequence[Bars], start: date | None, end: date | None, *, asked: bool, available: str = ""
) -> tuple[list[Bars], list[str]]:
    """Return the bars from ``start`` to ``end``, and warnings.

    A symbol without bars in this range is an error if the user named the symbol. Otherwise the symbol is left out with a
    warning.

    Args:
        every: bars of the chosen symbols. The bars may already be limited to these dates.
        start: first date; None: no limit.
        end: last date, inclusive; None: no limit.
        asked: True if the user named the symbols.
        available: text with the available dates, for the error; empty: the dates of ``every`` are listed.
    """
    available = available or listing({bars.symbol: span_of(bars) for bars in every})
    span = f"{start or 'the first bar'} to {end or 'the last bar'}"
    kept: list[Bars] = []
    warnings: list[str] = []
    for bars in every:
        cut = _between(bars, start, end)
        nearest = _nearest(cut)
        if cut.frame.empty and asked:
            text = f"{bars.symbol} has no bars from {span}{nearest}; available: {available}"
            raise DataError(text, field=bars.symbol, code="no-bars-in-range")
        if cut.frame.empty:
            warnings.append(f"{bars.symbol} is left out: it has no bars from {span}{nearest}")
            continue
        kept.append(cut)
        first, last = cut.index[0].date(), cut.index[-1].date()
        if asked and ((start and first - start > _SLACK) or (end and end - last > _SLACK)):
            warnings.append(f"{bars.symbol} has bars only from {first} to {last}, not from {span}")
    if not kept:
        raise DataError(f"no symbol has bars from {span}; available: {available}", code="no-bars-in-range")
    return kept, warnings


def _between(bars: Bars, start: date | None, end: date | None) -> Bars:
    excluded, whole = outside(bars.index, start, end)
    return bars if whole is None else replace(bars, frame=bars.frame[~excluded], whole=whole)


def _nearest(bars: Bars) -> str:
    """Return a text about the last bar before and the first bar after the range, if the range has no bars but both exist."""
    if bars.whole is None or bars.whole.before is None or bars.whole.after is None:
        return ""
    return f" (none between {date_text(bars.whole.before)} and {date_text(bars.whole.after)})"
