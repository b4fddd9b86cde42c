"""Times of day of intraday bars: in UTC, or of an unknown clock."""

import numpy as np
import pandas as pd
import pytest

from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.sources import load_bars

NEW_YORK = pd.date_range("2023-01-03 09:30", periods=1500, freq="30min", tz="America/New_York")
CLOCKS = {
    "offsets": lambda index: index.map(lambda stamp: stamp.isoformat()),
    "epochs": lambda index: index.as_unit("s").asi8,
    "local": lambda index: index.tz_localize(None),
}
UTC = NEW_YORK.tz_convert("UTC").tz_localize(None)


def write(path, dates, seed):
    close = 100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.004, len(dates))))
    prices = {"open": close, "high": close * 1.001, "low": close * 0.999, "close": close, "volume": 1000.0}
    frame = pd.DataFrame({"timestamp": dates, **prices})
    frame.to_csv(path) if path.suffix == ".csv" else frame.to_parquet(path)


@pytest.fixture
def folder(tmp_path):
    """A folder with a file for each given clock, named by it."""

    def make(*clocks, index=NEW_YORK):
        for seed, clock in enumerate(clocks):
            if clock == "parquet":
                write(tmp_path / "parquet.parquet", index, seed)
            else:
                write(tmp_path / f"{clock}.csv", CLOCKS[clock](index), seed)
        return tmp_path

    return make


@pytest.mark.parametrize("clock", ["offsets", "epochs", "parquet", "local"])
def test_times_with_a_zone_are_in_utc_and_data_says_so(folder, clock, capsys):
    (bars,), warnings = load_bars(DataSettings(source="files", data_dir=folder(clock)))
    assert bars.utc == (clock != "local")
    assert bars.index.equals((UTC if bars.utc else CLOCKS["local"](NEW_YORK)).rename("date"))
    assert not any("UTC" in text for text in warnings)
    assert main(["data", "--data-dir", str(folder())]) == 0
    out = capsys.readouterr().out
    assert ("UTC" in out) == bars.utc
    assert "findings" in out.splitlines()[2]  # not cut at 80 columns


def test_files_of_different_clocks_are_a_warning_about_those_without_a_zone(folder):
    every, _ = load_bars(DataSettings(source="files", data_dir=folder("offsets", "local", "epochs")))
    found = {bars.symbol: [each for each in bars.problems if each.rule == "other_clock"] for bars in every}
    assert {symbol: len(problems) for symbol, problems in found.items()} == {"offsets": 0, "local": 1, "epochs": 0}
    (problem,) = found["local"]
    assert problem.severity == "warning"
    assert "epochs, offsets" in problem.finding


def test_daily_bars_have_no_clock(folder):
    days = pd.date_range("2019-01-01 16:00", periods=400, freq="D", tz="America/New_York")
    every, warnings = load_bars(DataSettings(source="files", data_dir=folder("offsets", "local", index=days)))
    assert [bars.utc for bars in every] == [False, False]
    assert not any("UTC" in text for text in warnings)
