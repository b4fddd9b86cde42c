"""Measure the selection of inputs on planted columns: are useless columns dropped, and does the test log loss stay the same?

Each seed makes daily bars with 20 columns. The next return depends on 5 columns; 15 columns are useless. Seven useless columns
change slowly (autocorrelation 0.97), because such columns look useful by chance more often. After a search with
``features.select: true``, inputs are selected as in a run. Then the best trial is trained with all columns and with the kept
columns, and both are compared on the test windows. Networks are small, so that 10 seeds take a few minutes of one core.

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
import torch

from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.confirmation import Candidate
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.feature_selection import Selection, with_recommended
from cnn_lstm_hyperopt.pipeline.retraining import final_fold
from cnn_lstm_hyperopt.pipeline.run import dataset_of
from cnn_lstm_hyperopt.pipeline.search_phase import search
from cnn_lstm_hyperopt.pipeline.session import Session, open_session
from cnn_lstm_hyperopt.progress import CONTINUE, Decision, ProgressReport
from cnn_lstm_hyperopt.search import with_fixed
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import ValueScale
from cnn_lstm_hyperopt.training.validation import predict

INFORMATIVE, USELESS = 5, 15
BARS = 1_600
EPOCHS, SEEDS = 12, 3
"""Maximum number of epochs, and number of seeds, of the networks that are compared on test."""
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


def settings_of(folder: Path, seed: int, n_trials: int) -> Settings:
    """Return the settings of a search on the bars in ``folder``."""
    columns = [f"useful_{k + 1}" for k in range(INFORMATIVE)] + [f"useless_{k + 1}" for k in range(USELESS)]
    return load_settings(
        {
            "data": {"data_dir": str(folder), "feature_columns": columns, "target": "direction", "lookback": 4},
            "features": {"select": True},
            "study": {"n_trials": n_trials, "seed": seed},
            "training": {"max_epochs": 6, "min_epoch_steps": 1, "device": "cpu"},
            "search_space": SPACE,
            "workers": 1,
            "mlflow": {"enabled": False},
            "save_dir": str(folder / "run"),
        },
        environment={},
    )


def go_on(_: ProgressReport) -> Decision:
    """Continue every training."""
    return CONTINUE


def test_loss(session: Session, params: dict[str, Scalar]) -> float:
    """Return the log loss on test of the mean of three networks, each trained with another seed."""
    fold, test = final_fold(session.dataset, 1), session.dataset.test.open()
    networks = [
        session.runner.retrain(seed, params, fold, EPOCHS, go_on, purpose="benchmark").network
        for seed in range(1, SEEDS + 1)
    ]
    scale = ValueScale(fold.value_mean, fold.value_std)
    probabilities = torch.stack([predict(network, test, scale)[0].double().softmax(dim=1) for network in networks])
    return float(-probabilities.mean(dim=0)[torch.arange(len(test)), test.labels].log().mean())


def measured(seed: int, n_trials: int) -> dict[str, Any]:
    """Search with one seed and select inputs. Return the kept columns, and log losses on test with all and with kept inputs."""
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        planted_bars(seed).to_csv(folder / "PLANTED.csv", index=False)
        settings = settings_of(folder, seed, n_trials)
        with open_session(settings, dataset_of(settings, resume=False), resume=False, events=RunEvents()) as session:
            search(session, StopSignal())
            space = session.study.plan.space
            candidates = [
                Candidate(None, each.number, with_fixed(space, each.params), each.values.score)
                for each in session.study.candidates(1)
                if each.values is not None
            ]
            found = Selection(session, candidates, folder, lambda which: go_on).run()
            assert not isinstance(found, Decision)
            best = max(candidates, key=lambda each: each.score)
            chosen = with_recommended(best, found).params
            flags = {name: True for name in chosen if name.startswith("inputs.own.")}
            own = {name.removeprefix("inputs.own.") for name in flags if chosen[name]}
            return {
                "seed": seed,
                "applied": found["applied"],
                "useful_kept": sum(name.startswith("useful_") for name in own),
                "useless_dropped": USELESS - sum(name.startswith("useless_") for name in own),
                "log_loss_all": round(test_loss(session, {**chosen, **flags}), 4),
                "log_loss_selected": round(test_loss(session, chosen), 4),
                "cpu_seconds": round(time.process_time() - begun, 1),
            }


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
    difference = table["log_loss_selected"] - table["log_loss_all"]
    error = difference.std(ddof=1) / np.sqrt(len(table)) if len(table) > 1 else np.nan
    dropped = table["useless_dropped"].sum() / (USELESS * len(table))
    every = (table["useless_dropped"] == USELESS).mean()
    print(f"useless columns dropped: {dropped:.1%}; all {USELESS} dropped with {every:.0%} of the seeds")
    print(f"useful columns kept: {table['useful_kept'].mean():.2f} of {INFORMATIVE}")
    print(f"test log loss, selected minus all inputs: {difference.mean():+.4f} (standard error {error:.4f})")
    print(f"CPU seconds: {table['cpu_seconds'].sum():.0f}")


if __name__ == "__main__":
    main()
