"""Networks on bars (target volatility) beside all baselines: log loss, AUC, accuracy, and paired intervals of the log loss.

Each run is a search, a retraining and a walk-forward test. ``five`` and ``seven`` are embedded daily bars, ``hourly`` are the
15-minute bars of BTC of the tests, combined to hours: three months, too few for several periods of 20 days, so their test set is
one period. A gain is the log loss of a baseline minus the log loss of model 1.

    python benchmarks/bars.py --sets five seven hourly --trials 30 --seeds 0 1 2
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization
from machine import machine_line

ROOT = Path(__file__).parents[1]
MINUTES = ROOT / "tests" / "bars" / "BTC-USD-15-MIN.parquet"
SYMBOLS = {
    "five": ("AAPL", "AMZN", "IBM", "MSFT", "NVDA"),
    "seven": ("AAPL", "AMZN", "GOOGL", "IBM", "MSFT", "NVDA", "TSLA"),
}
SETS = (*SYMBOLS, "hourly")
PROFILE: dict[str, Any] = {
    "retrain": {"top_k": 1, "confirm_seeds": 1},
    "study": {"time_objective": "estimated"},
    "workers": 1,
    "mlflow": {"enabled": False},
}
"""What differs from the default settings."""
SCORES = ("test_log_loss", "test_auc", "test_class_acc")


def hourly_bars(minutes: pd.DataFrame) -> pd.DataFrame:
    """Hours of 15-minute bars with a column date; an hour without bars is left out."""
    frame = minutes.set_index(pd.to_datetime(minutes["date"])).drop(columns="date")
    rules = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    hours = frame.resample("h").agg(rules).dropna(subset=["close"])
    return hours.rename_axis("date").reset_index()


def data_of(which: str, folder: Path, symbols: Sequence[str] | None) -> dict[str, Any]:
    """The section ``data`` of a set; the hourly bars are written into the folder."""
    if which != "hourly":
        return {"source": "embedded", "symbols": list(symbols or SYMBOLS[which]), "target": "volatility"}
    bars = folder / "hourly_bars"
    bars.mkdir(exist_ok=True)
    hourly_bars(with_date(pd.read_parquet(MINUTES))).to_parquet(bars / "BTC.parquet")
    return {"data_dir": str(bars), "target": "volatility"}


def with_date(frame: pd.DataFrame) -> pd.DataFrame:
    """The bars with lower-case columns, and their dates in the column ``date``."""
    plain = frame if frame.index.name is None else frame.reset_index()
    plain = plain.rename(columns=lambda name: str(name).lower())
    return plain.rename(columns={name: "date" for name in ("datetime", "timestamp") if name in plain})


def search(data: dict[str, Any], folder: Path, chosen: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The results of one whole run; bars of a folder are the hourly ones, whose test set is one period."""
    study = {**PROFILE["study"], "seed": seed}
    evaluation = {"test_periods": 1 if "data_dir" in data else chosen.periods, "baselines": chosen.baseline}
    return run_cnn_lstm_hyperparameter_optimization(
        n_trials=chosen.trials,
        save_dir=folder,
        config={**PROFILE, "data": data, "study": study, "evaluation": evaluation},
        quiet=True,
    )


def spread(values: Sequence[float | None]) -> str:
    """Mean over the seeds and, in brackets, the lowest and the highest."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    ends = f" ({min(known):.4f} to {max(known):.4f})" if len(known) > 1 else ""
    return f"{np.mean(known):.4f}{ends}"


def rows(which: str, runs: Sequence[dict[str, Any]]) -> list[str]:
    """A line for model 1, for the ensemble and for each baseline of a set."""
    entries: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        named = [("model 1", run["retrained_models"][0]), *((each["name"], each) for each in run["baselines"])]
        if run["ensemble"]:
            named.insert(1, ("ensemble", run["ensemble"]))
        for name, entry in named:
            entries.setdefault(name, []).append(entry["test_metrics"])
    gains: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for each in run["verdict"]["comparisons"]:
            gains.setdefault(each["baseline"], []).append(each)
    lines = []
    for name, tested in entries.items():
        compared = [each for each in gains.get(name, ()) if each["interval"] is not None]
        cells = [which, name, *(spread([each[score] for each in tested]) for score in SCORES)]
        if compared:
            intervals = "; ".join(f"{low:+.4f} to {high:+.4f}" for low, high in (each["interval"] for each in compared))
            worse = sum(each["interval"][1] < 0 for each in compared)
            cells += [
                f"{np.mean([each['difference'] for each in compared]):+.4f}",
                intervals,
                f"{worse} of {len(compared)}",
            ]
        else:
            cells += ["", "", ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--symbols", nargs="+", help="embedded symbols in place of those of the sets of daily bars")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2), help="a whole run of each set with each")
    parser.add_argument("--periods", type=int, default=4, help="periods of the walk-forward test")
    parser.add_argument("--baseline", action="append", default=[], help="module:function of a further baseline")
    chosen = parser.parse_args(arguments)
    print(machine_line())
    print(f"python benchmarks/bars.py {' '.join(arguments or sys.argv[1:])}\n")
    print("| set | model | log loss | AUC | accuracy | gain of model 1 | 95 % interval of each seed | seeds worse |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        for which in chosen.sets:
            data = data_of(which, Path(temporary), chosen.symbols)
            runs = [search(data, Path(temporary) / f"{which}_{seed}", chosen, seed) for seed in chosen.seeds]
            print("\n".join(rows(which, runs)), flush=True)
            print(f"{which}: grades {', '.join(str(run['verdict']['grade']) for run in runs)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
