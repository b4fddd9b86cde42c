"""benchmarks/bars.py: hours of 15-minute bars, a line for each model, and a small whole run."""

import numpy as np
import pandas as pd
import pytest

import bars


def test_hours_hold_the_bars_of_their_quarters():
    dates = pd.date_range("2020-01-01", periods=8, freq="15min")
    prices = pd.DataFrame(
        {"date": dates, **{name: np.arange(8.0) for name in ("open", "high", "low", "close", "volume")}}
    )
    hours = bars.hourly_bars(prices.drop(index=[4, 5, 6, 7]).reset_index(drop=True))
    assert hours.iloc[:, 1:].to_numpy().tolist() == [[0, 3, 0, 3, 6]]
    both = bars.hourly_bars(prices)
    assert both["open"].tolist() == [0, 4]
    assert both["volume"].tolist() == [6, 22]


def test_the_bars_of_the_tests_are_read(tmp_path):
    settings = bars.data_of("hourly", tmp_path, None)
    found = pd.read_parquet(tmp_path / "hourly_bars" / "BTC.parquet")
    assert list(found) == ["date", "open", "high", "low", "close", "volume"]
    assert (found["high"] >= found["low"]).all()
    assert settings["data_dir"] == str(tmp_path / "hourly_bars")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_small_run_prints_a_line_for_each_model(monkeypatch, capsys):
    small = {"training": {"max_epochs": 1}, "retrain": {"top_k": 1, "confirm_seeds": 1, "seeds": 1, "full_epochs": 1}}
    monkeypatch.setattr(bars, "PROFILE", {**bars.PROFILE, **small})
    arguments = ["--sets", "five", "--symbols", "TSLA", "--trials", "2", "--seeds", "0", "--periods", "1"]
    assert bars.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("model 1", "majority class", "ridge regression"):
        assert any(line.startswith(f"| five | {name} | ") for line in lines)
