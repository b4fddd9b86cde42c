"""Test accuracy on small public data sets: searches of this package beside LSTM-FCN, MiniRocket and logistic regression.

Each set has its official split. The search gets only the official training windows, divided into a training and a validation
loader (80 % and 20 %, stratified); the test windows are evaluated once, by the program itself. The other methods are trained on
all official training windows. Inputs of networks and of the logistic regression are standardised by the training windows.

A method is a name, or an architecture and a number of trials:

- ``classic-30``, ``full-30``: a search with 30 trials, then confirmation and retraining of one model (``retrain.top_k: 1``).
  All other settings have their defaults. The accuracy is that of model 1, the mean of its seeds.
- ``lstm-fcn``: :mod:`lstm_fcn`. ``--lstm-fcn-seconds`` limits its processor time; the table says how many epochs were done.
- ``minirocket``: MiniRocket with ridge regression, the baseline of this package (extra ``rocket``).
- ``logistic``: logistic regression on all values of a window; cross-validation selects the penalty.

Results are kept in ``FOLDER/figures.jsonl`` and are not computed twice, so several calls fill one table.

    python benchmarks/public_sets.py --folder ~/.cache/public_sets --methods minirocket logistic lstm-fcn classic-30 full-30
"""

import argparse
import json
import os
import resource
import shutil
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedKFold, StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

import lstm_fcn
from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer
from cnn_lstm_hyperopt.evaluation import UNKNOWN, Sample
from cnn_lstm_hyperopt.evaluation.baselines.minirocket import MiniRocket
from machine import machine_line
from public_data import SETS, TUNED, PublicSet, read_set

METHODS = ("logistic", "minirocket", "lstm-fcn", "classic-30", "full-30", "classic-100", "full-100")
VALIDATION_SHARE, BATCH, CORES = 0.2, 16, 2
SEARCH: dict[str, Any] = {"workers": CORES, "mlflow": {"enabled": False}, "report": False, "retrain": {"top_k": 1}}
"""Settings of a search that differ from the defaults, apart from the architecture, the trials and the seed."""
Figures = dict[str, Any]
"""Result of a method on a set with a seed: ``accuracy``, ``seconds``, ``cpu_seconds`` and facts of the method."""


def divided(data: PublicSet, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the windows of the training and the validation loader; each class is in both."""
    n_validation = max(data.n_classes, round(VALIDATION_SHARE * len(data.y)))
    splitter = StratifiedShuffleSplit(1, test_size=n_validation, random_state=seed)
    train, validation = next(splitter.split(data.x, data.y))
    return np.sort(train), np.sort(validation)


def loaders_of(data: PublicSet, seed: int) -> list[DataLoader[Any]]:
    """Training, validation and test loader of ``(x, y_class)``."""
    train, validation = divided(data, seed)
    mean, deviation = data.x[train].mean((0, 1)), data.x[train].std((0, 1)) + 1e-8
    parts = ((data.x[train], data.y[train]), (data.x[validation], data.y[validation]), (data.test_x, data.test_y))
    return [
        DataLoader(
            TensorDataset(torch.from_numpy((x - mean) / deviation), torch.from_numpy(y)),
            batch_size=BATCH,
            shuffle=place == 0,
        )
        for place, (x, y) in enumerate(parts)
    ]


def searched(data: PublicSet, architecture: str, trials: int, seed: int, folder: Path, config: str | None) -> Figures:
    """Run a search with retraining; an interrupted run starts again."""
    shutil.rmtree(folder, ignore_errors=True)
    own = json.loads(config) if config else {}
    settings = {**SEARCH, **own, "study": {"seed": seed, **own.get("study", {})}}
    settings["search_space"] = {"architecture": architecture, **own.get("search_space", {})}
    started = time.monotonic()
    with CNNLSTMHyperparameterOptimizer(
        loaders_of(data, seed), data.x.shape[2], folder, data.name, config=settings, quiet=True
    ) as optimizer:
        optimizer.optimize(trials)
        search_seconds = time.monotonic() - started
        entries = optimizer.retrain_best_models()
        results = optimizer.write_results()
    if not entries:
        raise RuntimeError(f"{data.name}: no model was retrained; see {folder}")
    ensemble = results["ensemble"]
    return {
        "accuracy": entries[0]["test_metrics"]["test_class_acc"],
        "ensemble": ensemble and ensemble["test_metrics"]["test_class_acc"],
        "search_seconds": search_seconds,
        "best_score": max(entry["values"][0] for entry in results["best_trials"]),
        "confirmed": entries[0].get("confirmed_score"),
        "params": entries[0]["config_params"],
        "grade": results["verdict"]["grade"],
    }


def minirocket(data: PublicSet, seed: int) -> Figures:
    """Train MiniRocket on all official training windows."""
    train, test = (Sample(x, y, np.full(len(y), UNKNOWN)) for x, y in ((data.x, data.y), (data.test_x, data.test_y)))
    model = MiniRocket()
    model.fit(train, train, n_classes=data.n_classes, seed=seed)
    return {"accuracy": float((model.probabilities(test).argmax(axis=1) == data.test_y).mean())}


def logistic(data: PublicSet, seed: int) -> Figures:
    """Train a logistic regression on all official training windows."""
    folds = StratifiedKFold(min(5, int(np.bincount(data.y).min())), shuffle=True, random_state=seed)
    regression = LogisticRegressionCV(
        Cs=np.logspace(-4, 1, 6),
        cv=folds,
        scoring="neg_log_loss",
        max_iter=300,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )
    model = make_pipeline(StandardScaler(), regression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(data.x.reshape(len(data.x), -1), data.y)
    return {"accuracy": float((model.predict(data.test_x.reshape(len(data.test_x), -1)) == data.test_y).mean())}


def fcn(data: PublicSet, seed: int, cpu_seconds: float) -> Figures:
    """Train LSTM-FCN on all official training windows."""
    found = lstm_fcn.fit(data.x, data.y, data.test_x, n_classes=data.n_classes, seed=seed, cpu_seconds=cpu_seconds)
    return {"accuracy": float((found.classes == data.test_y).mean()), "epochs": found.epochs}


def measure(method: str, data: PublicSet, seed: int, chosen: argparse.Namespace) -> Figures:
    """Return the figures of one method on one set with one seed."""
    started, cpu = time.monotonic(), cpu_seconds()
    if method == "minirocket":
        found = minirocket(data, seed)
    elif method == "logistic":
        found = logistic(data, seed)
    elif method == "lstm-fcn":
        found = fcn(data, seed, chosen.lstm_fcn_seconds)
    else:
        architecture, trials = method.split("-")[:2]
        folder = chosen.folder / f"{data.name}_{method}_{seed}"
        found = searched(data, architecture, int(trials), seed, folder, chosen.config)
    return {**found, "seconds": time.monotonic() - started, "cpu_seconds": cpu_seconds() - cpu}


def cpu_seconds() -> float:
    """Return the processor seconds of this process and its ended children."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def stored(path: Path) -> dict[tuple[str, str, int], Figures]:
    """Return the stored figures by set, method and seed."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {(entry["set"], entry["method"], entry["seed"]): entry for entry in map(json.loads, lines)}


def table(
    sets: Sequence[str], methods: Sequence[str], found: dict[tuple[str, str, int], Figures], shapes: dict[str, str]
) -> str:
    """Return the table: mean accuracy over seeds with the lowest and the highest, and the mean seconds of a run."""
    lines = [f"| set | train / test · classes · shape | {' | '.join(methods)} |", "|---" * (2 + len(methods)) + "|"]
    runs = {(s, m): [entry for (a, b, _), entry in found.items() if (a, b) == (s, m)] for s in sets for m in methods}
    for name in sets:
        cells = [cell(runs[name, method]) for method in methods]
        lines.append(f"| {name}{'' if name in TUNED else ' ·'} | {shapes[name]} | {' | '.join(cells)} |")
    for title, rows in (("all", sets), ("not tuned on", [name for name in sets if name not in TUNED])):
        common = [name for name in rows if all(runs[name, method] for method in methods)]
        if common:
            means = [np.mean([mean_of(runs[name, method], "accuracy") for name in common]) for method in methods]
            lines.append(
                f"| mean, {title} ({len(common)} sets) | | {' | '.join(f'**{mean:.3f}**' for mean in means)} |"
            )
    return "\n".join(lines)


def cell(entries: Sequence[Figures]) -> str:
    """Return a cell of the table; a dash without results."""
    if not entries:
        return "–"
    values = [entry["accuracy"] for entry in entries]
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    seconds = f"{mean_of(entries, 'seconds'):.0f} s, cpu {mean_of(entries, 'cpu_seconds'):.0f} s"
    search = f", search {mean_of(entries, 'search_seconds'):.0f} s" if "search_seconds" in entries[0] else ""
    epochs = f", {mean_of(entries, 'epochs'):.0f} epochs" if "epochs" in entries[0] else ""
    return f"{np.mean(values):.3f}{spread}; {len(values)} seeds; {seconds}{search}{epochs}"


def mean_of(entries: Sequence[Figures], key: str) -> float:
    """Return the mean of a figure over seeds."""
    return float(np.mean([entry[key] for entry in entries]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--methods", nargs="+", default=METHODS, help=f"such as {', '.join(METHODS)}")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "cnn_lstm_hyperopt_public_sets")
    parser.add_argument("--lstm-fcn-seconds", type=float, default=120.0, help="limit of processor time of LSTM-FCN")
    parser.add_argument("--config", help="JSON with settings of the search that differ from the defaults")
    parser.add_argument("--only-table", action="store_true", help="print the table of stored results")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / "figures.jsonl"
    data = {name: read_set(name, chosen.folder) for name in chosen.sets}
    for method in () if chosen.only_table else chosen.methods:
        for seed in chosen.seeds:
            for name in chosen.sets:
                if (name, method, seed) in stored(path):
                    continue
                found = measure(method, data[name], seed, chosen)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"set": name, "method": method, "seed": seed, **found}) + "\n")
                print(f"{name} {method} {seed}: {found['accuracy']:.3f}, {found['seconds']:.0f} s", flush=True)
    print(f"\n{machine_line()}, load {os.getloadavg()[1]:.0f}")
    print(f"python benchmarks/public_sets.py {' '.join(arguments or sys.argv[1:])}\n")
    print(table(chosen.sets, chosen.methods, stored(path), {name: each.shape for name, each in data.items()}))
    print(
        "\nA set with a dot was not used to choose settings. Brackets: lowest and highest seed. cpu: processor seconds."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
