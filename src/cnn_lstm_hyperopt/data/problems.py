"""Findings about bars.

A finding has the violated rule, the number of rows that violate it, the first of these rows, and the fix.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config.schema.data import BadBars
from cnn_lstm_hyperopt.errors import DataError, Violation
from cnn_lstm_hyperopt.utils.text import counted, shown_names

MAX_LINES = 20
"""Maximum number of lines that an error shows. Additional lines are only counted."""
FIX = "correct or remove these rows"

Mask = NDArray[np.bool_]
Shown = Callable[[int], str]


@dataclass(frozen=True)
class Problem:
    """One finding about the bars of one symbol.

    Attributes:
        symbol: name of the bars.
        where: name of the file; empty without a file.
        rule: short name of the rule, such as ``high_below_low``.
        severity: "error" if the bars can't be used; "warning" if rows were dropped or kept, or look suspicious.
        finding: text that describes the finding.
        cure: text with the fix, or with the action that was taken.
        count: number of rows or bars that the finding is about.
        first: date of the first of these rows; None if this row has no date.
        value: value in the first of these rows, as text; empty if the finding is not about a single value.
        row: number of the first of these rows in the table, from 1; None if the finding is not about rows.
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
        """Error code of the rule, such as ``high-below-low``."""
        return self.rule.replace("_", "-")

    def text(self) -> str:
        """Return the finding as one line of text."""
        place = f"{self.symbol} ({self.where})" if self.where else self.symbol
        return f"{place}: {self.finding}; {self.cure}"

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the finding for ``data.json``."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "count": self.count,
            "first": self.first,
            "value": self.value,
            "text": f"{self.finding}; {self.cure}",
        }


class BadBarsError(DataError):
    """Bars of at least one file can't be used. The text has one line for each error of each file.

    Attributes:
        problems: errors and warnings about all files.
        bars: bars of the symbols without errors.
    """

    def __init__(self, problems: Sequence[Problem], bars: Sequence[Any] = ()) -> None:
        self.problems = tuple(problems)
        self.bars = tuple(bars)
        lines = [problem.text() for problem in problems if problem.severity == "error"]
        more = [f"… and {len(lines) - MAX_LINES} more"] if len(lines) > MAX_LINES else []
        head = f"{len(lines)} errors in the bars:\n  " if len(lines) > 1 else ""
        violations = [Violation(each.symbol, each.code) for each in problems if each.severity == "error"]
        super().__init__(head + "\n  ".join(lines[:MAX_LINES] + more), violations=violations)


@dataclass
class Findings:
    """Collector of the problems of one file while the file is read.

    Attributes:
        symbol, where: name of the bars, and name of the file.
        on_bad_bars: whether invalid rows are an error, dropped or kept.
        problems: problems found so far.
        dropped: (rows,) mask of rows to drop; None if no row is to be dropped.
        broken: (rows,) mask of rows that violate a rule. Later rules skip these rows.
        selected: (rows,) numbers of the rows that are checked; None: all rows.
        can_drop: True if the user can choose to drop invalid rows.
    """

    symbol: str
    where: str
    on_bad_bars: BadBars = "error"
    problems: list[Problem] = field(default_factory=list)
    dropped: Mask | None = None
    broken: Mask | None = None
    selected: NDArray[np.int64] | None = None
    can_drop: bool = True

    def select(self, rows: NDArray[np.int64]) -> None:
        """Restrict later checks to some rows. Arrays that are passed after this call must have these rows in this order."""
        self.selected = rows
        self.dropped = None if self.dropped is None else self.dropped[rows]
        self.broken = None if self.broken is None else self.broken[rows]

    def row_number(self, place: int) -> int:
        """Return the number in the table (from 1) of the row at a position among the selected rows."""
        return 1 + (place if self.selected is None else int(self.selected[place]))

    def fail(self, rule: str, finding: str, cure: str) -> BadBarsError:
        """Return the error to raise for a file that is not a table of bars."""
        self.problems.append(Problem(self.symbol, self.where, rule, "error", finding, cure))
        return BadBarsError(self.problems)

    def warn(
        self, rule: str, finding: str, cure: str, *, count: int = 1, first: str | None = None, value: str = ""
    ) -> None:
        """Add a warning about suspicious values."""
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
        cure: str = FIX,
    ) -> None:
        """Report invalid rows. ``on_bad_bars`` decides whether they are an error, dropped or kept.

        Args:
            rule: short name of the rule.
            bad: (rows,) mask of invalid rows.
            finding: text that describes the finding.
            shown: function of a row's position that returns the value of the row as text.
            dates: (rows,) dates of the rows; None if the dates are unreadable.
            computable: True if features and labels can be computed from the invalid rows, so these rows can be kept.
            droppable: True if the other rows can be trusted after the invalid rows are dropped. If all rows are
                invalid, they are not dropped.
            cure: text with the fix.
        """
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        first = int(rows[0])
        value = shown(first)
        date = None if dates is None or pd.isna(dates[first]) else date_text(dates[first])
        row = self.row_number(first)
        place = f"row {row}" + ("" if date is None else f" ({date})")
        severity, what = self._decide(cure, computable=computable) if droppable and not bad.all() else ("error", cure)
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
            self.dropped = bad.copy() if self.dropped is None else self.dropped | bad

    def refuse_lines(self, rule: str, finding: str, cure: str, *, count: int, value: str) -> None:
        """Report lines of a file that are not rows of its table."""
        severity, what = self._decide(cure, computable=False)
        self.problems.append(Problem(self.symbol, self.where, rule, severity, finding, what, count=count, value=value))

    def _decide(self, cure: str, *, computable: bool) -> tuple[Literal["error", "warning"], str]:
        if self.on_bad_bars == "drop":
            return "warning", "dropped (on_bad_bars: drop)"
        if self.on_bad_bars == "keep":
            if computable:
                return "warning", "kept (on_bad_bars: keep)"
            return (
                "error",
                f"{cure} (or --on-bad-bars drop; keep is not possible, because nothing can be computed from them)",
            )
        return "error", f"{cure} (or --on-bad-bars drop)" if self.can_drop else cure

    def raise_errors(self) -> None:
        """Raise one error with all errors found so far, if any."""
        if any(problem.severity == "error" for problem in self.problems):
            raise BadBarsError(self.problems)


def shown_text(value: Any) -> str:
    """Return a value of a file as a short text for messages."""
    if pd.isna(value):
        return "nothing"
    if isinstance(value, (float, np.floating)):
        return f"{value:g}"
    text = repr(str(value)[:100])
    return text if len(text) <= 60 else f"{text[:57]}…'"


def warning_texts(problems: Sequence[Problem]) -> Iterator[str]:
    """Yield the lines of all warnings. Equal warnings about several symbols are one line."""
    equal: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        if problem.severity == "warning":
            equal.setdefault((problem.finding, problem.cure), []).append(problem)
    for (finding, cure), found in equal.items():
        names = list(dict.fromkeys(problem.symbol for problem in found))
        yield found[0].text() if len(names) == 1 else f"{shown_names(names)}: {finding}; {cure}"


def date_text(stamp: pd.Timestamp | np.datetime64) -> str:
    """Return the date of a bar as ISO text. The time is included unless it is midnight."""
    moment = pd.Timestamp(stamp)
    return moment.date().isoformat() if moment == moment.normalize() else moment.isoformat(sep=" ")
