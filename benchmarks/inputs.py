"""Which groups of inputs make small networks better? Test log loss on real bars, with and without each group.

Each network has the same small architecture and the default training (Adam, patience); only its inputs differ. The table shows
the log loss of the mean of the seeds' probabilities, the log losses of the single seeds, and the 95 % interval of the gain over
ridge regression, the strongest simple baseline. The baselines get all inputs, too.

    python benchmarks/inputs.py --data tune --seeds 2 --variants 0 1 3 4 7
    python benchmarks/inputs.py --data report --seeds 2 --variants 0 1 3
"""

import argparse
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from cnn_lstm_hyperopt.config import TrainingSettings, load_settings, parse_space
from cnn_lstm_hyperopt.data.bars import normalise_bars
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.evaluation import Dependence, paired_interval
from cnn_lstm_hyperopt.evaluation.baselines import BASELINES
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.models.inputs import GROUPS
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import baseline_forecasts
from cnn_lstm_hyperopt.progress import Action, Decision
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.training import ValueScale, predict
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from machine import machine_line

HOURLY = Path(__file__).parents[1] / "tests" / "bars" / "BTC-USD-15-MIN.parquet"

Floats = NDArray[np.float64]
CPU = torch.device("cpu")
DEMO = {"start": "2000-03-01", "end": "2013-03-01"}
DATA: dict[str, dict[str, dict[str, Any]]] = {
    "tune": {
        "AAPL, IBM, GOOGL, 2000-2013": {**DEMO, "symbols": ["AAPL", "IBM", "GOOGL"]},
    },
    "report": {
        "NVDA, AMZN, MSFT, 2000-2013": {**DEMO, "symbols": ["NVDA", "AMZN", "MSFT"]},
    },
    "demo": {"the demo's symbols and dates": {**DEMO, "symbols": ["AAPL", "IBM", "MSFT", "NVDA", "AMZN"]}},
    "hourly": {"BTC, hourly": {"symbols": ["BTC"]}},
}
"""Bars on which the inputs were chosen, and other bars."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "eleven features": (),
    "+ relative ranges": ("relative_ranges",),
    "+ volume ratios": ("volume_ratios",),
    "+ relative ranges, volume ratios": ("relative_ranges", "volume_ratios"),
    "+ relative ranges, market": ("relative_ranges", "market"),
    "+ all three": GROUPS,
    "window norm": ("window_norm",),
    "+ relative ranges, window norm": ("relative_ranges", "window_norm"),
    "+ relative ranges, volume ratios, window norm": ("relative_ranges", "volume_ratios", "window_norm"),
}
NETWORK: Mapping[str, Any] = {
    "cnn": {"num_filters": 32, "filter_sizes": [[3, 5, 7]], "dropout": 0.2, "activation": "relu", "residual": True},
    "lstm": {"num_layers": 1, "dropout": 0.2, "bidirectional": False, "attention": False},
    "fusion": {"method": ["concatenation"], "dim": 64, "dropout": 0.2},
    "training": {
        "learning_rate": 1e-3,
        "batch_size": 64,
        "weight_decay": 1e-4,
        "optimizer": ["adam"],
        "scheduler": ["cosine"],
        "gradient_clip": 1.0,
    },
    "regularization": {
        "l1_switch": False,
        "l2": 1e-5,
        "dropout_schedule": ["constant"],
        "label_smoothing": 0.0,
    },
    "multi_task": {"balancing": ["fixed"], "classification_weight": 0.8},
}


def main() -> None:
    """Print a table for each dataset."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", choices=tuple(DATA), default="tune")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--hidden", type=int, default=32)
    parser.add_argument("--variants", nargs="*", type=int, default=range(len(VARIANTS)))
    chosen = parser.parse_args()
    print(machine_line())
    for title, data in DATA[chosen.data].items():
        variants = [list(VARIANTS)[place] for place in chosen.variants]
        table(title, bars_of(data), bars_of(data, GROUPS), variants, chosen.seeds, chosen.hidden)


def bars_of(data: Mapping[str, Any], groups: tuple[str, ...] = ()) -> Dataset:
    """Return the dataset of embedded bars, or of the hourly bars in the tests' folder."""
    settings = load_settings({"data": {"source": "embedded", "target": "volatility", **data}}, {}).data
    if data["symbols"] != ["BTC"]:
        return prepare_dataset(settings, groups=groups)
    raw = pd.read_parquet(HOURLY).set_index("Datetime")
    how = {"Open": "first", "High": "max", "Low": "min", "Close": "last", "Volume": "sum"}
    hours = raw.resample("1h").agg(how).dropna().tz_localize(None).rename_axis("date").reset_index()
    return prepare_dataset(settings, ([normalise_bars("BTC", hours, "BTC")], []), groups=groups)


def table(title: str, plain: Dataset, dataset: Dataset, variants: list[str], seeds: int, hidden: int) -> None:
    """Print the log losses of baselines and of networks with each set of inputs."""
    test = dataset.test.open()
    print(f"\n{title}: {len(dataset.train):,} training and {len(test):,} test windows\n")
    labels, dependence = test.labels.numpy(), Dependence.of(test, horizon=dataset.horizon)
    kinds = {name: BASELINES[name] for name in ("logistic regression", "ridge regression", "gradient boosting")}
    splits = (dataset.train, dataset.validation, test)
    before = baseline_forecasts(
        plain, (plain.train, plain.validation, plain.test.open()), seed=0, kinds=kinds
    ).probabilities
    found = baseline_forecasts(dataset, splits, seed=0, kinds=kinds).probabilities
    ridge = found["ridge regression"]
    print(
        "| model | log loss | seeds | validation | accuracy | gain over ridge | seconds |\n|---|---|---|---|---|---|---|"
    )

    def row(name: str, said: Floats, rest: str, validation: str, seconds: str) -> None:
        interval = paired_interval("log_loss", labels, said, ridge, dependence)
        gain = "–" if said is ridge or interval is None else "{:+.4f} to {:+.4f}".format(*interval)
        loss, accuracy = -score("log_loss", labels, said), score("accuracy", labels, said)
        print(f"| {name} | {loss:.4f} | {rest} | {validation} | {accuracy:.4f} | {gain} | {seconds} |", flush=True)

    for name, said in before.items():
        row(f"{name}, eleven features", said, "–", "–", "–")
    for name, said in found.items():
        row(f"{name}, all inputs", said, "–", "–", "–")
    for name in variants:
        began = time.perf_counter()
        each, losses = trained(dataset, VARIANTS[name], seeds, hidden)
        single = ", ".join(f"{-score('log_loss', labels, one):.4f}" for one in each)
        seconds = f"{(time.perf_counter() - began) / seeds:.0f}"
        row(name, np.mean(each, axis=0), single, f"{np.mean(losses):.4f}", seconds)


def trained(dataset: Dataset, flags: tuple[str, ...], seeds: int, hidden: int) -> tuple[list[Floats], list[float]]:
    """Return the test probabilities and the validation losses of networks with these inputs, one for each seed."""
    runner = TrialRunner(
        dataset.for_trials(), TrainingSettings(), seed=0, device=CPU, speeds=calibration_for(CPU), metric="log_loss"
    )
    inputs = {name: name in flags for name in (*GROUPS, "window_norm", "standardise")}
    lstm = {**NETWORK["lstm"], "hidden_dim": hidden}
    space, errors = parse_space(
        {**NETWORK, "lstm": lstm, "cnn": {**NETWORK["cnn"], "attention": False}, "inputs": inputs}
    )
    if errors:
        raise SystemExit("\n".join(map(str, errors)))
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        params[name] = space.domains[name].value  # type: ignore[union-attr]
    said, losses = [], []
    for seed in range(seeds):
        result = runner.confirm(seed, params, lambda report: Decision(Action.CONTINUE))
        logits = predict(result.network, dataset.test.open(), ValueScale(dataset.value_mean, dataset.value_std))[0]
        said.append(torch.softmax(logits.double(), dim=1).numpy())
        losses.append(result.outcome.best.loss)  # type: ignore[union-attr]
    return said, losses


if __name__ == "__main__":
    main()
