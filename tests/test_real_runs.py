"""Runs of the command line on several kinds of user data, each to its verdict."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource

pytestmark = pytest.mark.slow
BITCOIN = Path(__file__).parent / "bars" / "BTC-USD-15-MIN.parquet"


def hourly(offset: str) -> pd.DataFrame:
    """Hourly bars of the real 15-minute bars; each offset gives another series of the same market."""
    bars = pd.read_parquet(BITCOIN).set_index("Datetime")
    how = {"Open": "first", "High": "max", "Low": "min", "Close": "last", "Volume": "sum"}
    return bars.resample("1h", offset=offset).agg(how).dropna()


def daily(symbol: str) -> pd.DataFrame:
    (bars,), _ = EmbeddedSource().load([symbol], None, None)
    return bars.frame


@pytest.fixture
def start(tiny: dict[str, Any], tmp_path: Path, start_cli):
    """Writes the frames and runs the command on them; returns exit code, output and directory."""

    def start(frames: dict[str, pd.DataFrame], *flags: str):
        folder = tmp_path / "bars"
        folder.mkdir()
        for symbol, frame in frames.items():
            frame.to_csv(folder / f"{symbol}.csv")
        settings = {
            **tiny,
            "data": {"data_dir": str(folder), "target": "volatility", "lookback": 10},
            "training": {"max_epochs": 6, "min_patience": 3},
            "retrain": {"top_k": 2, "full_epochs": 3, "confirm_seeds": 2, "seeds": 3},
        }
        file = tmp_path / "settings.yaml"
        file.write_text(yaml.safe_dump(settings), encoding="utf-8")
        process = start_cli("run", "--config", file, "--n-trials", "12", "--retrain-best", *flags)
        output, errors = process.communicate(timeout=600)
        return SimpleNamespace(code=process.returncode, output=output + errors, folder=Path(tiny["save_dir"]))

    return start


def json_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def verdict_of(done) -> dict[str, Any]:
    """The results of a run that ends with a consistent verdict, printed and stored."""
    assert done.code == 0, done.output
    results = json_of(done.folder / "results.json")
    verdict = results["verdict"]
    assert verdict["sentence"] in " ".join(done.output.split())
    assert verdict["grade"] in done.output
    low, high = verdict["difference_interval"]
    assert verdict["skill"] is all(each["interval"][0] > 0 for each in verdict["comparisons"])
    assert low <= verdict["difference"] <= high
    assert len(results["retrained_models"][0]["seeds"]) == 3
    assert results["confirmation"]["seeds"] == 2
    assert len(results["test_openings"]) == 1
    return results


def test_two_symbols_of_hourly_bars(start):
    results = verdict_of(start({"BTC": hourly("0min"), "BTC-HALF": hourly("30min")}, "--workers", "1"))
    assert [row["group"] for row in results["retrained_models"][0]["test_metrics"]["by_symbol"]] == ["BTC", "BTC-HALF"]


def test_daily_bars_with_an_own_feature_three_folds_and_two_workers(start):
    frame = daily("MSFT")
    calm = np.log(frame["high"] / frame["low"]).rolling(5).mean().rename("calm")
    done = start({"MSFT": frame.join(calm)}, "--feature-columns", "calm", "--cv-folds", "3", "--workers", "2")
    verdict_of(done)
    features = json_of(done.folder / "retrained_model_1" / "model.json")["features"]
    assert (features[-1], len(features)) == ("calm", 15)
    assert len(json_of(done.folder / "data.json")["folds"]) == 3
    (stored, *_) = sorted((done.folder / "validation").glob("*.parquet"))
    assert set(pd.read_parquet(stored)["fold"]) == {1, 2, 3}


def test_a_column_that_looks_ahead_is_refused(start):
    frame = daily("IBM")
    tomorrow = np.log(frame["close"].shift(-1) / frame["close"]).rename("edge")
    done = start({"IBM": frame.join(tomorrow)}, "--feature-columns", "edge", "--workers", "1")
    assert done.code == 2, done.output
    assert not (done.folder / "results.json").exists()
