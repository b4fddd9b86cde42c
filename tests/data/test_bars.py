"""Frames of bars: every form of dates and numbers that is read, the adjustment, and what each rule finds."""

import numpy as np
import pandas as pd
import pytest

from builders.frames import PRICES, table
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import COLUMNS, normalise_bars
from cnn_lstm_hyperopt.data.frequency import duration, frequency, step_seconds
from cnn_lstm_hyperopt.data.problems import BadBarsError
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.tables.dates import read_dates
from cnn_lstm_hyperopt.data.validation.plausibility import COMMON_SPLITS, SPLITS, STALE, hole_problem
from cnn_lstm_hyperopt.errors import DataError

DAYS = ["2015-03-05", "2015-03-06", "2015-03-09", "2015-03-10"]  # daylight saving begins on 2015-03-08


def normalise(raw, **options):
    return normalise_bars("ABC", raw, "ABC.csv", **options)


def error_of(raw, **options):
    with pytest.raises(BadBarsError) as caught:
        normalise(raw, **options)
    return caught.value


def index_of(raw):
    return normalise(raw).index.astype(str).tolist()


def rules(raw, **options):
    return {problem.rule: problem for problem in normalise(raw, **options).problems}


def test_columns_types_and_order_are_normalised():
    raw = table(DAYS).rename(columns=lambda name: f" {name.upper()} ").iloc[::-1]
    raw.insert(0, "Unnamed: 0", range(4))
    raw["comment"] = "x"
    bars = normalise(raw.astype({" OPEN ": "string", " VOLUME ": "object"}))
    assert (bars.symbol, tuple(bars.frame.columns)) == ("ABC", COLUMNS)
    assert set(bars.frame.dtypes) == {np.dtype("float64")}
    assert (bars.index.name, bars.index.dtype) == ("date", "datetime64[ns]")
    assert bars.index.astype(str).tolist() == DAYS
    assert bars.frame.reset_index(drop=True).equals(table(DAYS).drop(columns="date"))


STAMPS = pd.DatetimeIndex(DAYS)
STYLES = {
    "iso": DAYS,
    "us": ["3/5/2015", "3/6/2015", "3/9/2015", "3/10/2015"],
    "us-close": [f"3/{d}/2015 16:00:00" for d in (5, 6, 9, 10)],
    "us-pm": [f"3/{d}/2015 4:00 PM" for d in (5, 6, 9, 10)],
    "early-close": [f"{d} 16:00:00" if i else f"{d} 13:00:00" for i, d in enumerate(DAYS)],
    "midnight-dst": [f"{d} 00:00:00-0{5 if i < 2 else 4}:00" for i, d in enumerate(DAYS)],
    "close-dst": [f"{d}T16:00:00-0{5 if i < 2 else 4}00" for i, d in enumerate(DAYS)],
    "tokyo": [f"{d} 00:00:00+09:00" for d in DAYS],
    "utc": [f"{d}T00:00:00Z" for d in DAYS],
    "hours-only": [f"{d} 21:00:00+00" for d in DAYS],
    "month-names": ["05-Mar-2015", "06-Mar-2015", "09-Mar-2015", "10-Mar-2015"],
    "integers": [20150305, 20150306, 20150309, 20150310],
    "epoch": STAMPS.as_unit("s").asi8,
    "stamps": STAMPS,
    "zoned-stamps": STAMPS.tz_localize("America/New_York"),
    "zoned-east": STAMPS.tz_localize("Asia/Tokyo"),
    "date-objects": [stamp.date() for stamp in STAMPS],
}


@pytest.mark.parametrize("dates", STYLES.values(), ids=STYLES)
def test_daily_dates_of_every_style_become_the_local_date(dates):
    for name in ("date", " DateTime", "TIMESTAMP"):
        assert index_of(table(dates, name)) == DAYS


def test_dates_may_be_the_index_or_an_unnamed_first_column():
    assert index_of(table(DAYS, "Unnamed: 0")) == DAYS
    for name in ("Date", "timestamp", None):
        assert index_of(table(DAYS).drop(columns="date").set_axis(pd.DatetimeIndex(DAYS, name=name))) == DAYS


def test_intraday_stamps_become_utc_if_they_have_a_zone_and_else_stay():
    naive = ["2015-03-06 09:30:00", "2015-03-06 09:45:00", "2015-03-09 09:30:00"]
    zoned = ["2015-03-06 15:30:00-05:00", "2015-03-06 15:45:00-05:00", "2015-03-09 15:30:00-04:00"]
    expected = ["2015-03-06 20:30:00", "2015-03-06 20:45:00", "2015-03-09 19:30:00"]
    assert index_of(table(naive)) == naive
    assert index_of(table(zoned)) == index_of(table(pd.to_datetime(pd.Series(zoned), utc=True))) == expected


@pytest.mark.parametrize("style", ["%m/%d/%Y", "%m/%d/%Y %H:%M:%S", "{t.month}/{t.day}/{t.year} {t.hour}:%M"])
def test_dates_written_month_first_are_those_that_pandas_reads(style):
    stamps = pd.date_range("2015-01-28 07:05:09", periods=60, freq="7h31min17s")
    texts = [stamp.strftime(style.format(t=stamp)) for stamp in stamps]
    expected = pd.to_datetime(pd.Series(texts), format="mixed", dayfirst=False)
    assert read_dates(pd.Series(texts)).index.tolist() == expected.tolist()
    with_one_footer = read_dates(pd.Series([*texts, "Total"]))  # read in another way
    assert with_one_footer.index[:-1].tolist() == expected.tolist()
    assert with_one_footer.index.isna().tolist() == [False] * 60 + [True]


def test_an_unclear_order_of_day_and_month_is_warned_of_and_a_proven_one_is_not():
    assert rules(table([f"{month}/1/2015" for month in range(1, 6)]))["date_order"].value == "'1/1/2015'"
    assert "date_order" not in rules(table([f"{month}/13/2015" for month in range(1, 6)]))


def test_the_hour_that_occurs_twice_needs_offsets():
    stamps = pd.date_range("2015-10-24 20:00", periods=30, freq="h", tz="Europe/Berlin")
    assert error_of(table(stamps.tz_localize(None))).code == "duplicate"
    assert len(normalise(table(stamps.map(str))).frame) == 30


@pytest.mark.parametrize("name", ["Adj Close", "adj_close", "AdjClose", "Adj. Close**", "Adjusted Close"])
def test_an_adjusted_close_adjusts_prices_and_volume(name):
    factor, plain = np.array([0.25, 0.5, 0.5, 1.0]), normalise(table(DAYS))
    bars = normalise(table(DAYS, **{name: plain.frame["close"].to_numpy() * factor}))
    for price in PRICES:
        np.testing.assert_allclose(bars.frame[price], plain.frame[price] * factor)
    np.testing.assert_allclose(bars.frame["volume"], plain.frame["volume"] / factor)
    assert bars.adjustment != plain.adjustment


def test_adjusting_never_brings_a_close_above_its_high():
    rng = np.random.default_rng(0)
    close = rng.uniform(1, 100, 2000)
    raw = table(pd.date_range("2000-01-01", periods=2000), **dict.fromkeys(PRICES, close))
    frame = normalise(raw.assign(adj_close=close * rng.uniform(0.01, 3, 2000))).frame
    assert (frame["high"] == frame["close"]).all()
    assert (frame["low"] == frame["close"]).all()


def test_sha256_depends_on_values_and_dates_only():
    first = normalise(table(DAYS)).sha256
    assert len(first) == 64
    assert normalise_bars("XYZ", table(DAYS).iloc[::-1].rename(columns=str.upper), "two.csv").sha256 == first
    assert normalise(table(DAYS, volume=[10, 11, 12, 14])).sha256 != first
    assert normalise(table([*DAYS[:3], "2015-03-11"])).sha256 != first


def test_of_copies_one_stays_and_of_bars_that_differ_none():
    raw = table(5)
    twice = pd.concat([raw, raw.iloc[[1]], raw.iloc[[3]].assign(volume=99.0)])
    bars = normalise(twice.assign(date=twice["date"] + pd.Timedelta(hours=16)), on_bad_bars="drop")
    assert bars.index.tolist() == raw["date"].drop(3).tolist()  # still daily
    assert {problem.rule: problem.count for problem in bars.problems} == {"copy": 1, "duplicate": 2, "unadjusted": 1}


@pytest.mark.parametrize("ratio", SPLITS)
@pytest.mark.parametrize("up", [False, True], ids=["split", "reverse split"])
def test_an_unadjusted_split_is_warned_of_and_an_adjusted_one_is_not(ratio, up):
    if up and not SPLITS[ratio].endswith(":1"):
        ratio = round(ratio) + 1.0  # reverse splits make one share of several
    factor = np.where(np.arange(60) < 30, 1.0, ratio if up else 1 / ratio)
    raw = table()
    raw[PRICES] = raw[PRICES].mul(factor, axis=0)
    raw["volume"] = 1e6 / factor
    problem, sides = rules(raw)["split_jump"], SPLITS[ratio]
    assert problem.value == (":".join(reversed(sides.split(":"))) if up else sides)
    assert (problem.first, problem.count) == (str(raw["date"][30].date()), 1)
    assert "split_jump" not in rules(raw.assign(adj_close=raw["close"] / factor))
    assert "split_jump" in rules(raw.assign(adj_close=raw["close"]))  # which forgets it


@pytest.mark.parametrize("ratio", [ratio for ratio, text in SPLITS.items() if text not in COMMON_SPLITS])
def test_an_unusual_ratio_without_a_change_of_volume_is_no_split(ratio):
    raw = table()
    raw[PRICES] = raw[PRICES].mul(np.where(np.arange(60) < 30, 1.0, 1 / ratio), axis=0)
    raw["volume"] = 1e6
    assert "split_jump" not in rules(raw)


def test_a_jump_after_a_hole_or_with_a_spike_of_the_volume_is_no_split():
    def raw(volume, hole=0):
        found = table(volume=np.where(np.arange(60) < 30, 1e6, 2e6))
        found.loc[30:, PRICES] /= 2
        found.loc[30, "volume"] = volume
        return found.assign(date=found["date"] + pd.to_timedelta(np.where(np.arange(60) < 30, 0, hole), unit="D"))

    assert "split_jump" in rules(raw(4e6, hole=7))
    assert "split_jump" not in rules(raw(4e6, hole=28))
    assert "split_jump" not in rules(raw(20e6))


HOUR, SESSION = pd.Timedelta(hours=1), [*range(14, 21)]


@pytest.mark.parametrize(
    ("index", "hole", "found"),
    [
        (pd.date_range("2020-01-01", periods=9_000, freq="h"), ("2020-06-01", "2020-06-10"), True),  # trades 24/7
        (pd.date_range("2020-01-01", periods=9_000, freq="h"), ("2020-06-01 05:00", "2020-06-01 12:00"), True),
        (pd.date_range("2020-01-01", periods=9_000, freq="h"), ("2020-06-01 05:00", "2020-06-01 07:00"), False),
        (pd.date_range("2020-01-01", periods=900), ("2020-06-01", "2020-06-04"), True),
        (pd.bdate_range("2020-01-01", periods=900), ("2020-06-01", "2020-06-20"), True),
        (pd.bdate_range("2020-01-01", periods=900), ("2020-06-01", "2020-06-05"), False),
        (pd.DatetimeIndex([d + h * HOUR for d in pd.bdate_range("2020", periods=300) for h in SESSION]), None, False),
        *(
            (
                pd.DatetimeIndex([d + h * HOUR for d in pd.bdate_range("2020-01-08", periods=n) for h in SESSION]),
                hole,
                found,
            )
            for n, hole, found in (
                (5, None, False),
                (10, None, False),
                (15, None, False),
                (15, ("2020-01-14", "2020-01-21"), True),
            )
        ),
        (pd.date_range("2012-01-31", periods=150, freq="ME"), None, False),
        (pd.date_range("2012-01-31", periods=150, freq="ME"), ("2016", "2017"), True),
        (pd.DatetimeIndex([]), None, False),
    ],
)
def test_a_hole_is_long_for_the_calendar_of_its_bars(index, hole, found):
    if hole is not None:
        index = index[(index < hole[0]) | (index >= hole[1])]
    problem = hole_problem("BTC", index, 10.0)
    assert (problem is not None) == found
    if problem is not None:
        assert (problem.rule, problem.count) == ("gap", 1)


def test_a_crash_within_the_day_or_of_another_size_is_no_split():
    for first, factor in ((30, 0.8), (31, 0.5)):
        raw = table(volume=1e6)
        raw.loc[first:, PRICES] *= factor
        raw.loc[30, ["low", "close"]] *= factor if first == 31 else 1  # opened where it was
        assert "split_jump" not in rules(raw)


@pytest.mark.parametrize("equal", [STALE - 1, STALE])
def test_prices_are_stale_from_twenty_equal_bars_on(equal):
    raw = table()
    raw.loc[10 : 9 + equal, PRICES] = [50.0, 51.0, 49.0, 50.0]
    assert ("stale_prices" in rules(raw)) == (equal == STALE == 20)


def with_few_trades(seed, share, zone):
    """Minutes from 4:00 to 20:00 in New York: every minute of the session, and a share of the others."""
    days = pd.bdate_range("2019-01-02", periods=60)
    minutes = pd.DatetimeIndex([day + pd.Timedelta(minutes=minute) for day in days for minute in range(240, 1200)])
    clock = minutes.hour * 60 + minutes.minute
    kept = minutes[((clock >= 570) & (clock < 960)) | (np.random.default_rng(seed).random(len(minutes)) < share)]
    return kept.tz_localize("America/New_York").tz_convert(zone).tz_localize(None)


@pytest.mark.mostly_slow(1)
@pytest.mark.parametrize("zone", ["America/New_York", "UTC"])
@pytest.mark.parametrize("share", [0.03, 0.35])
def test_minutes_with_few_trades_are_no_other_frequency_but_daily_rows_among_them_are(share, zone):
    stamps = with_few_trades(0, share, zone)
    assert rules(table(stamps)) == {}
    naive = with_few_trades(0, share, "America/New_York")
    daily = pd.DatetimeIndex(np.unique(naive.normalize())[:20])
    found = rules(table(naive.append(daily)))["mixed_frequencies"]
    assert (found.count, found.first) == (20, "2019-01-02")


def test_bars_without_volume_are_counted_with_their_range():
    volume = np.where((np.arange(60) > 4) & (np.arange(60) < 9), 0.0, 10.0)
    found = rules(table(volume=volume))["zero_volume"]
    assert (found.count, found.first) == (4, "2015-01-12")
    assert "0 in 4 of 60 bars, from 2015-01-12 to 2015-01-15" in found.finding
    assert "write 0" in str(error_of(table(volume=np.nan)))


def test_rounded_closes_intraday_bars_and_short_trading_days_have_no_warnings():
    raw = table()
    assert set(rules(raw.assign(high=raw["close"] * (1 - 1e-7), open=raw["close"] - 0.5))) == {"unadjusted"}
    days = pd.bdate_range("2015-01-05", periods=30)
    stamps = [day + pd.Timedelta(hours=9.5 + hour) for day in days for hour in range(7 if day.day % 9 else 4)]
    assert rules(table(stamps)) == rules(table(pd.date_range("2015-01-05 09:00", periods=60, freq="15min"))) == {}


NAMED = {"B": "daily", "D": "daily", "W": "weekly", "MS": "monthly", "QS": "quarterly", "h": "hourly"}
NAMED |= {"4h": "every 4 hours", "15min": "every 15 minutes", "min": "every minute", "30s": "every 30 seconds"}
NAMED |= {"12D": "every 12 days", "500ms": "every 0.5 seconds"}


def test_frequencies_and_steps_have_names():
    assert {each: frequency(pd.date_range("2015-01-05", periods=100, freq=each)) for each in NAMED} == NAMED
    assert frequency(pd.date_range("2015-01-05", periods=1, freq="D")) == "a single bar"
    assert step_seconds(np.array([5], dtype=np.int64)) is None
    texts = {
        86_400: "1 day",
        604_800: "7 days",
        300: "5 minutes",
        60: "1 minute",
        3_600: "1 hour",
        1.728e8: "2,000 days",
        1.5: "1.5 seconds",
    }
    assert {seconds: duration(float(seconds)) for seconds in texts} == texts


def with_mood(values):
    return table().assign(**{" News  MOOD ": values})


def test_own_columns_are_read_whatever_their_case_follow_the_five_and_are_not_adjusted():
    mood = np.linspace(-1, 1, 60)
    raw = with_mood(mood.astype(str))
    bars, adjusted, other = (
        normalise(each, columns=("news mood",)) for each in (raw, raw.assign(adj_close=25.0), with_mood(mood + 1))
    )
    assert tuple(bars.frame.columns) == (*COLUMNS, "news mood")
    assert bars.frame["news mood"].tolist() == pytest.approx(mood.tolist())
    assert set(bars.frame.dtypes) == {np.dtype("float64")}
    assert len({normalise(raw).sha256, bars.sha256, other.sha256}) == 3
    assert adjusted.frame["news mood"].equals(bars.frame["news mood"])


def test_missing_values_of_own_columns_are_counted_and_stay_missing():
    raw = with_mood(np.where(np.arange(60) < 7, np.nan, 1.0))
    assert normalise(raw, columns=("news mood",)).frame["news mood"].isna().sum() == 7
    problem = rules(raw, columns=("news mood",))["own_missing"]
    assert (problem.count, problem.first) == (7, "2015-01-05")


@pytest.mark.parametrize("on_bad_bars", ["error", "drop", "keep"])
@pytest.mark.parametrize(("n_text", "drops"), [(1, True), (59, True), (60, False)])
def test_dropping_rows_is_no_cure_where_all_rows_have_text(n_text, drops, on_bad_bars):
    options = {"columns": ("news mood",), "on_bad_bars": on_bad_bars}
    raw = with_mood(["bull"] * n_text + ["1"] * (60 - n_text))
    if drops and on_bad_bars == "drop":
        assert len(normalise(raw, **options).frame) == 60 - n_text
        return
    (problem,) = error_of(raw, **options).problems
    assert problem.rule == "text"
    assert ("drop" in problem.cure) == drops


@pytest.mark.parametrize(
    ("columns", "values", "code"),
    [
        (("sentiment",), 1.0, "feature-column-missing"),
        (("news mood", "News_Mood"), 1.0, "feature-column-twice"),
        (("Close",), 1.0, "feature-column-standard"),
        (("date",), 1.0, "feature-column-standard"),
        (("news mood",), np.nan, "feature-column-empty"),
        (("news mood",), np.inf, "infinite"),
        (("news mood",), "good", "text"),
    ],
)
def test_errors_of_own_columns(columns, values, code):
    error = error_of(with_mood(values), columns=columns)
    assert (error.field, error.code) == ("ABC", code)


def test_own_columns_are_for_files_only():
    with pytest.raises(DataError) as caught:
        load_bars(DataSettings(source="embedded", feature_columns=("mood",)))
    assert (caught.value.field, caught.value.code) == ("data.feature_columns", "feature-columns-need-files")
