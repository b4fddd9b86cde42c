"""Session days of intraday bars: all bars of a trading session belong to one day, also across midnight."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DAY = 86_400 * 10**9
_WEEK = 7 * _DAY
_FIRST_SATURDAY = 2 * _DAY
"""1970-01-03, a Saturday: weeks start on a day on which exchanges are closed."""
_INTRADAY = 0.9
"""Bars are intraday if their median distance is below this share of a day."""
_PAUSE = 1.5
"""A break in trading is longer than this multiple of the median distance between bars."""


def session_days(dates: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the number of the session day of each date.

    A day begins in the middle of the longest daily break in trading. This break is determined for each week, because it
    may change between winter and summer time. Where trading pauses at weekends only (currencies), a day begins at the time of
    day at which the week begins. Where trading never pauses, a day begins at midnight.

    Args:
        dates: ``(windows,)`` datetime64 in any order, with repetitions.

    Returns:
        ``(windows,)`` int64, ascending with time, every number used; None: the dates are not datetimes, or not
        intraday.
    """
    labels = session_dates(dates)
    return None if labels is None else np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def session_dates(dates: NDArray[Any]) -> NDArray[Any] | None:
    """Return the calendar date of the session of each date, see :func:`session_days`.

    A session that crosses midnight has the date of its later part if it begins after noon (futures that trade from
    18:00 to 17:00).

    Args:
        dates: as for :func:`session_days`.

    Returns:
        ``(windows,)`` datetime64[D], ascending with time; None: as for :func:`session_days`.
    """
    if not np.issubdtype(dates.dtype, np.datetime64):
        return None
    stamps, place = np.unique(dates.astype("datetime64[ns]").astype(np.int64), return_inverse=True)
    if len(stamps) < 2 or (step := float(np.median(np.diff(stamps)))) >= _INTRADAY * _DAY:
        return None
    week = (stamps - _FIRST_SATURDAY) // _WEEK
    begins = np.zeros(len(stamps), dtype=np.int64)
    next_begin = 0
    for first, last in reversed(_runs(week)):
        pause = int(stamps[first] - stamps[first - 1]) if first else None
        found = _begin_of_day(stamps[first:last], pause, step)
        next_begin = begins[first:last] = next_begin if found is None else found
    days = np.maximum.accumulate((stamps - begins) // _DAY)
    return days.astype("datetime64[D]")[place]


def _runs(numbers: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the half-open range of positions of each run of equal numbers."""
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return list(pairwise(cuts))


def _begin_of_day(stamps: NDArray[np.int64], pause: int | None, step: float) -> int | None:
    """Return the time at which the days of a week begin in nanoseconds from midnight, −12 h (exclusive) to 12 h.

    Args:
        stamps: ``(bars,)`` bars of the week, in nanoseconds.
        pause: time between the last bar of the previous week and the first bar of the week; None in the first week.
        step: median distance between bars.

    Returns:
        None in the first week if trading has no daily break.
    """
    hours = np.unique(stamps % _DAY)
    breaks = np.diff(np.append(hours, hours[0] + _DAY))
    longest = int(np.argmax(breaks))
    if breaks[longest] > _PAUSE * step:
        begin = int(hours[longest] + breaks[longest] // 2) % _DAY
    elif pause is None:
        return None
    elif pause > _PAUSE * step:
        begin = (int(stamps[0]) - int(step) // 2) % _DAY
    else:
        begin = 0
    return begin - _DAY if begin > _DAY // 2 else begin
