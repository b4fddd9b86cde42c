"""Measure updates on synthetic bars: is a planted change found and learned, and does a market without a change cause no harm?

Each seed makes daily bars of five independent symbols. The next return has the sign of the last return with probability 0.62.
After the planted change it has the opposite sign with this probability. A study of 700 bars trains one small model. Then:

- change: 200 bars as before, then the change. ``update`` runs every 100 bars. Reported are the bars from the change to the first
  report of drift, and the share of the lost accuracy that the version of 500 bars after the change has recovered on the next
  400 bars. The lost accuracy is that of the version that served at the change.
- no change: 1,000 bars as before, in two runs: one only measures every 100 bars, one updates every 500 bars. Reported are the
  false alarms, and the accuracy of the updated model minus that of version 1 on 400 later bars, with its 95 % interval.

Run: ``python benchmarks/updates.py --seeds 5``.
"""

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt import load_model, run_cnn_lstm_hyperparameter_optimization, update_model
from cnn_lstm_hyperopt.evaluation import baselines
from cnn_lstm_hyperopt.evaluation.bootstrap import mean_interval

SYMBOLS = ("A", "B", "C", "D", "E")
STUDY, BEFORE, AFTER, LATER, CALM = 700, 200, 500, 400, 1_000
"""Numbers of bars: of the study, before the change, after it with updates, after the last update, and without a change."""
STEP = 100
OBEYS = 0.62
CONFIG = {
    "workers": 1,
    "study": {"n_trials": 1, "portfolio": False},
    "data": {"target": "direction", "lookback": 10, "train_share": 1.0},
    "training": {"max_epochs": 15},
    "sampler": {"type": "random"},
    "pruner": {"type": "none"},
    "mlflow": {"enabled": False},
    "report": False,
    "retrain": {"top_k": 1, "full_epochs": 15, "confirm_seeds": 1, "seeds": 1},
    "search_space": {
        "cnn": {
            "num_filters": {"fixed": 8},
            "filter_sizes": [[3]],
            "dropout": 0.0,
            "attention": False,
            "residual": False,
        },
        "lstm": {
            "hidden_dim": {"fixed": 8},
            "num_layers": 1,
            "dropout": 0.0,
            "bidirectional": False,
            "attention": False,
        },
        "fusion": {"method": "concatenation", "dim": {"fixed": 8}, "dropout": 0.0},
        "training": {"learning_rate": {"fixed": 0.01}, "batch_size": {"fixed": 128}, "optimizer": "adam"},
    },
}
"""Settings of a study of one small configuration, so that five seeds take a few minutes of one core."""


def market(seed: int, future: int, change: int | None, bars: int) -> dict[str, pd.DataFrame]:
    """Return the bars of all symbols.

    Args:
        seed: seed of the bars of the study.
        future: seed of the later bars.
        change: bar from which the next return has the opposite sign; None: no change.
        bars: number of bars.
    """
    dates = pd.bdate_range("2000-01-03", periods=bars)
    tables = {}
    for number, symbol in enumerate(SYMBOLS):
        past, later = np.random.default_rng([seed, number]), np.random.default_rng([seed, number, future])
        drawn = np.concatenate([past.random((STUDY, 3)), later.random((bars - STUDY, 3))])
        obeys, size, noise = drawn.T
        follows = np.where(obeys < OBEYS, 1.0, -1.0)
        if change is not None:
            follows[change:] *= -1
        returns = np.cumprod(follows) * (0.004 + 0.01 * size)
        close = 100 * np.exp(np.cumsum(returns))
        opened = np.concatenate([[100.0], close[:-1]])
        high, low = np.maximum(opened, close) * (1 + 0.003 * noise), np.minimum(opened, close) * (1 - 0.003 * noise)
        columns = {"date": dates, "open": opened, "high": high, "low": low, "close": close, "volume": 1e6 * (1 + noise)}
        tables[symbol] = pd.DataFrame(columns)
    return tables


def until(tables: dict[str, pd.DataFrame], bars: int) -> dict[str, pd.DataFrame]:
    """Return the first bars of each table."""
    return {symbol: table.iloc[:bars] for symbol, table in tables.items()}


def study(folder: Path, seed: int) -> Path:
    """Train a model on the bars of the study. Return its folder."""
    bars = folder / "bars"
    bars.mkdir(parents=True)
    for symbol, table in market(seed, 0, None, STUDY).items():
        table.to_csv(bars / f"{symbol}.csv", index=False)
    config = {**CONFIG, "data": {**CONFIG["data"], "data_dir": str(bars)}}
    run_cnn_lstm_hyperparameter_optimization(save_dir=folder / "results", config=config, quiet=True)
    return folder / "results" / "retrained_model_1"


def hits(model: Any, tables: dict[str, pd.DataFrame], first: int) -> pd.Series:
    """Return for each window from bar ``first`` on whether the model is right, by symbol and date."""
    found = []
    for symbol, table in model.predict(tables).groupby("symbol"):
        close = tables[str(symbol)].set_index("date")["close"]
        rises = (close.shift(-1) > close).astype(int)[:-1].iloc[first:]
        predicted = table.set_index("date")["class"]
        right = (predicted == rises.reindex(predicted.index)).loc[predicted.index.isin(rises.index)].astype(float)
        found.append(pd.concat({symbol: right}))
    return pd.concat(found)


def is_alarm(event: dict[str, Any]) -> bool:
    """Return True if an update reported drift."""
    return bool(event["drift"]["errors"]["changes"] or event["drift"]["features"]["changed"])


def copied(model: Path, place: Path) -> Path:
    """Copy a study; return the folder of its model."""
    return Path(shutil.copytree(model.parent, place)) / model.name


def with_change(model: Path, seed: int, policy: str) -> dict[str, Any]:
    """Update the model every 100 bars through a planted change. Return the delay of the first alarm and the recovery."""
    change = STUDY + BEFORE
    tables = market(seed, 1, change, change + AFTER + LATER)
    delay, at_change, accepted = None, load_model(model), 0
    for bars in range(STUDY + STEP, change + AFTER + 1, STEP):
        event = update_model(model, until(tables, bars), policy=policy).event
        accepted += event["version"] is not None
        if is_alarm(event) and bars > change and delay is None:
            delay = bars - change
        if bars == change:
            at_change = load_model(model)
    before = hits(at_change, until(market(seed, 1, None, change + LATER), change + LATER), change).mean()
    lost, recovered = (hits(each, tables, change + AFTER).mean() for each in (at_change, load_model(model)))
    return {
        "delay": delay,
        "accuracy_before": before,
        "accuracy_lost": lost,
        "accuracy_updated": recovered,
        "recovered": (recovered - lost) / (before - lost),
        "accepted": accepted,
    }


def without_change(model: Path, seed: int, future: int, policy: str, step: int) -> dict[str, Any]:
    """Update the model on bars without a change. Return the alarms, and the gain of the updates with its interval."""
    tables = market(seed, future, None, STUDY + CALM + LATER)
    alarms = 0
    for bars in range(STUDY + step, STUDY + CALM + 1, step):
        alarms += is_alarm(update_model(model, until(tables, bars), policy=policy).event)
    ours, first = (hits(load_model(model, tested=tested), tables, STUDY + CALM) for tested in (False, True))
    gain = ours - first
    interval = mean_interval(gain.to_numpy(), gain.index.get_level_values(1).to_numpy())
    return {"alarms": alarms, "gain": gain.mean(), "gain_interval": None if interval is None else list(interval)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--policies", nargs="+", default=["refit"])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    quick = {name: baselines.BASELINES[name] for name in ("majority class", "persistence")}
    baselines.BASELINES = quick  # the verdict of the study is not used
    rows: list[dict[str, Any]] = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        with tempfile.TemporaryDirectory() as name:
            folder, begun = Path(name), time.process_time()
            model = study(folder / "study", seed)
            row: dict[str, Any] = {"seed": seed}
            for policy in arguments.policies:
                row[policy] = with_change(copied(model, folder / policy), seed, policy)
            row["measured"] = without_change(copied(model, folder / "measured"), seed, 2, "none", STEP)
            row["updated"] = without_change(copied(model, folder / "updated"), seed, 3, "refit", 5 * STEP)
            row["cpu_seconds"] = time.process_time() - begun
            rows.append(row)
            print(json.dumps(row, default=float), flush=True)
    if arguments.output:
        arguments.output.write_text(json.dumps(rows, indent=2, default=float) + "\n", encoding="utf-8")
    alarms = [row[name]["alarms"] for row in rows for name in ("measured", "updated")]
    print(f"runs without a change that report drift: {sum(map(bool, alarms))} of {len(alarms)}")
    for policy in arguments.policies:
        delays = [row[policy]["delay"] for row in rows]
        shares = [row[policy]["recovered"] for row in rows]
        print(f"{policy}: bars to the first report {delays}; recovered {np.round(shares, 2).tolist()}")


if __name__ == "__main__":
    main()
