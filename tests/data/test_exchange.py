"""The calendar of an exchange finds missing sessions and bars on holidays, in every time zone."""

import exchange_calendars
import numpy as np
import pandas as pd
import pytest

from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.validation import exchange as module
from cnn_lstm_hyperopt.data.validation.exchange import Exchange, exchange_problems
from cnn_lstm_hyperopt.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:Series.values:DeprecationWarning")  # of the package


def found(index, name):
    return {each.rule: (each.count, each.first) for each in exchange_problems("A", index, Exchange(name))}


def hours(name, first="2015-01-05", last="2016-12-22"):
    calendar = exchange_calendars.get_calendar(name, start="2015-01-02", end="2016-12-30")
    index = calendar.trading_index(first, last, "60min", closed="left", force=True, intervals=False)
    return index, calendar.tz


@pytest.mark.mostly_slow(5)
@pytest.mark.parametrize("name", ["XNYS", "XASX", "XNZE", "XTKS", "CMES", "24/5", "24/7"])
@pytest.mark.parametrize("utc", [True, False])
def test_hours_of_every_exchange_fit_its_calendar_in_utc_and_in_local_time(name, utc):
    index, zone = hours(name)
    index = (index if utc else index.tz_convert(zone)).tz_localize(None)
    assert found(index, name) == {}
    rest = index[(index < "2015-06-08") | (index >= "2015-06-12")]
    assert found(rest, name).keys() == {"missing_sessions"}


def test_missing_days_and_holidays_are_found_and_slow_bars_are_not_compared():
    days = pd.bdate_range("2015-01-05", "2015-12-31")
    assert found(days, "xnys") == {"closed_days": (8, "2015-01-19")}  # eight holidays on weekdays
    sessions = Exchange("XNYS").sessions(days[0], days[-1])
    assert found(sessions, "NYSE") == {}
    assert found(sessions.delete([20, 21, 50]), "XNYS") == {"missing_sessions": (3, str(sessions[20].date()))}
    for slow in ("W", "ME", "QE"):
        assert found(pd.date_range("2010-01-01", "2020-01-01", freq=slow), "XNYS") == {}


def test_days_that_a_calendar_does_not_know_are_not_judged():
    assert found(pd.bdate_range("1980-01-01", "1990-01-01"), "XSHG") == {}  # it begins in 1990
    assert len(Exchange("XNYS").sessions(pd.Timestamp("1990-01-01"), pd.Timestamp("1990-12-31"))) == 253


def test_the_setting_reaches_the_bars(tmp_path):
    sessions = Exchange("XNYS").sessions(pd.Timestamp("2015-01-05"), pd.Timestamp("2016-12-30"))
    kept = np.delete(sessions, slice(200, 206))  # a gap of 10 days, shorter than a hole that ends a segment
    random_frame(len(kept)).set_axis(kept.rename("date")).to_csv(tmp_path / "A.csv")
    every, warnings = load_bars(DataSettings(source="files", data_dir=tmp_path, exchange="XNYS"))
    assert [each.rule for each in every[0].problems] == ["unadjusted", "missing_sessions"]
    assert any("6 sessions without bars" in text for text in warnings)


@pytest.mark.parametrize(("name", "code"), [("NYSX", "unknown-exchange"), ("XNYS", "missing-extra")])
def test_an_unknown_exchange_and_a_missing_package_are_errors(monkeypatch, name, code):
    if code == "missing-extra":
        monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(ConfigError) as caught:
        load_bars(DataSettings(source="embedded", exchange=name))
    assert (caught.value.field, caught.value.code) == ("data.exchange", code)
