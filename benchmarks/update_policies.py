"""Do updates pay on real bars? ``evaluate --walk-forward K --refit`` on the embedded daily bars of five symbols.

A study of the bars until the end of 2008 trains one model. Then the policies none, finetune and refit are replayed over the dates
from the start of its test set until March 2013. A folder that has the study already is used again.

    python benchmarks/update_policies.py --folder results --target volatility --periods 8
"""

import argparse
import os
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.cli import main as command_line
from cnn_lstm_hyperopt.data.sources.embedded import EmbeddedSource
from machine import machine_line

SYMBOLS = ("AAPL", "AMZN", "IBM", "MSFT", "NVDA")
START, STUDY_END, END = "2000-03-01", "2008-12-31", "2013-03-01"
"""First date of all symbols, last date of the study, and last date of all symbols."""
PROFILE: dict[str, Any] = {
    "retrain": {"top_k": 1, "confirm_seeds": 1},
    "study": {"time_objective": "estimated"},
    "workers": 1,
    "mlflow": {"enabled": False},
    "report": False,
}
"""Settings that differ from the defaults. They are those of benchmarks/bars.py, without a report."""


def study(folder: Path, chosen: argparse.Namespace) -> None:
    """Search and retrain one model on the bars until the end of the study."""
    data = {
        "source": "embedded",
        "symbols": list(SYMBOLS),
        "target": chosen.target,
        "start": START,
        "end": STUDY_END,
    }
    retrain = {**PROFILE["retrain"], "seeds": chosen.networks}
    config = {**PROFILE, "data": data, "study": {**PROFILE["study"], "seed": chosen.seed}, "retrain": retrain}
    run_cnn_lstm_hyperparameter_optimization(n_trials=chosen.trials, save_dir=folder, config=config, quiet=True)


def write_bars(folder: Path) -> None:
    """Write the bars of all symbols until the last common date as CSV files."""
    folder.mkdir(parents=True, exist_ok=True)
    every, _ = EmbeddedSource().load(SYMBOLS, None, None)
    for each in every:
        each.frame.loc[START:END].to_csv(folder / f"{each.symbol}.csv")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder for the study and the bars")
    parser.add_argument("--target", default="volatility", choices=("volatility", "direction"))
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--networks", type=int, default=1, help="number of seeds of the model")
    parser.add_argument("--periods", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    model, bars = chosen.folder / "study" / "retrained_model_1", chosen.folder / "bars"
    print(machine_line())
    if not model.is_dir():
        study(model.parent, chosen)
    write_bars(bars)
    flags = ["--model", str(model), "--data-dir", str(bars), "--walk-forward", str(chosen.periods), "--refit"]
    return command_line(["evaluate", *flags])


if __name__ == "__main__":
    raise SystemExit(main())
