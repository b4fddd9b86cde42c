"""What do the data checks find? Findings on real bars, and the share of the errors found that are written into real bars.

Real bars: the seven embedded symbols, read like files, and the 15-minute bars of BTC-USD of the tests, also as hourly bars.
Errors: an unadjusted split of each ratio at a random day of an embedded symbol; a copy of a random stretch of 150 bars of a
symbol, multiplied by a random factor, in the bars of another symbol, whose prices are then rounded.

    python benchmarks/evaluation_checks.py
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt.config import DataSettings
from cnn_lstm_hyperopt.data.bars import Bars, normalise_bars
from cnn_lstm_hyperopt.data.problems import Findings
from cnn_lstm_hyperopt.data.sources import load_bars
from cnn_lstm_hyperopt.data.validation.copies import find_copies
from cnn_lstm_hyperopt.data.validation.plausibility import SPLITS, hole_problem, look_for_splits
from cnn_lstm_hyperopt.utils.rng import stream

AROUND = 70
BTC = Path(__file__).parents[1] / "tests" / "bars" / "BTC-USD-15-MIN.parquet"
PRICES = ["open", "high", "low", "close"]


def findings(name: str, table: pd.DataFrame) -> str:
    """Return a row of the table: symbol, number of bars, all findings."""
    bars = normalise_bars(name, table, name, on_bad_bars="drop")
    hole = hole_problem(name, bars.index, 10.0)
    problems = [each for each in [*bars.problems, *([] if hole is None else [hole])] if each.rule != "unadjusted"]
    return f"| {name} | {len(table):,} | {'; '.join(each.finding for each in problems) or 'none'} |"


def split_is_found(bars: Bars, day: int, factor: float) -> bool | None:
    """Return whether a split before the bar ``day`` is found; None: a jump is found without the split."""
    part = bars.frame.iloc[day - AROUND : day + AROUND].copy()
    found = Findings("", "")
    look_for_splits(found, part)
    if found.problems:
        return None
    factors = np.where(np.arange(2 * AROUND) < AROUND, 1.0, factor)
    part[PRICES] = part[PRICES].mul(factors, axis=0)
    part["volume"] /= factors
    look_for_splits(found, part)
    return bool(found.problems)


def splits(every: list[Bars], days: int) -> None:
    """Print the share of splits found for each ratio."""
    print("\n| ratio | splits found | reverse splits found |\n|---|---|---|")
    for ratio, text in SPLITS.items():
        shares = []
        for factor in (1 / ratio, ratio) if text.endswith(":1") else (1 / ratio,):
            rng = stream(0, round(1_000 * ratio), "splits")
            places = [(each, day) for each in every for day in rng.integers(AROUND, len(each.frame) - AROUND, days)]
            found = [split_is_found(each, day, factor) for each, day in places]
            shares.append(f"{np.mean([each for each in found if each is not None]):.0%}")
        print(f"| {text} | {' | '.join([*shares, '–'][:2])} |")


def copies(every: list[Bars], days: int) -> None:
    """Print the share of copied stretches found, and the number of symbols found without a copy."""
    rng = stream(0, 0, "copies")
    closes = [each.frame["close"].to_numpy() for each in every]
    print(f"\nEmbedded symbols with the same returns: {len(find_copies(closes))}")
    for digits in (None, 4, 2):
        found = []
        for _ in range(20 * days):
            one, two = rng.choice(len(closes), 2, replace=False)
            begin, place = (int(rng.integers(0, len(closes[each]) - 150)) for each in (one, two))
            stretch = closes[one][begin : begin + 150] * rng.uniform(0.3, 30)
            changed = [each.copy() for each in closes]
            changed[two][place : place + 150] = stretch
            if digits is not None:
                changed[two] = np.maximum(changed[two].round(digits), 10.0**-digits)
            found.append(bool(find_copies(changed)))
        print(f"Copied stretches of 150 bars found, {digits or 'all'} digits: {np.mean(found):.0%} of {len(found)}")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=25, help="random days per symbol and ratio")
    options = parser.parse_args()
    every, _ = load_bars(DataSettings(source="embedded"))
    print("| bars | rows | findings |\n|---|---|---|")
    for each in every:
        print(findings(each.symbol, each.frame.reset_index()))
    quarter = pd.read_parquet(BTC)
    print(findings("BTC-USD, 15 minutes", quarter))
    clean = normalise_bars("BTC", quarter, "", on_bad_bars="drop").frame
    kinds = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    print(findings("BTC-USD, hourly", clean.resample("h").agg(kinds).dropna().reset_index()))
    splits(every, options.days)
    copies(every, options.days)


if __name__ == "__main__":
    main()
