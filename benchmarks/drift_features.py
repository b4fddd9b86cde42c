"""Level of the feature tests of ``update``: share of runs without a change in which a feature seems to have changed.

A run has daily bars of five independent symbols: a study and 1,000 later bars. The features are tested every 100 bars, as in a
sequence of updates that keep version 1. No network is trained. The markets are that of ``benchmarks/updates.py`` (``momentum``)
and one whose log volatility is an autoregression with the coefficient 0.97 (``volatility``).

    python benchmarks/drift_features.py --runs 100 --first 1000
"""

import argparse
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.labels import labeller
from cnn_lstm_hyperopt.data.own_features import BUILT_IN
from cnn_lstm_hyperopt.data.update_split import newest
from cnn_lstm_hyperopt.data.window_table import window_table
from cnn_lstm_hyperopt.pipeline.updates.drift import feature_drift
from machine import machine_line
from updates import CALM, CONFIG, STEP, STUDY, SYMBOLS, market

STUDY_BARS = {"momentum": STUDY, "volatility": 1_000}
PERSISTENCE, DEVIATION = 0.97, 0.4
"""Coefficient and standard deviation of the log volatility."""


def volatile(seed: int, bars: int) -> dict[str, pd.DataFrame]:
    """Return bars of independent symbols whose volatility changes slowly."""
    dates, tables = pd.bdate_range("2000-01-03", periods=bars), {}
    for number, symbol in enumerate(SYMBOLS):
        random = np.random.default_rng([seed, number, 77])
        level = np.zeros(bars)
        for day, shock in enumerate(random.normal(size=bars)):
            level[day] = PERSISTENCE * level[day - 1] + math.sqrt(1 - PERSISTENCE**2) * DEVIATION * shock
        scale = np.exp(level)
        close = 100 * np.exp(np.cumsum(0.01 * scale * random.normal(size=bars)))
        opened, reach = np.concatenate([[100.0], close[:-1]]), np.abs(random.normal(size=bars)) * 0.004 * scale
        high, low = np.maximum(opened, close) * (1 + reach), np.minimum(opened, close) * (1 - reach)
        columns = {"date": dates, "open": opened, "high": high, "low": low, "close": close, "volume": 1e6 * (1 + reach)}
        tables[symbol] = pd.DataFrame(columns)
    return tables


def changed(tables: dict[str, pd.DataFrame], study: int) -> Iterator[list[str]]:
    """Yield the features that each test finds changed. The study's bars are divided 70 / 15 / 15."""
    lookback: int = CONFIG["data"]["lookback"]
    settings = load_settings({"data": {"source": "embedded", "lookback": lookback}}, environment={}).data
    every = [normalise_bars(*each, "the simulation", on_bad_bars="error", columns=()) for each in tables.items()]
    table = window_table(every, settings, labeller(settings), BUILT_IN)
    ends = tables[SYMBOLS[0]]["date"].to_numpy().astype("datetime64[ns]")
    known = np.sort(table.dates[table.reach <= ends[study - 1]])
    train_end, seen_until = (known[int(share * len(known))] for share in (0.7, 0.85))
    rolling = len(np.unique(known[known < train_end]))
    reference = newest(table.dates, table.dates < seen_until, rolling)
    for test, bars in enumerate(range(study + STEP, study + CALM + 1, STEP), start=1):
        recent = np.flatnonzero((table.reach <= ends[bars - 1]) & (table.dates >= seen_until))
        found: dict[str, Any] = feature_drift(
            table, reference, recent, lookback=lookback, names=BUILT_IN.names, test=test
        )
        yield [each["feature"] for each in found["changed"] or ()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="number of runs of each market")
    parser.add_argument("--first", type=int, default=1_000, help="first seed")
    chosen = parser.parse_args()
    print(machine_line())
    for name, study in STUDY_BARS.items():
        alarms, features = 0, Counter[str]()
        for seed in range(chosen.first, chosen.first + chosen.runs):
            bars = study + CALM
            tables = market(seed, 2, None, bars) if name == "momentum" else volatile(seed, bars)
            found = {feature for each in changed(tables, study) for feature in each}
            alarms += bool(found)
            features.update(found)
        print(
            f"{name}: runs with an alarm {alarms} of {chosen.runs}; features {dict(features.most_common())}", flush=True
        )


if __name__ == "__main__":
    main()
