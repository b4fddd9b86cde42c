"""``cnn-lstm-hyperopt data`` shows the bars and their problems, and starts and writes nothing."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from cnn_lstm_hyperopt import cli
from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset


def bars(count, start="2012-01-02", freq="B", seed=0, **columns):
    """Valid bars with calm and volatile stretches."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.005, count)))
    open_ = close * np.exp(rng.normal(0, 0.002, count))
    wick = np.exp(np.abs(rng.normal(0, 0.002, count)) + np.where(np.arange(count) % 60 < 30, 0.002, 0.01))
    return pd.DataFrame(
        {
            "open": open_,
            "high": np.maximum(open_, close) * wick,
            "low": np.minimum(open_, close) / wick,
            "close": close,
            "volume": rng.integers(1000, 9999, count).astype(float),
            **columns,
        },
        index=pd.date_range(start, periods=count, freq=freq, name="date"),
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two valid symbols: daily bars with an adjusted close, and hourly bars."""
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "bars"
    place.mkdir()
    daily = bars(600)
    daily.assign(adj_close=daily["close"] / 2).to_csv(place / "DAY.csv")
    bars(600, "2013-01-01 09:00", "h", seed=1).to_parquet(place / "HOUR.parquet")
    return place


def data(capsys, *arguments, lookback="20"):
    code = cli.main(["data", "--lookback", lookback, "--target", "volatility", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err


def test_range_bars_frequency_adjustment_windows_classes_and_dates_are_shown(folder, capsys, tmp_path):
    before = sorted(tmp_path.rglob("*"))
    code, out, err = data(capsys, "--data-dir", folder)
    assert (code, err) == (0, "")
    assert re.search(r"DAY +2012-01-02 +2014-04-18 +600 +daily +none", out)
    assert re.search(r"HOUR +2013-01-01 09:00:00 +2013-01-26 08:00:00 +600 +hourly +none", out)
    assert len(re.findall(r"^Adjusted: .*\((?:DAY|HOUR)\)", out, re.MULTILINE)) == 2
    facts = prepare_dataset(DataSettings(data_dir=folder, lookback=20, target="volatility")).description
    for name, split in facts["splits"].items():
        assert re.search(rf"{split['first'][:16]} to", out), name
        assert f"{split['windows']:,}" in out
        for share in split["class_shares"]:
            assert f"{share:.1%}" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_findings_are_counted_in_the_table_and_warned_of(folder, capsys):
    daily = bars(600)
    daily.iloc[7, 4] = 0.0
    daily.iloc[300:, :4] /= 2
    daily.to_csv(folder / "DAY.csv")
    code, out, _ = data(capsys, "--data-dir", folder, "--symbols", "DAY")
    assert code == 0
    assert "unadjusted 1, split jump 1, zero volume 1" in " ".join(out.split())
    assert "2013-02-25 (2:1)" in out
    assert out.count("Warning: DAY") == 3


def test_an_error_in_one_file_does_not_hide_the_others(folder, capsys):
    (folder / "BAD.csv").write_text("date,open,high,low,close,volume\n2015-01-05,1,0.5,2,1,-1\n2015-01-06,x,1,1,1,1\n")
    (folder / "WORSE.csv").write_text("")
    code, out, err = data(capsys, "--data-dir", folder)
    assert code == 2
    assert re.search(r"DAY +2012-01-02", out)
    assert "HOUR" in out
    head, *lines = err.splitlines()
    assert head.startswith("Error: 3 ")
    assert "BAD.csv): open must hold numbers, not text, but row 2 (2015-01-06) has 'x'" in lines[0]
    assert "BAD.csv): volume must be 0 or more, but row 1 (2015-01-05) has -1" in lines[1]
    assert "WORSE.csv): is empty" in lines[2]


def test_bad_rows_can_be_dropped(folder, capsys):
    faulty = bars(600)
    faulty.iloc[5, 1] = 1.0
    faulty.to_csv(folder / "DAY.csv")
    assert data(capsys, "--data-dir", folder)[0] == 2
    code, out, _ = data(capsys, "--data-dir", folder, "--on-bad-bars", "drop")
    assert code == 0
    assert re.search(r"DAY +2012-01-02 +2014-04-18 +599 +daily +high", out)
    assert "row 6 (2012-01-09)" in out


def test_own_columns_are_named_among_the_features(folder, capsys):
    bars(600, mood=np.random.default_rng(3).normal(size=600)).to_csv(folder / "DAY.csv")
    code, out, err = data(capsys, "--data-dir", folder, "--symbols", "DAY", "--feature-columns", "mood")
    assert (code, err) == (0, "")
    assert "signed_volume20, mood" in out


def test_bars_that_are_too_few_are_shown_before_the_error(folder, capsys):
    code, out, err = data(capsys, "--data-dir", folder, lookback="5000")
    assert code == 2
    assert re.search(r"DAY +2012-01-02", out)
    assert err.startswith("Error: ")


def test_the_config_file_applies(folder, capsys, tmp_path):
    (tmp_path / "my.yaml").write_text(
        f"data: {{data_dir: {folder}, symbols: [DAY], target: direction, lookback: 30, cv_folds: 3}}\n"
    )
    assert cli.main(["data", "--config", "my.yaml"]) == 0
    out = capsys.readouterr().out
    assert "HOUR" not in out
    assert "Target direction (down or flat, up), horizon 1, lookback 30" in out
    assert "3 folds, expanding" in out


def test_findings_go_into_the_description_of_a_dataset_without_changing_its_hash(folder):
    settings = DataSettings(data_dir=folder, symbols=("DAY",), lookback=20, target="volatility")
    plain = prepare_dataset(settings)
    lines = (folder / "DAY.csv").read_text().splitlines()
    (folder / "DAY.csv").write_text("\n".join([lines[0], *lines[:0:-1]]))
    turned = prepare_dataset(settings)
    assert plain.description["symbols"]["DAY"]["problems"] == []
    (problem,) = turned.description["symbols"]["DAY"]["problems"]
    assert (problem["rule"], problem["severity"]) == ("unsorted", "warning")
    assert turned.description["sha256"] == plain.description["sha256"]
    assert "were chosen today" in plain.description["survivorship"]
    json.dumps(turned.description, allow_nan=False)


MINUTES = 5_000_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.thorough
def test_five_million_minute_bars_are_read_and_checked_within_two_gigabytes(tmp_path):
    rng = np.random.default_rng(0)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 3e-4, MINUTES)))
    open_ = np.concatenate(([100.0], close[:-1]))
    with (tmp_path / "MINUTE.csv").open("w") as file:
        stamps = pd.date_range("2005-01-03 09:30", periods=MINUTES, freq="min", name="date")
        for start in range(0, MINUTES, 500_000):
            part = slice(start, start + 500_000)
            o, c = open_[part], close[part]
            table = {"open": o, "high": np.maximum(o, c) * 1.0002, "low": np.minimum(o, c) * 0.9998, "close": c}
            frame = pd.DataFrame(table, index=stamps[part]).round(5).assign(volume=rng.integers(1, 100_000, len(o)))
            frame.to_csv(file, header=start == 0)
    began = time.monotonic()
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", "data", "--data-dir", str(tmp_path)]
    script = f"import resource, subprocess; p = subprocess.run({command!r}, check=True);" + (
        "print('peak', resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout.split("peak ")[-1]) * 1024
    seconds = time.monotonic() - began
    print(f"{MINUTES:,} bars: {seconds:.1f} s, {peak / 1e9:.2f} GB at most")
    assert re.search(rf"MINUTE +2005-01-03 09:30:00 .* {MINUTES:,} +every minute", done.stdout)
    assert peak < 2e9
