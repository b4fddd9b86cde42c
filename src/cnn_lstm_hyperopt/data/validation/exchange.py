"""Comparison of the dates of bars with the calendar of an exchange.

The comparison finds missing sessions and bars on holidays.
"""

import warnings
from importlib.util import find_spec
from typing import Any

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt.data.frequency import step_seconds
from cnn_lstm_hyperopt.data.problems import Problem, date_text
from cnn_lstm_hyperopt.data.sessions import session_dates
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import close_names, counted, install_command, shown, shown_names

_DAY = 86_400.0
_SLOW = 1.9 * _DAY
"""Median time between bars, in seconds, from which bars are slower than daily. Exchanges close for at most two days a week."""


class Exchange:
    """Calendar of an exchange, from the package exchange_calendars.

    Args:
        name: name or alias of the calendar, such as XNYS, in upper or lower case.

    Raises:
        ConfigError: the package is missing, or has no calendar of this name.
    """

    def __init__(self, name: str) -> None:
        if find_spec("exchange_calendars") is None:
            text = f"data.exchange needs the package exchange_calendars, which is not installed; {install_command('calendars')}"
            raise ConfigError(text, field="data.exchange", code="missing-extra")
        import exchange_calendars

        self._package = exchange_calendars
        known = {each.lower(): each for each in exchange_calendars.get_calendar_names()}
        if name.lower() not in known:
            close = close_names([name], known.values())
            options = shown_names(exchange_calendars.get_calendar_names(include_aliases=False))
            text = (
                f"data.exchange: {shown(name)} is not a calendar of exchange_calendars;"
                f" {f'did you mean {close}? Options' if close else 'options'}: {options}"
            )
            raise ConfigError(text, field="data.exchange", code="unknown-exchange")
        self.name = known[name.lower()]
        self._calendar = self._open()

    def _open(self, **span: Any) -> Any:
        with warnings.catch_warnings():  # the package uses parts of pandas that will change
            warnings.simplefilter("ignore", DeprecationWarning)
            return self._package.get_calendar(self.name, **span)

    def sessions(self, first: pd.Timestamp, last: pd.Timestamp) -> pd.DatetimeIndex:
        """Return the calendar's sessions from ``first`` to ``last``, as days without time zone."""
        calendar = self._calendar
        if first < calendar.first_session or last > calendar.last_session:
            lowest, highest = calendar.bound_min() or first, calendar.bound_max() or last
            if max(first, lowest) > min(last, highest):
                return pd.DatetimeIndex([])
            day = pd.Timedelta(days=20)  # a calendar needs a session
            calendar = self._calendar = self._open(
                start=max(min(first, calendar.first_session) - day, lowest),
                end=min(max(last, calendar.last_session) + day, highest),
            )
        sessions = pd.DatetimeIndex(calendar.sessions)
        return sessions[(sessions >= first) & (sessions <= last)]

    def days(self, index: pd.DatetimeIndex) -> list[pd.DatetimeIndex]:
        """Return the days of the bars.

        For intraday bars, return two versions: from unchanged dates, and from dates converted from UTC.

        Args:
            index: (bars,) ascending dates without time zone.
        """
        if session_dates(index.to_numpy()) is None:
            return [pd.DatetimeIndex(index.normalize().unique())]
        local = index.tz_localize("UTC").tz_convert(self._calendar.tz).tz_localize(None)
        days = (session_dates(each.to_numpy()) for each in (index, local))
        return [pd.DatetimeIndex(np.unique(each)) for each in days if each is not None]


def exchange_problems(symbol: str, index: pd.DatetimeIndex, exchange: Exchange) -> list[Problem]:
    """Return warnings about sessions without bars and about bars on days without a session.

    Intraday dates may be in UTC or in local time. The version with fewer findings is used.

    Args:
        symbol: name of the bars.
        index: (bars,) ascending dates. Bars that are slower than daily have no findings.
        exchange: calendar of the exchange.
    """
    if len(index) < 2 or (step_seconds(index.as_unit("ns").asi8) or 0.0) >= _SLOW:
        return []
    candidates = []
    for days in exchange.days(index):
        sessions = exchange.sessions(days[0], days[-1])
        known = days[(days >= sessions[0]) & (days <= sessions[-1])] if len(sessions) else days[:0]
        candidates.append((sessions.difference(days), known.difference(sessions)))
    missing, closed = min(candidates, key=lambda pair: len(pair[0]) + len(pair[1]))
    problems = []
    for rule, found, text, cure in (
        ("missing_sessions", missing, "without bars", "add these bars, or check that the exchange is right"),
        (
            "closed_days",
            closed,
            "on which the exchange is closed",
            "remove these bars, or check that the exchange is right",
        ),
    ):
        if len(found):
            noun = "session" if rule == "missing_sessions" else "day with bars"
            several = "sessions" if rule == "missing_sessions" else "days with bars"
            span = date_text(found[0]) if len(found) == 1 else f"from {date_text(found[0])} to {date_text(found[-1])}"
            finding = f"{counted(len(found), noun, several)} {text}, by the calendar {exchange.name}: {span}"
            first = date_text(found[0])
            problems.append(Problem(symbol, "", rule, "warning", finding, cure, count=len(found), first=first))
    return problems
