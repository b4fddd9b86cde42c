"""Measure the selection of inputs on planted columns: are useless columns dropped, and does the test log loss stay the same?

Each seed makes daily bars with 20 columns. The next return depends on 5 columns; 15 columns are useless. Seven useless columns
change slowly (autocorrelation 0.97), because such columns look useful by chance more often. One run searches and retrains with
all inputs (``features.select: false``), and another run selects inputs. Networks are small, so that 10 seeds take a few minutes
of one core.

Run: ``python benchmarks/feature_selection.py --seeds 10``.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization

INFORMATIVE, USELESS = 5, 15
BARS = 2_000
STRENGTH = 0.25
"""Correlation of each informative column with the next return."""
SPACE = {
    "cnn": {
        "num_filters": [4, 8],
        "filter_sizes": [[3]],
        "dropout": [0.0, 0.3],
        "attention": False,
        "residual": False,
    },
    "lstm": {
        "hidden_dim": [4, 8],
        "num_layers": 1,
        "dropout": 0.0,
        "bidirectional": False,
        "attention": False,
        "skip_connections": False,
    },
    "fusion": {"method": "concatenation", "dim": [8, 16], "dropout": [0.0, 0.3]},
    "training": {"learning_rate": [1e-3, 1e-2], "batch_size": 128, "optimizer": "adam"},
    "regularization": {"l1_switch": False},
}


def planted_bars(seed: int) -> pd.DataFrame:
    """Return bars with columns ``useful_1`` … ``useful_5`` and ``useless_1`` … ``useless_15``."""
    random = np.random.default_rng(seed)
    useful = random.standard_normal((BARS, INFORMATIVE))
    useless = random.standard_normal((BARS, USELESS))
    walks = slice(0, USELESS // 2)
    for row in range(1, BARS):  # slowly varying columns with standard deviation 1
        useless[row, walks] = 0.97 * useless[row - 1, walks] + np.sqrt(1 - 0.97**2) * useless[row, walks]
    noise = np.sqrt(1 - INFORMATIVE * STRENGTH**2) * random.standard_normal(BARS)
    returns = np.zeros(BARS)
    returns[1:] = 0.01 * (STRENGTH * useful[:-1].sum(axis=1) + noise[1:])
    close = 100 * np.exp(np.cumsum(returns))
    opened = close * np.exp(0.003 * random.standard_normal(BARS))
    spread = np.exp(np.abs(0.004 * random.standard_normal((BARS, 2))))
    frame = pd.DataFrame(
        {
            "date": pd.bdate_range("2005-01-03", periods=BARS),
            "open": opened,
            "high": np.maximum(opened, close) * spread[:, 0],
            "low": np.minimum(opened, close) / spread[:, 1],
            "close": close,
            "volume": np.exp(13 + 0.3 * random.standard_normal(BARS)).round(),
        }
    )
    columns = {f"useful_{k + 1}": useful[:, k] for k in range(INFORMATIVE)}
    columns |= {f"useless_{k + 1}": useless[:, k] for k in range(USELESS)}
    return frame.assign(**columns)


def settings_of(folder: Path, name: str, seed: int, n_trials: int, *, select: bool) -> dict[str, Any]:
    """Return the settings of a run on the bars in ``folder``."""
    columns = [f"useful_{k + 1}" for k in range(INFORMATIVE)] + [f"useless_{k + 1}" for k in range(USELESS)]
    return {
        "data": {"data_dir": str(folder / "bars"), "feature_columns": columns, "target": "direction", "lookback": 6},
        "features": {"select": select},
        "study": {"n_trials": n_trials, "seed": seed},
        "training": {"max_epochs": 8, "min_epoch_steps": 1},
        "retrain": {"enabled": True, "top_k": 1, "seeds": 1, "full_epochs": 12, "confirm_seeds": 1},
        "search_space": SPACE,
        "workers": 1,
        "report": False,
        "mlflow": {"enabled": False},
        "save_dir": str(folder / name),
    }


def measured(seed: int, n_trials: int) -> dict[str, Any]:
    """Run the search of one seed with and without selection. Return the kept columns and the log losses on test."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "bars").mkdir()
        planted_bars(seed).to_csv(folder / "bars" / "PLANTED.csv", index=False)
        found: dict[str, Any] = {"seed": seed}
        for name, select in (("all", False), ("selected", True)):
            begun = time.process_time()
            results = run_cnn_lstm_hyperparameter_optimization(
                config=settings_of(folder, name, seed, n_trials, select=select), quiet=True
            )
            model = results["retrained_models"][0]
            found[f"{name}_log_loss"] = model["test_metrics"]["test_log_loss"]
            found[f"{name}_seconds"] = round(time.process_time() - begun, 1)
        chosen = model["config_params"]
        used = {key.removeprefix("inputs.own.") for key, on in chosen.items() if key.startswith("inputs.own.") and on}
        found |= {
            "useful_kept": sum(each.startswith("useful_") for each in used),
            "useless_dropped": USELESS - sum(each.startswith("useless_") for each in used),
            "applied": results["feature_selection"]["applied"],
        }
    return found


def main() -> None:
    """Run the benchmark and print a line for each seed and the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="number of seeds")
    parser.add_argument("--trials", type=int, default=20, help="trials of each search")
    asked = parser.parse_args()
    rows = []
    for seed in range(asked.seeds):
        rows.append(measured(seed, asked.trials))
        print(json.dumps(rows[-1]), flush=True)
    table = pd.DataFrame(rows)
    difference = table["selected_log_loss"] - table["all_log_loss"]
    error = difference.std(ddof=1) / np.sqrt(len(table)) if len(table) > 1 else np.nan
    dropped = table["useless_dropped"].sum() / (USELESS * len(table))
    print(
        f"useless columns dropped: {dropped:.1%}; all 15 dropped: {(table['useless_dropped'] == USELESS).mean():.0%} of seeds"
    )
    print(f"useful columns kept: {table['useful_kept'].mean():.2f} of {INFORMATIVE}")
    print(f"test log loss, selected minus all inputs: {difference.mean():+.4f} (standard error {error:.4f})")
    print(f"CPU seconds: {table['all_seconds'].sum():.0f} all inputs, {table['selected_seconds'].sum():.0f} selected")


if __name__ == "__main__":
    main()
