"""What is wrong with people's bars: every finding with its rule, how often, where first, and what to do about it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.errors import DataError, Violation
from cnn_lstm_hyperopt.utils.text import counted

MOST_LINES = 20
"""Faults that an error shows; it says how many more there are."""
_FIX = "correct or remove these rows"

Mask = NDArray[np.bool_]
Shown = Callable[[int], str]


@dataclass(frozen=True)
class Problem:
    """One finding in the bars of one symbol.

    Attributes:
        symbol: whose bars.
        where: the file; empty: it does not matter.
        rule: its short name, such as ``high_below_low``.
        severity: error for what can't be used, warning for what was left out, kept, or may be right.
        finding: what was found, in words.
        cure: what to do, or what was done.
        count: rows or bars that have it.
        first: date of the first; None: it has none.
        value: the value there, as text; empty: not informative.
        row: number of the first in the table, from 1; None: it is not about rows.
    """

    symbol: str
    where: str
    rule: str
    severity: Literal["error", "warning"]
    finding: str
    cure: str
    count: int = 1
    first: str | None = None
    value: str = ""
    row: int | None = None

    @property
    def code(self) -> str:
        """The rule as the code of an error: ``high-below-low``."""
        return self.rule.replace("_", "-")

    def text(self) -> str:
        """One line."""
        place = f"{self.symbol} ({self.where})" if self.where else self.symbol
        return f"{place}: {self.finding}; {self.cure}"

    def as_dict(self) -> dict[str, Any]:
        """For data.json."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "count": self.count,
            "first": self.first,
            "value": self.value,
            "text": f"{self.finding}; {self.cure}",
        }


class BadBarsError(DataError):
    """Bars that can't be used; all that is wrong with them, in all files, a line each.

    Attributes:
        problems: errors and warnings.
        bars: those of the symbols that could be read.
    """

    def __init__(self, problems: Sequence[Problem], bars: Sequence[Any] = ()) -> None:
        self.problems = tuple(problems)
        self.bars = tuple(bars)
        lines = [problem.text() for problem in problems if problem.severity == "error"]
        more = [f"… and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
        head = f"{len(lines)} faults in the bars:\n  " if len(lines) > 1 else ""
        violations = [Violation(each.symbol, each.code) for each in problems if each.severity == "error"]
        super().__init__(head + "\n  ".join(lines[:MOST_LINES] + more), violations=violations)


@dataclass
class Findings:
    """The problems of one file while it is read.

    Attributes:
        symbol, where: as in :class:`Problem`.
        on_bad_bars: what happens to rows that can't be true.
        problems: so far.
        gone: (rows,) rows to leave out; None until there are any.
        broken: (rows,) rows that a rule was broken by; later rules don't look at them.
        looked_at: (rows,) which rows of the table are looked at; None: all.
        can_drop: whether the user can ask for bad rows to be dropped.
    """

    symbol: str
    where: str
    on_bad_bars: BadBars = "error"
    problems: list[Problem] = field(default_factory=list)
    gone: Mask | None = None
    broken: Mask | None = None
    looked_at: NDArray[np.int64] | None = None
    can_drop: bool = True

    def look_only_at(self, rows: NDArray[np.int64]) -> None:
        """Leaves the other rows of the table alone: from now on arrays are of these ``rows``, in this order."""
        self.looked_at = rows
        self.gone = None if self.gone is None else self.gone[rows]
        self.broken = None if self.broken is None else self.broken[rows]

    def row_number(self, place: int) -> int:
        """Number in the table, from 1, of a row that is looked at."""
        return 1 + (place if self.looked_at is None else int(self.looked_at[place]))

    def fail(self, rule: str, finding: str, cure: str) -> BadBarsError:
        """The error of a file that is no table of bars at all, whatever is done with bad rows."""
        self.problems.append(Problem(self.symbol, self.where, rule, "error", finding, cure))
        return BadBarsError(self.problems)

    def warn(
        self, rule: str, finding: str, cure: str, *, count: int = 1, first: str | None = None, value: str = ""
    ) -> None:
        """A finding that may be right."""
        self.problems.append(
            Problem(self.symbol, self.where, rule, "warning", finding, cure, count=count, first=first, value=value)
        )

    def refuse(
        self,
        rule: str,
        bad: Mask,
        finding: str,
        shown: Shown,
        dates: pd.DatetimeIndex | None,
        *,
        computable: bool = False,
        droppable: bool = True,
        cure: str = _FIX,
    ) -> None:
        """Rows that can't be true: an error, or left out, or kept, as ``on_bad_bars`` says.

        Args:
            rule: short name.
            bad: (rows,) which.
            finding: what must be so.
            shown: the value of a row, in words.
            dates: (rows,) of the rows; None: they can't be read.
            computable: whether features and labels can be computed of such rows, so that they may be kept.
            droppable: whether the other rows can be trusted without them.
            cure: what to do with them.
        """
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        first = int(rows[0])
        value = shown(first)
        date = None if dates is None or pd.isna(dates[first]) else date_text(dates[first])
        row = self.row_number(first)
        place = f"row {row}" + ("" if date is None else f" ({date})")
        severity, what = self._decide(cure, computable=computable) if droppable else ("error", cure)
        self.problems.append(
            Problem(
                self.symbol,
                self.where,
                rule,
                severity,
                f"{finding}, but {place} has {value} ({counted(len(rows), 'such row')})",
                what,
                count=len(rows),
                first=date,
                value=value,
                row=row,
            )
        )
        self.broken = bad.copy() if self.broken is None else self.broken | bad
        if self.on_bad_bars == "drop":
            self.gone = bad.copy() if self.gone is None else self.gone | bad

    def refuse_lines(self, rule: str, finding: str, cure: str, *, count: int, value: str) -> None:
        """Lines that are no rows of the table and were not read."""
        severity, what = self._decide(cure, computable=False)
        self.problems.append(Problem(self.symbol, self.where, rule, severity, finding, what, count=count, value=value))

    def _decide(self, cure: str, *, computable: bool) -> tuple[Literal["error", "warning"], str]:
        if self.on_bad_bars == "drop":
            return "warning", "left out (on_bad_bars: drop)"
        if self.on_bad_bars == "keep":
            if computable:
                return "warning", "kept (on_bad_bars: keep)"
            return "error", f"{cure} (or --on-bad-bars drop; keep can't, as nothing can be computed of them)"
        return "error", f"{cure} (or --on-bad-bars drop)" if self.can_drop else cure

    def raise_errors(self) -> None:
        """Raises all errors together, if there are any."""
        if any(problem.severity == "error" for problem in self.problems):
            raise BadBarsError(self.problems)


def shown_text(value: Any) -> str:
    """A value of a file as it is shown in a line."""
    if pd.isna(value):
        return "nothing"
    if isinstance(value, (float, np.floating)):
        return f"{value:g}"
    text = repr(str(value)[:100])
    return text if len(text) <= 60 else f"{text[:57]}…'"


def warning_texts(problems: Sequence[Problem]) -> Iterator[str]:
    """The lines of all warnings among ``problems``."""
    return (problem.text() for problem in problems if problem.severity == "warning")


def date_text(stamp: pd.Timestamp | np.datetime64) -> str:
    """ISO date of a bar, with its time if it has one."""
    moment = pd.Timestamp(stamp)
    return moment.date().isoformat() if moment == moment.normalize() else moment.isoformat(sep=" ")
