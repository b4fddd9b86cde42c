"""Session days, checked with calendars made by other means."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnn_lstm_hyperopt.data.sessions import session_days

MINUTE = pd.Timedelta(minutes=1)


def sessions(opens: str, hours: float, minutes: int, *, zone: str, first="2024-01-01", last="2024-12-31"):
    """UTC stamps and session numbers of bars of so many minutes, on weekdays, in local time."""
    stamps, numbers = [], []
    for number, day in enumerate(pd.bdate_range(first, last)):
        start = (day + pd.Timedelta(opens)).tz_localize(zone, nonexistent="shift_forward")
        bars = int(hours * 60 / minutes)
        stamps += [(start + k * minutes * MINUTE).tz_convert("UTC").tz_localize(None) for k in range(1, bars + 1)]
        numbers += [number] * bars
    return np.array(stamps, dtype="datetime64[ns]"), np.array(numbers)


CALENDARS = {
    "shares, 5 minutes": ("9h30min", 6.5, 5, "America/New_York"),
    "shares, hourly": ("9h30min", 6.5, 60, "America/New_York"),
    "futures across midnight": ("-6h", 23, 15, "America/New_York"),
    "Tokyo in UTC": ("9h", 6, 30, "Asia/Tokyo"),
    "Sydney across midnight of UTC": ("10h", 6, 30, "Australia/Sydney"),
}


@pytest.mark.parametrize("name", CALENDARS)
def test_a_session_is_one_day_in_winter_and_summer_time(name):
    opens, hours, minutes, zone = CALENDARS[name]
    stamps, numbers = sessions(opens, hours, minutes, zone=zone)
    np.testing.assert_array_equal(session_days(stamps), numbers)


@pytest.mark.parametrize("minutes", [1, 15, 60, 240])
def test_bars_without_a_break_are_calendar_days(minutes):
    stamps = pd.date_range("2024-01-01", "2024-03-01", freq=f"{minutes}min").to_numpy()
    expected = (stamps.astype("datetime64[D]") - stamps[0].astype("datetime64[D]")).astype(int)
    np.testing.assert_array_equal(session_days(stamps), expected)
    gaps = np.delete(stamps, slice(len(stamps) // 3, len(stamps) // 3 + 2))  # a short outage is no break
    np.testing.assert_array_equal(session_days(gaps), expected[np.isin(stamps, gaps)])


def test_days_of_currencies_begin_with_their_week():
    """Trading from Sunday to Friday, 17:00 in New York: five days a week."""
    opens = pd.date_range("2024-01-07", "2024-12-22", freq="W-SUN") + pd.Timedelta(hours=17)
    weeks = [pd.date_range(start, periods=120, freq="h", tz="America/New_York") for start in opens]
    stamps = np.concatenate([week.tz_convert("UTC").tz_localize(None).to_numpy() for week in weeks])
    expected = np.arange(len(stamps)) // 24
    np.testing.assert_array_equal(session_days(stamps), expected)
    part = slice(30, None)  # the first week begins on Monday
    np.testing.assert_array_equal(session_days(stamps[part]), expected[part] - expected[30])


def test_a_lunch_break_does_not_divide_a_day():
    morning, numbers = sessions("9h", 2.5, 5, zone="Asia/Tokyo")
    afternoon, _ = sessions("12h30min", 2.5, 5, zone="Asia/Tokyo")
    np.testing.assert_array_equal(session_days(np.concatenate([morning, afternoon])), np.tile(numbers, 2))


@pytest.mark.parametrize("dates", [pd.bdate_range("2024-01-01", periods=50).to_numpy(), np.arange(50), np.arange(1)])
def test_daily_bars_and_numbers_have_no_sessions(dates):
    assert session_days(dates) is None


@given(order=st.permutations(range(78 * 4)), repeats=st.integers(1, 3))
def test_order_and_repetitions_do_not_matter(order, repeats):
    stamps, numbers = sessions("9h30min", 6.5, 5, zone="America/New_York", last="2024-01-04")
    picked = np.repeat(np.array(order), repeats)
    np.testing.assert_array_equal(session_days(stamps[picked]), numbers[picked])
