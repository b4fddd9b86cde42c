"""Whole runs of the command line on people's kinds of bars, each to its verdict."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource

pytestmark = pytest.mark.slow
BITCOIN = Path(__file__).parent / "bars" / "BTC-USD-15-MIN.parquet"


def hourly(offset: str) -> pd.DataFrame:
    """Hourly bars of the real 15-minute bars; another offset from the full hour gives another series of the same market."""
    bars = pd.read_parquet(BITCOIN).set_index("Datetime")
    how = {"Open": "first", "High": "max", "Low": "min", "Close": "last", "Volume": "sum"}
    return bars.resample("1h", offset=offset).agg(how).dropna()


def daily(symbol: str) -> pd.DataFrame:
    (bars,), _ = EmbeddedSource().load([symbol], None, None)
    return bars.frame


@pytest.fixture
def run(tiny: dict[str, Any], tmp_path: Path, start_cli):
    """``run(frames, settings of data, *flags)``: writes the files, runs the command, returns exit code, output and results."""

    def run(frames: dict[str, pd.DataFrame], data: dict[str, Any], *flags: str):
        folder = tmp_path / "bars"
        folder.mkdir()
        for symbol, frame in frames.items():
            frame.to_csv(folder / f"{symbol}.csv")
        settings = {
            **tiny,
            "data": {"data_dir": str(folder), "target": "volatility", "lookback": 10, **data},
            "training": {"max_epochs": 6, "min_patience": 3},
            "retrain": {"top_k": 2, "full_epochs": 3, "confirm_seeds": 2, "seeds": 3},
        }
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        process = start_cli("run", "--config", file, "--n-trials", "12", "--retrain-best", *flags)
        output, errors = process.communicate(timeout=600)
        results = json.loads((Path(tiny["save_dir"]) / "results.json").read_text(encoding="utf-8"))
        return process.returncode, output + errors, results

    return run


def assert_verdict(code: int, output: str, results: dict[str, Any]) -> None:
    """A run that ends with a verdict, said and stored."""
    assert code == 0, output
    verdict = results["verdict"]
    assert verdict["sentence"].startswith("Model 1 has ")
    assert f"Verdict: {verdict['grade']}" in output
    assert verdict["sentence"] in " ".join(output.split())
    low, high = verdict["difference_interval"]
    assert verdict["skill"] is all(each["interval"][0] > 0 for each in verdict["comparisons"])
    assert low <= verdict["difference"] <= high
    assert len(results["retrained_models"][0]["seeds"]) == 3
    assert results["confirmation"]["seeds"] == 2
    assert len(results["test_openings"]) == 1


def test_two_symbols_of_hourly_bars(run):
    code, output, results = run({"BTC": hourly("0min"), "BTC-HALF": hourly("30min")}, {}, "--workers", "1")
    assert_verdict(code, output, results)
    assert [row["group"] for row in results["retrained_models"][0]["test_metrics"]["by_symbol"]] == ["BTC", "BTC-HALF"]


@pytest.mark.thorough
def test_one_symbol_of_daily_bars_with_three_folds_and_two_workers(run, tiny):
    code, output, results = run({"MSFT": daily("MSFT")}, {}, "--cv-folds", "3", "--workers", "2")
    assert_verdict(code, output, results)
    facts = json.loads((Path(tiny["save_dir"]) / "data.json").read_text(encoding="utf-8"))
    assert len(facts["folds"]) == 3
    (stored, *_) = sorted((Path(tiny["save_dir"]) / "validation").glob("*.parquet"))
    assert set(pd.read_parquet(stored)["fold"]) == {1, 2, 3}


def test_an_own_feature_column_is_an_input(run, tiny):
    frame = daily("IBM")
    quiet = np.log(frame["high"] / frame["low"]).rolling(5).mean().rename("calm")
    code, output, results = run({"IBM": frame.join(quiet)}, {}, "--feature-columns", "calm", "--workers", "1")
    assert_verdict(code, output, results)
    about = json.loads((Path(tiny["save_dir"]) / "retrained_model_1" / "model.json").read_text(encoding="utf-8"))
    assert about["features"][-1] == "calm"
    assert len(about["features"]) == 12


def test_a_column_that_knows_tomorrow_is_refused_with_one_line(run, tiny):
    frame = daily("IBM")
    tomorrow = np.log(frame["close"].shift(-1) / frame["close"]).rename("edge")
    with pytest.raises(FileNotFoundError):  # nothing was begun, so there are no results
        run({"IBM": frame.join(tomorrow)}, {}, "--feature-columns", "edge", "--workers", "1")
