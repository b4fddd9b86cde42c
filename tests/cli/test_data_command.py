"""``cnn-lstm-hyperopt data`` shows the bars and their problems, and starts and writes nothing."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from builders.frames import random_frame
from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset


def bars(count=600, start="2012-01-02", freq="B", seed=0, **columns):
    """A random walk whose ranges come in calm and wild stretches."""
    frame = random_frame(count, seed, start, step=freq)
    for name in ("open", "high", "low", "close"):
        frame[name] = 50 * (frame[name] / 50) ** 0.25
    wick = np.where(np.arange(count) % 60 < 30, 1.0, 1.01)
    return frame.assign(high=frame["high"] * wick, low=frame["low"] / wick, **columns)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two valid symbols: daily bars with an adjusted close, and hourly bars."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bars").mkdir()
    daily = bars()
    daily.assign(adj_close=daily["close"] / 2).to_csv(tmp_path / "bars" / "DAY.csv")
    bars(600, "2013-01-01 09:00", "h", seed=1).to_parquet(tmp_path / "bars" / "HOUR.parquet")
    return tmp_path / "bars"


def data(capsys, *arguments, lookback="20"):
    code = cli.main(["data", "--lookback", lookback, "--target", "volatility", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_range_bars_frequency_adjustment_windows_classes_and_dates_are_shown(folder, capsys, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = data(capsys, "--data-dir", folder)
    assert (code, err) == (0, "")
    assert re.search(r"DAY +2012-01-02 +2014-04-18 +600 +daily +none", out)
    assert re.search(r"HOUR +2013-01-01 09:00 +2013-01-26 08:00 +600 +hourly +none", out)
    assert re.findall(r"^Adjusted: .*\((.*)\)$", out, flags=re.MULTILINE) == ["DAY", "HOUR"]
    facts = prepare_dataset(DataSettings(data_dir=folder, lookback=20, target="volatility")).description
    for split in facts["splits"].values():
        shown = (split["first"][:16], f"{split['windows']:,}", *(f"{share:.1%}" for share in split["class_shares"]))
        assert all(each in out for each in shown)
    assert sorted(tmp_path.rglob("*")) == before


def test_findings_are_counted_in_the_table_and_warned_of_once_each(folder, capsys):
    daily = bars(mood=np.random.default_rng(3).normal(size=600))
    daily.iloc[7, 4] = 0.0
    daily.iloc[300:, :4] /= 2
    daily.to_csv(folder / "DAY.csv")
    code, out, _ = data(capsys, "--data-dir", folder, "--symbols", "DAY", "--feature-columns", "mood")
    assert code == 0
    assert "split jump 1, zero volume 1" in " ".join(out.split())
    warnings = [line for line in out.splitlines() if line.startswith("Warning: DAY")]
    assert len(warnings) == 3
    assert len([line for line in warnings if "2013-02-25 (2:1)" in line]) == 1
    assert "range_ratio22, mood" in out  # a column of the user is among the features


def test_an_error_in_one_file_does_not_hide_the_others(folder, capsys):
    (folder / "BAD.csv").write_text("date,open,high,low,close,volume\n2015-01-05,1,0.5,2,1,-1\n2015-01-06,x,1,1,1,1\n")
    (folder / "WORSE.csv").write_text("")
    code, out, err = data(capsys, "--data-dir", folder)
    assert code == 2
    assert re.search(r"DAY +2012-01-02", out)
    assert "HOUR" in out
    head, *lines = err.splitlines()
    assert head.startswith("Error: 3 ")
    expected = (r"BAD.csv.* open .*row 2 \(2015-01-06\)", r"BAD.csv.* volume .*row 1 \(2015-01-05\)", r"WORSE.csv")
    assert all(re.search(*pair) for pair in zip(expected, lines, strict=True))


def test_bad_rows_can_be_dropped_and_too_few_bars_are_shown_before_the_error(folder, capsys):
    faulty = bars()
    faulty.iloc[5, 1] = 1.0
    faulty.to_csv(folder / "DAY.csv")
    assert data(capsys, "--data-dir", folder)[0] == 2
    for lookback, expected in (("20", 0), ("5000", 2)):
        code, out, err = data(capsys, "--data-dir", folder, "--on-bad-bars", "drop", lookback=lookback)
        assert (code, err.count("Error: ")) == (expected, expected // 2)
        assert re.search(r"DAY +2012-01-02 +2014-04-18 +599 +daily +high", out)
        assert "row 6 (2012-01-09)" in out


def test_settings_come_from_the_config_file_where_there_is_no_flag(folder, capsys, tmp_path):
    settings = f"{{data_dir: {folder}, symbols: [DAY], target: direction, lookback: 30, cv_folds: 3}}"
    (tmp_path / "my.yaml").write_text(f"data: {settings}\n")
    assert cli.main(["data", "--config", "my.yaml"]) == 0
    out = capsys.readouterr().out
    assert "HOUR" not in out
    assert re.search(r"direction .* horizon 1, lookback 30(.|\n)*3 folds", out)


MINUTES = 5_000_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.thorough
def test_five_million_minute_bars_are_read_and_checked_within_two_gigabytes(tmp_path):
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 3e-4, MINUTES)))
    open_ = np.concatenate(([100.0], close[:-1]))
    stamps = pd.date_range("2005-01-03 09:30", periods=MINUTES, freq="min", name="date")
    with (tmp_path / "MINUTE.csv").open("w") as file:
        for start in range(0, MINUTES, 500_000):
            part = slice(start, start + 500_000)
            o, c = open_[part], close[part]
            table = {"open": o, "high": np.maximum(o, c) * 1.0002, "low": np.minimum(o, c) * 0.9998, "close": c}
            frame = pd.DataFrame(table, index=stamps[part]).round(5).assign(volume=rng.integers(1, 100_000, len(o)))
            frame.to_csv(file, header=start == 0)
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", "data", "--data-dir", str(tmp_path)]
    script = (
        f"import resource, subprocess\nsubprocess.run({command!r}, check=True)\n"
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"MINUTE +2005-01-03 09:30:00 .* {MINUTES:,} +every minute", done.stdout)
    assert int(done.stdout.split("peak ")[-1]) * 1024 < 2e9
