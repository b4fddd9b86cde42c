"""People's files of bars: every form that is read, and every fault that is named."""

import numpy as np
import pandas as pd
import pytest

from cnn_lstm_hyperopt.data.bars import COLUMNS, normalise_bars
from cnn_lstm_hyperopt.data.tables.dates import read_dates
from cnn_lstm_hyperopt.errors import DataError

DAYS = ["2015-03-05", "2015-03-06", "2015-03-09", "2015-03-10"]  # daylight saving begins on 2015-03-08


def table(dates=DAYS, name="date", **changes):
    count = len(dates)
    columns = {
        name: dates,
        "open": np.linspace(10, 11, count),
        "high": np.linspace(12, 13, count),
        "low": np.linspace(8, 9, count),
        "close": np.linspace(11, 12, count),
        "volume": np.arange(1, count + 1) * 100,
    }
    return pd.DataFrame(columns | changes)


def index_of(raw):
    return normalise_bars("ABC", raw, "ABC.csv").index


def test_columns_types_and_order_are_normalised():
    raw = table().rename(columns=lambda name: f" {name.upper()} ").iloc[::-1]
    raw.insert(0, "Unnamed: 0", range(4))
    raw["comment"] = "x"
    bars = normalise_bars("ABC", raw, "ABC.csv")
    assert bars.symbol == "ABC"
    assert tuple(bars.frame.columns) == COLUMNS
    assert set(bars.frame.dtypes) == {np.dtype("float64")}
    assert bars.index.name == "date"
    assert bars.index.dtype == "datetime64[ns]"
    assert bars.index.astype(str).tolist() == DAYS
    assert bars.frame["volume"].tolist() == [100, 200, 300, 400]
    assert "no adjusted close" in bars.adjustment


@pytest.mark.parametrize("name", ["date", "Date", " datetime", "TIMESTAMP"])
@pytest.mark.parametrize(
    "dates",
    [
        pytest.param(DAYS, id="iso"),
        pytest.param(["3/5/2015", "3/6/2015", "3/9/2015", "3/10/2015"], id="us"),
        pytest.param([f"3/{d}/2015 16:00:00" for d in (5, 6, 9, 10)], id="us-close"),
        pytest.param([f"3/{d}/2015 4:00 PM" for d in (5, 6, 9, 10)], id="us-pm"),
        pytest.param([f"{d} 16:00:00" if i else f"{d} 13:00:00" for i, d in enumerate(DAYS)], id="early-close"),
        pytest.param([f"{d} 00:00:00-0{5 if i < 2 else 4}:00" for i, d in enumerate(DAYS)], id="midnight-dst"),
        pytest.param([f"{d}T16:00:00-0{5 if i < 2 else 4}00" for i, d in enumerate(DAYS)], id="close-dst"),
        pytest.param([f"{d} 00:00:00+09:00" for d in DAYS], id="tokyo"),
        pytest.param([f"{d}T00:00:00Z" for d in DAYS], id="utc"),
        pytest.param([f"{d} 21:00:00+00" for d in DAYS], id="hours-only"),
        pytest.param(["05-Mar-2015", "06-Mar-2015", "09-Mar-2015", "10-Mar-2015"], id="month-names"),
        pytest.param([20150305, 20150306, 20150309, 20150310], id="integers"),
        pytest.param(pd.DatetimeIndex(DAYS).as_unit("s").asi8, id="epoch-seconds"),
        pytest.param(pd.DatetimeIndex(DAYS).as_unit("ms").asi8, id="epoch-milliseconds"),
        pytest.param(pd.DatetimeIndex(DAYS), id="stamps"),
        pytest.param(pd.DatetimeIndex(DAYS).tz_localize("America/New_York"), id="zoned-stamps"),
        pytest.param(pd.DatetimeIndex(DAYS).tz_localize("Asia/Tokyo"), id="zoned-east"),
        pytest.param([stamp.date() for stamp in pd.DatetimeIndex(DAYS)], id="date-objects"),
    ],
)
def test_daily_dates_of_every_style_become_the_local_date(dates, name):
    assert index_of(table(dates, name)).astype(str).tolist() == DAYS


@pytest.mark.parametrize("index_name", ["Date", "timestamp", None])
def test_dates_in_the_index_are_read(index_name):
    raw = table().drop(columns="date").set_axis(pd.DatetimeIndex(DAYS, name=index_name), axis=0)
    assert index_of(raw).astype(str).tolist() == DAYS


def test_dates_in_an_unnamed_first_column_are_read():
    assert index_of(table(name="Unnamed: 0")).astype(str).tolist() == DAYS


def test_intraday_stamps_with_a_zone_become_utc():
    dates = ["2015-03-06 15:30:00-05:00", "2015-03-06 15:45:00-05:00", "2015-03-09 15:30:00-04:00"]
    expected = ["2015-03-06 20:30:00", "2015-03-06 20:45:00", "2015-03-09 19:30:00"]
    assert index_of(table(dates)).astype(str).tolist() == expected
    assert index_of(table(pd.to_datetime(pd.Series(dates), utc=True))).astype(str).tolist() == expected


def test_naive_intraday_stamps_stay_as_they_are():
    dates = ["2015-03-06 09:30:00", "2015-03-06 09:45:00", "2015-03-09 09:30:00"]
    assert index_of(table(dates)).astype(str).tolist() == dates


@pytest.mark.parametrize(
    "name", ["Adj Close", "adj_close", "AdjClose", " adj close ", "Adj. Close**", "Adjusted Close"]
)
def test_an_adjusted_close_adjusts_prices_and_volume(name):
    raw = table(**{name: np.linspace(11, 12, 4) * [0.25, 0.5, 0.5, 1.0]})
    bars = normalise_bars("ABC", raw, "ABC.csv")
    plain = normalise_bars("ABC", table(), "ABC.csv")
    factor = np.array([0.25, 0.5, 0.5, 1.0])
    for price in ("open", "high", "low", "close"):
        np.testing.assert_allclose(bars.frame[price], plain.frame[price] * factor)
    np.testing.assert_allclose(bars.frame["volume"], plain.frame["volume"] / factor)
    assert "adj_close / close" in bars.adjustment


def test_adjusting_never_brings_a_close_above_its_high():
    rng = np.random.default_rng(0)
    close = rng.uniform(1, 100, 2000)
    dates = pd.date_range("2000-01-01", periods=2000)
    raw = pd.DataFrame({"date": dates, "open": close, "high": close, "low": close, "close": close, "volume": 1})
    frame = normalise_bars("ABC", raw.assign(adj_close=close * rng.uniform(0.01, 3, 2000)), "x").frame
    assert (frame["high"] == frame["close"]).all()
    assert (frame["low"] == frame["close"]).all()


def test_numbers_as_text_are_numbers():
    raw = table().astype({"open": "string", "volume": "object"})
    assert normalise_bars("ABC", raw, "x").frame["open"].tolist() == pytest.approx(np.linspace(10, 11, 4).tolist())


def test_sha256_depends_on_values_and_dates_only():
    first = normalise_bars("ABC", table(), "one.csv").sha256
    assert normalise_bars("XYZ", table().iloc[::-1].rename(columns=str.upper), "two.csv").sha256 == first
    assert normalise_bars("ABC", table(volume=[100, 200, 300, 401]), "x").sha256 != first
    assert normalise_bars("ABC", table([*DAYS[:3], "2015-03-11"]), "x").sha256 != first
    assert len(first) == 64


PLACE = r"^ABC \(ABC\.csv\): "


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            table().drop(columns=["volume", "low"]),
            r"misses the column low, volume \(it has: date, open, high, close\)",
        ),
        (table(name="day"), r"misses the column date \(or datetime, timestamp\)"),
        (table(Close=1.0), r"columns close stand for the same thing \(it has: .*, Close\); keep one of them"),
        (table(timestamp=DAYS), r"columns date, timestamp stand for the same thing"),
        (table().iloc[:0], r"has no rows of bars"),
        (
            table([*DAYS[:2], "n/k", "x"]),
            r"date must be a date in every row, but row 3 has 'n/k' \(2 such rows\); write",
        ),
        (
            table(["13/3/2015", *DAYS[1:]]),
            r".*row 1 has '13/3/2015' \(1 such row\); .*4/1/2015 is read as month/day/year",
        ),
        (table([*DAYS[:3], "9999-12-31"]), r"date must be a date in every row, but row 4 has '9999-12-31'"),
        (table([1, 2, 3, 4]), r"date must be a date in every row, but row 1 has '1'"),
        (table([20150305, None, 20150309, 20150310]), r"date must be a date .* row 2 has nothing \(1 such row\)"),
        (table([*DAYS[:3], None]), r"date must be a date in every row, but row 4 has"),
        (
            table(["2015-03-05 10:00:00Z", "2015-03-06 10:00:00", *DAYS[2:]]),
            r"date must have a time zone in every row or in none, and most have none, but row 1 \(2015-03-05\) has '2015-.*Z'",
        ),
        (
            table([*DAYS[:3], DAYS[0]]),
            r"date must occur once, and these bars differ, but row 1 \(2015-03-05\) has the same date as row 4 \(2 such rows\);",
        ),
        (
            table(open=["10", "$11", "$11", "11"]),
            r"open must hold numbers, not text, but row 2 .* has '\$11' \(2 such rows",
        ),
        (
            table(high=[12, np.nan, 13, 14]),
            r"high must be a number in every row, but row 2 .* has nothing \(1 such row\)",
        ),
        (table(volume=[1, 2, np.inf, 4]), r"volume must be finite, but row 3 \(2015-03-09\)"),
        (table(low=[1, 0, -1, 2]), r"low must be above 0, but row 2 \(2015-03-06\) has 0 \(2 such rows\)"),
        (table(adj_close=[1, 1, -1, 2]), r"adj_close must be above 0, but row 3"),
        (table(volume=[1, 2, -3, 4]), r"volume must be 0 or more, but row 3 \(2015-03-09\) has -3"),
        (table(high=[12, 12, 12, 1]), r"high must not be below low, but row 4 \(2015-03-10\) has 1 "),
    ],
)
def test_faults_are_named_in_one_line(raw, message):
    with pytest.raises(DataError, match=PLACE + message) as caught:
        normalise_bars("ABC", raw, "ABC.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "style", ["%m/%d/%Y", "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "{t.month}/{t.day}/{t.year} {t.hour}:%M"]
)
def test_dates_written_month_first_are_those_that_pandas_reads(style):
    stamps = pd.date_range("2015-01-28 07:05:09", periods=60, freq="7h31min17s")
    texts = [stamp.strftime(style.format(t=stamp)) for stamp in stamps]
    expected = pd.to_datetime(pd.Series(texts), format="mixed", dayfirst=False)
    assert read_dates(pd.Series(texts)).index.tolist() == expected.tolist()
    with_one_footer = read_dates(pd.Series([*texts, "Total"]))  # read in another way
    assert with_one_footer.index[:-1].tolist() == expected.tolist()
    assert with_one_footer.index.isna().tolist() == [False] * 60 + [True]
