"""Session days of intraday bars. All bars of a trading session belong to one day, even if the session crosses midnight."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DAY = 86_400 * 10**9
_WEEK = 7 * _DAY
_FIRST_SATURDAY = 2 * _DAY
"""Start of a week: 1970-01-03, a Saturday. Weeks start on Saturdays because exchanges are closed on this day."""
_INTRADAY = 0.9
"""Bars are intraday if the median time between bars is shorter than this share of a day."""
_PAUSE = 1.5
"""Minimum length of a break in trading, as a multiple of the median time between bars."""


def session_days(dates: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the number of the session day of each date.

    A session day begins in the middle of the longest daily break in trading. The break is determined for each week, because
    it may change between winter and summer time. If trading pauses only at weekends, as for currencies, a day begins at the
    time of day at which trading begins in the week. If trading never pauses, a day begins at midnight.

    Args:
        dates: ``(windows,)`` datetime64 in any order, with repetitions.

    Returns:
        ``(windows,)`` int64 numbers without gaps that increase with time; None if the dates are not datetimes or not intraday.
    """
    labels = session_dates(dates)
    return None if labels is None else np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.int64)


def session_dates(dates: NDArray[Any]) -> NDArray[Any] | None:
    """Return the calendar date of the session that each date belongs to; see :func:`session_days`.

    A session that crosses midnight and begins after noon has the date of its later part. An example are futures that trade
    from 18:00 to 17:00.

    Args:
        dates: as for :func:`session_days`.

    Returns:
        ``(windows,)`` datetime64[D] that increase with time; None in the same cases as for :func:`session_days`.
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
    """Return the start and the end (exclusive) of each run of equal numbers, as positions."""
    cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    return list(pairwise(cuts))


def _begin_of_day(stamps: NDArray[np.int64], pause: int | None, step: float) -> int | None:
    """Return the time of day at which the session days of a week begin, in nanoseconds from midnight.

    The time is above −12 hours and at most 12 hours.

    Args:
        stamps: ``(bars,)`` bars of the week, in nanoseconds.
        pause: time between the last bar of the previous week and the first bar of this week; None in the first week.
        step: median time between bars.

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
