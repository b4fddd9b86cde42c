"""Dates and times of day in two columns are read as if they were in one column."""

import pandas as pd
import pytest

from builders.frames import random_frame
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.tables.dates import with_times

INDEX = pd.date_range("2015-01-05 00:30", periods=200, freq="30min").as_unit("ns")
FRAME = random_frame(len(INDEX), start="2015-01-05").set_axis(INDEX.rename("date"))
DATES = {
    "ISO": "%Y-%m-%d",
    "digits": "%Y%m%d",
    "dots, year first": "%Y.%m.%d",
    "dots, day first": "%d.%m.%Y",
    "month first": "%m/%d/%Y",
    "name of the month": "%d-%b-%Y",
}
TIMES = {"minutes": "%H:%M", "seconds": "%H:%M:%S", "noon": "%I:%M %p", "hours and minutes": "%H%M", "digits": "%H%M%S"}


def columns(date: str, time: str) -> pd.DataFrame:
    plain = FRAME.reset_index(drop=True)
    texts = {"date": INDEX.strftime(date), "time": INDEX.strftime(time)}
    return pd.concat([pd.DataFrame(texts), plain], axis=1)


def bars_in(folder, **changed):
    (bars,), _ = load_bars(DataSettings(**({"data_dir": folder, "lookback": 10, "target": "volatility"} | changed)))
    return bars


@pytest.mark.parametrize("time", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("date", DATES.values(), ids=DATES)
def test_a_csv_file_may_have_dates_and_times_in_two_columns(date, time, tmp_path):
    columns(date, time).to_csv(tmp_path / "X.csv", index=False)
    pd.testing.assert_index_equal(bars_in(tmp_path).index, FRAME.index, check_names=False, check_freq=False)


@pytest.mark.parametrize("stored", ["text", "numbers", "dates and times"])
def test_a_parquet_file_and_a_frame_may_have_dates_and_times_in_two_columns(stored, tmp_path):
    table = columns("%Y%m%d", "%H%M%S")
    if stored == "numbers":
        table = table.astype({"date": int, "time": int})  # 3000 is half past midnight
    elif stored == "dates and times":
        table = table.assign(date=INDEX.normalize(), time=INDEX.time)
    table.to_parquet(tmp_path / "X.parquet", index=False)
    for found in (bars_in(tmp_path), normalise_bars("X", table, "a frame")):
        pd.testing.assert_index_equal(found.index, FRAME.index, check_names=False, check_freq=False)


def test_a_time_beside_dates_with_times_or_with_a_zone_is_left_alone(tmp_path):
    table = columns("%Y-%m-%d %H:%M", "%H:%M:%S")
    table.to_csv(tmp_path / "X.csv", index=False)
    pd.testing.assert_index_equal(bars_in(tmp_path).index, FRAME.index, check_names=False, check_freq=False)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_time_may_be_an_input(kind, tmp_path):
    table = columns("%Y-%m-%d %H:%M", "%H%M%S").astype({"time": float})
    table.to_csv(tmp_path / "X.csv", index=False) if kind == "csv" else table.to_parquet(tmp_path / "X.parquet")
    bars = bars_in(tmp_path, feature_columns=["time"])
    assert bars.frame["time"].tolist() == table["time"].tolist()


def test_missing_and_impossible_times_are_not_guessed():
    dates = pd.Series(["2015-01-05", "2015-01-05", None])
    assert with_times(dates, pd.Series(["09:30", None, "10:00"])).isna().tolist() == [False, True, True]
    impossible = with_times(dates, pd.Series(["13:77 PM", "9:30 PM", "10:00 am"]))
    assert impossible.fillna("").tolist() == ["", "2015-01-05 21:30:00", ""]
    for times in (["soon", "09:30", "10:00"], [None, None, None], ["0.5", "0.6", "0.7"], ["12", "13", "75"]):
        assert with_times(dates, pd.Series(times, dtype="string")) is dates
