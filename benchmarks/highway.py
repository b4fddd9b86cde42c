"""Does the linear highway bring small networks to the level of linear models, and do baselines help an ensemble?

Trains a small CNN+LSTM network on the embedded bars (target volatility) without a highway, with a highway with random weights,
with a highway that starts at the linear solution, and with random weights and random kernels. The first table has the test log
loss of each seed and of the mean of the seeds, with the paired interval of its gain over ridge regression. The second table has
ensembles with equal shares for networks and regressions, and ensembles that are selected on the validation windows from the
networks of a row alone, and from these networks, logistic regression and ridge regression.

    python benchmarks/highway.py demo
    python benchmarks/highway.py others --epochs 6 --groups relative_ranges volume_ratios
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from numpy.typing import NDArray

from bars import data_of
from cnn_lstm_hyperopt.config import TrainingSettings, load_settings, parse_space
from cnn_lstm_hyperopt.data.dataset import Dataset, prepare_dataset
from cnn_lstm_hyperopt.evaluation import BASELINES, Dependence, paired_interval
from cnn_lstm_hyperopt.inference.ensemble import select
from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.pipeline.baseline_forecasts import baseline_forecasts
from cnn_lstm_hyperopt.pipeline.ensemble_weights import equal_weights
from cnn_lstm_hyperopt.pipeline.linear_members import linear_members
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.search.initial_trials.portfolio import PORTFOLIO, nearest
from cnn_lstm_hyperopt.training import ValueScale, evaluate
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from machine import machine_line

PROBLEMS: dict[str, Mapping[str, Any]] = {
    "demo": {"symbols": ["AAPL", "IBM", "MSFT", "NVDA", "AMZN"], "start": "2000-03-01", "end": "2013-03-01"},
    "others": {"symbols": ["GOOGL", "NVDA", "AMZN"], "start": "2008-01-01"},
    "AAPL": {"symbols": ["AAPL"]},
    "IBM": {"symbols": ["IBM"]},
    "TSLA_MSFT": {"symbols": ["TSLA", "MSFT"]},
    "hourly": {},
}
"""Settings of the data of each problem; ``hourly`` are the hourly bars of :mod:`bars`."""
VARIANTS: dict[str, Mapping[str, Any]] = {
    "off": {"enabled": False},
    "random": {"init": "random"},
    "linear": {"init": "linear"},
    "random, random kernels": {"init": "random", "kernel_groups": 4},
}
LINEAR = ("logistic regression", "ridge regression")
SPACE = {
    "cnn": {"num_filters": 32, "filter_sizes": [[3, 5, 7]], "dropout": 0.2, "attention": False},
    "lstm": {"hidden_dim": 32, "num_layers": 1, "dropout": 0.2, "bidirectional": False, "attention": False},
    "fusion": {"method": "concatenation", "dim": 64, "dropout": 0.2},
    "training": {"learning_rate": 1e-3, "batch_size": 128, "optimizer": "adam", "scheduler": "cosine"},
    "regularization": {"label_smoothing": 0.0},
}
INPUTS = {"relative_ranges": True, "volume_ratios": True, "market": False, "window_norm": False, "standardise": False}
Probabilities = NDArray[np.floating]


def networks(
    dataset: Dataset, highway: Mapping[str, Any], seeds: int, epochs: int
) -> list[tuple[int, Probabilities, Probabilities]]:
    """Return the best epoch and the validation and test probabilities of a network for each seed."""
    space, _ = parse_space({**SPACE, "highway": highway, "inputs": INPUTS})
    params = nearest(space, PORTFOLIO["lstm-fcn"])
    device = torch.device("cpu")
    runner = TrialRunner(
        dataset.for_trials(), TrainingSettings(), seed=0, device=device, speeds=calibration_for(device)
    )
    fold, found = dataset.folds[0], []
    scale = ValueScale(fold.value_mean, fold.value_std)
    for seed in range(seeds):
        trained = runner.retrain(seed, params, fold, epochs, lambda report: CONTINUE)
        parts = [evaluate(trained.network, part, scale).predictions for part in (fold.validation, dataset.test.open())]
        found.append((trained.outcome.best_epoch, parts[0].probabilities, parts[1].probabilities))
    return found


def compare(title: str, seeds: int, epochs: int, groups: list[str]) -> None:
    """Print both tables for a problem."""
    common = {"target": "volatility", "lookback": 60, "train_share": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        embedded = {"source": "embedded", **PROBLEMS[title]}
        settings = data_of("hourly", Path(folder), None) if title == "hourly" else embedded
        dataset = prepare_dataset(load_settings({"data": {**common, **settings}}, {}).data, groups=groups)
    validation, test = dataset.validation, dataset.test.open()
    kinds = {name: BASELINES[name] for name in LINEAR}
    said = baseline_forecasts(dataset, (dataset.train, validation, test), seed=0, kinds=kinds).probabilities
    labels, truth, dependence = test.labels.numpy(), validation.labels.numpy(), Dependence.of(test, horizon=1)

    def row(name: str, probabilities: Probabilities, *cells: str) -> None:
        interval = paired_interval("log_loss", labels, probabilities, said["ridge regression"], dependence)
        gain = "–" if interval is None or name == "ridge regression" else "{:+.4f} to {:+.4f}".format(*interval)
        print(
            "| " + " | ".join([name, f"{-score('log_loss', labels, probabilities):.4f}", gain, *cells]) + " |",
            flush=True,
        )

    print(f"\n{title}: {len(dataset.train):,} training and {len(test):,} test windows, {epochs} epochs\n")
    print(
        "| forecast | test log loss | gain over ridge | each seed | best epochs | seconds |\n|---|---|---|---|---|---|"
    )
    for name, each in said.items():
        row(name, each, "", "", "")
    linear = linear_members(dataset, seed=0, max_gap_days=10.0, decision_weights=None)
    simple = [[each.model.predict_windows(part).probabilities for part in (validation, test)] for each in linear]
    for each, (_, own) in zip(linear, simple, strict=True):
        row(f"{each.name} of the inputs (member)", own, "", "", "")
    members: dict[str, list[tuple[Probabilities, Probabilities]]] = {}
    for name, highway in VARIANTS.items():
        began = time.perf_counter()
        runs = networks(dataset, highway, seeds, epochs)
        members[name] = [run[1:] for run in runs]
        losses = ", ".join(f"{-score('log_loss', labels, own):.4f}" for _, _, own in runs)
        epochs_of = ", ".join(str(best) for best, _, _ in runs)
        row(
            f"highway {name}",
            np.mean([own for _, _, own in runs], axis=0),
            losses,
            epochs_of,
            f"{time.perf_counter() - began:.0f}",
        )
    print("\n| ensemble | test log loss | gain over ridge | weight of the baselines |\n|---|---|---|---|")
    for name, own in members.items():
        shares = equal_weights(len(own), len(simple))
        equal = sum(share * each[1] for share, each in zip(shares, [*own, *simple], strict=True))
        row(f"highway {name} and baselines, equal shares", np.asarray(equal), "0.50")
        for text, library in ((f"highway {name}", own), (f"highway {name} and baselines", [*own, *simple])):
            weights = select(np.stack([each[0] for each in library]), truth, lambda y, p: score("log_loss", y, p))
            mean = sum(weight * each[1] for weight, each in zip(weights, library, strict=True))
            row(text, np.asarray(mean), f"{weights[len(own) :].sum():.2f}")


def main() -> None:
    """Run the comparison on the problem that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=list(PROBLEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--groups", nargs="*", default=[], help="groups of inputs beside the eleven features")
    options = parser.parse_args()
    print(f"{date.today()}, {machine_line()}")
    compare(options.problem, options.seeds, options.epochs, options.groups)


if __name__ == "__main__":
    main()
