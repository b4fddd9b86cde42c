"""What a source of bars is, and what all sources do alike: choose dates, and say what there is."""

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
    """Somewhere that bars come from.

    A source is a frozen dataclass. Its fields are the settings of ``data`` that it reads, by their names.

    Attributes:
        name: what the setting ``source`` calls it.
        place: in the order of the sources.
        description: what it is, in a few words.
        survivorship: what is known of symbols that are missing because they did not survive.
    """

    name: ClassVar[str]
    place: ClassVar[int]
    description: ClassVar[str]
    survivorship: ClassVar[str]

    def best_accuracy(self, target: str, horizon: int) -> float | None:
        """Best accuracy that any model can reach on average; None if it is unknown, as for real markets."""
        return None

    @abstractmethod
    def available(self) -> dict[str, Span]:
        """First and last date of each symbol that the source has."""

    @abstractmethod
    def load(self, symbols: Sequence[str], start: date | None, end: date | None) -> tuple[list[Bars], list[str]]:
        """Bars of symbols, and warnings.

        Args:
            symbols: names in any case; empty: all that there are.
            start: first date; None: from the first bar.
            end: last date, inclusive; None: to the last bar.

        Raises:
            DataError: a symbol is not there, or has no bar in the range; the text lists what there is.
        """


def read_all(symbols: Sequence[str], read: Callable[[str], Bars]) -> list[Bars]:
    """The bars of all symbols.

    Raises:
        BadBarsError: all that is wrong with any of them.
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
    every: Sequence[Bars], start: date | None, end: date | None, *, asked: bool, there_is: str = ""
) -> tuple[list[Bars], list[str]]:
    """Bars from ``start`` to ``end``.

    A symbol that was asked for by name and has no bar there is an error. One that came along with "all" is
    left out with a warning.

    Args:
        every: bars of the chosen symbols: all, or cut by these dates already.
        start: first date; None: no limit.
        end: last date, inclusive; None: no limit.
        asked: whether the user named the symbols.
        there_is: a listing for the error; empty: of these bars.
    """
    there_is = there_is or listing({bars.symbol: span_of(bars) for bars in every})
    span = f"{start or 'the first bar'} to {end or 'the last bar'}"
    kept: list[Bars] = []
    warnings: list[str] = []
    for bars in every:
        cut = _between(bars, start, end)
        nearest = _nearest(cut)
        if cut.frame.empty and asked:
            text = f"{bars.symbol} has no bars from {span}{nearest}; there are: {there_is}"
            raise DataError(text, field=bars.symbol, code="no-bars-in-range")
        if cut.frame.empty:
            warnings.append(f"{bars.symbol} is left out: it has no bars from {span}{nearest}")
            continue
        kept.append(cut)
        first, last = cut.index[0].date(), cut.index[-1].date()
        if asked and ((start and first - start > _SLACK) or (end and end - last > _SLACK)):
            warnings.append(f"{bars.symbol} was asked for from {span}, but has bars from {first} to {last} only")
    if not kept:
        raise DataError(f"no symbol has bars from {span}; there are: {there_is}", code="no-bars-in-range")
    return kept, warnings


def _between(bars: Bars, start: date | None, end: date | None) -> Bars:
    gone, whole = outside(bars.index, start, end)
    return bars if whole is None else replace(bars, frame=bars.frame[~gone], whole=whole)


def _nearest(bars: Bars) -> str:
    """The bars around a hole in which the whole range lies, if it does."""
    if bars.whole is None or bars.whole.before is None or bars.whole.after is None:
        return ""
    return f" (none between {date_text(bars.whole.before)} and {date_text(bars.whole.after)})"
