"""Does the verdict tell skill from none? Whole runs on labels that nothing can predict, and on a signal that is known.

*Noise*: the real bars of two symbols and the target volatility, but the labels are shuffled by blocks of 20 days, so that
their runs remain and their meaning does not. Every "skill" is an error, and the probability of backtest overfitting should be
about one half.

*Planted*: windows in which one of two motifs lies at a random place, the same numbers in another order, so that no mean,
deviation or last bar tells them apart; a window's label follows the motif nine times in ten, so that the best attainable accuracy
is 0.9. The verdict's interval is held against the model's accuracy on 100,000 fresh windows.

*Linear*: a signal that logistic and ridge regression capture completely (see benchmarks/evaluation_verdict.py), so the grade
should be *as good as the best simple baseline*.

    python benchmarks/evaluation.py --seeds 20
    python benchmarks/evaluation.py --kinds linear --seeds 3
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
for name in ("MLFLOW__ENABLED", "REPORT"):  # not what is measured here
    os.environ[f"CNN_LSTM_HYPEROPT__{name}"] = "false"

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt import load_model
from cnn_lstm_hyperopt.config import Settings, load_settings
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset, LockedPeriod, prepare_dataset
from cnn_lstm_hyperopt.data.windows import Windows
from cnn_lstm_hyperopt.evaluation import Dependence, score_interval
from cnn_lstm_hyperopt.execution import StopSignal
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.pipeline.final_phase import run_final_phase
from cnn_lstm_hyperopt.pipeline.results.writer import write_results
from cnn_lstm_hyperopt.pipeline.search_phase import search
from cnn_lstm_hyperopt.pipeline.session import open_session
from cnn_lstm_hyperopt.utils.rng import stream
from evaluation_verdict import linear_signal
from machine import machine_line

BLOCK = 20
"""Days that stay together when labels are shuffled."""
MOTIFS = ((2.0, 0.0, -2.0), (-2.0, 0.0, 2.0))
LOOKBACK, FEATURES = 16, 2
FOLLOWS = 0.9
FRESH = 100_000
PERIOD = 1500
"""Windows of the test period of the planted signal."""
PROFILE: dict[str, Any] = {
    "study": {"n_trials": 16, "portfolio": False},
    "training": {"max_epochs": 6, "min_patience": 3, "precision": "float32"},
    "sampler": {"type": "random"},
    "pruner": {"type": "none"},
    "retrain": {"enabled": True, "top_k": 1, "full_epochs": 8, "confirm_seeds": 2, "seeds": 3},
    "search_space": {
        "cnn": {"num_filters": [8, 16], "filter_sizes": [[3, 5]], "attention": False, "dropout": 0.1},
        "lstm": {"hidden_dim": [8, 16], "num_layers": 1, "attention": False, "dropout": 0.1},
        "fusion": {"dim": [16, 32], "method": ["concatenation", "gated"], "dropout": 0.1},
        "training": {"batch_size": [64, 128], "learning_rate": [3.0e-3, 2.0e-2], "optimizer": ["adam", "rmsprop"]},
        "regularization": {"l1_switch": False},
    },
}
"""A tiny corner of the space: what is judged here is the verdict, not the models."""


@dataclass(frozen=True)
class Run:
    """What a run said.

    ``grade``: grade of the verdict.
    ``fresh``: accuracy of model 1 on fresh windows, where there are any; ``coverage``: share of the intervals of fresh test
    periods that hold it.
    """

    grade: str
    skill: bool
    sentence: str
    accuracy: float | None
    interval: tuple[float, float] | None
    pbo: float | None
    fresh: float | None
    coverage: float | None
    seconds: float

    @property
    def covers(self) -> bool | None:
        """Whether the interval holds the accuracy on fresh windows."""
        if self.fresh is None or self.interval is None:
            return None
        return self.interval[0] <= self.fresh <= self.interval[1]


def shuffled(windows: Sequence[Windows], seed: int) -> list[Windows]:
    """The windows of all splits, their labels and values exchanged in blocks of days, with one order for all symbols."""
    days = np.unique(np.concatenate([each.dates for each in windows]))
    blocks = [days[start : start + BLOCK] for start in range(0, len(days), BLOCK)]
    order = stream(seed, 0, "shuffled labels").permutation(len(blocks))
    source = dict(zip(days, np.concatenate([blocks[place] for place in order]), strict=True))
    known = {
        (symbol, day): (int(label), float(value))
        for each in windows
        for symbol, day, label, value in zip(each.symbols, each.dates, each.labels, each.values, strict=True)
    }

    def drawn(each: Windows) -> Windows:
        own = zip(each.symbols, each.dates, each.labels, each.values, strict=True)
        rows = [known.get((symbol, source[day]), (int(label), float(value))) for symbol, day, label, value in own]
        labels, values = zip(*rows, strict=True)
        return replace(each, labels=torch.tensor(labels), values=torch.tensor(values, dtype=torch.float32))

    return [drawn(each) for each in windows]


def real_bars() -> Dataset:
    """Two symbols and the target volatility."""
    data = {
        "source": "embedded",
        "symbols": ["AAPL", "IBM"],
        "start": "2000-03-01",
        "target": "volatility",
        "lookback": 15,
        "train_share": 0.5,
    }
    return prepare_dataset(load_settings({"data": data}, {}).data)


def noise(seed: int) -> Dataset:
    """Real bars with shuffled labels."""
    dataset = real_bars()
    train, validation, test = shuffled([dataset.train, dataset.validation, dataset.test.open()], seed)
    folds = tuple(replace(fold, train=train, validation=validation) for fold in dataset.folds)
    return replace(dataset, train=train, validation=validation, test=LockedPeriod(test), folds=folds)


def motif_windows(n: int, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """``n`` windows ``(n, LOOKBACK, FEATURES)`` of noise with a motif in the first feature, and their labels ``(n,)``."""
    x = random.normal(size=(n, LOOKBACK, FEATURES)).astype(np.float32)
    which = random.integers(2, size=n)
    place = random.integers(LOOKBACK - len(MOTIFS[0]) + 1, size=n)
    for step in range(len(MOTIFS[0])):
        x[np.arange(n), place + step, 0] += np.array(MOTIFS, dtype=np.float32)[which, step]
    labels = np.where(random.random(n) < FOLLOWS, which, 1 - which)
    return torch.from_numpy(x), torch.from_numpy(labels)


def planted(seed: int) -> Dataset:
    """Motifs, through the door for a user's own loaders."""
    random = stream(seed, 0, "planted")
    parts = [TensorDataset(*motif_windows(n, random)) for n in (4000, 1500, PERIOD)]
    return dataset_from_loaders([DataLoader(part, batch_size=500) for part in parts], FEATURES)


def covered(labels: NDArray[np.int64], probabilities: NDArray[np.floating], accuracy: float) -> float:
    """Share of test periods, cut one after another from the windows, whose 95 % interval holds the accuracy on all of them."""
    holds = []
    for start in range(0, len(labels) - PERIOD + 1, PERIOD):
        part = slice(start, start + PERIOD)
        interval = score_interval("accuracy", labels[part], probabilities[part], Dependence.independent(PERIOD))
        holds.append(interval is not None and interval.low <= accuracy <= interval.high)
    return float(np.mean(holds))


def run(kind: str, seed: int, folder: Path) -> Run:
    """A whole run, from the first trial to the verdict."""
    begun = time.perf_counter()
    dataset = {"noise": noise, "planted": planted, "linear": linear_signal}[kind](seed)
    data: dict[str, Any] = {"source": "embedded", "target": "volatility"} if kind == "noise" else {"source": "loaders"}
    settings: Settings = load_settings(
        {**PROFILE, "data": data},
        {"save_dir": folder, "study": {"seed": seed, "n_trials": PROFILE["study"]["n_trials"]}},
    )
    stop = StopSignal()
    with open_session(settings, dataset, resume=False, events=RunEvents()) as session:
        search(session, stop)
        results = write_results(session)
        if results["best_trials"]:
            run_final_phase(session, stop)
            results = write_results(session)
    verdict, models = results["verdict"], results["retrained_models"]
    metrics = models[0]["test_metrics"] if models else None
    fresh = coverage = None
    if kind == "planted" and models:
        x, labels = motif_windows(FRESH, stream(seed, 1, "planted"))
        model = load_model(models[0]["model_path"])
        windows = Windows(
            series=x.reshape(-1, FEATURES),
            starts=torch.arange(FRESH) * LOOKBACK,
            lookback=LOOKBACK,
            labels=labels,
            values=None,
            dates=np.arange(FRESH),
            symbols=np.full(FRESH, "fresh"),
        )
        predictions = model.predict_windows(windows)
        fresh = float((predictions.classes == labels.numpy()).mean())
        coverage = covered(labels.numpy(), predictions.probabilities, fresh)
    return Run(
        grade=verdict["grade"],
        skill=bool(verdict["skill"]),
        sentence=verdict["sentence"],
        accuracy=metrics and metrics["test_class_acc"],
        interval=metrics and tuple(metrics["test_score_interval"]),
        pbo=results["overfitting"]["pbo"]["value"],
        fresh=fresh,
        coverage=coverage,
        seconds=time.perf_counter() - begun,
    )


def table(kind: str, runs: Sequence[Run], first: int) -> list[str]:
    """A Markdown table of the runs, whose first has the seed ``first``, and a line that sums them up."""
    lines = [
        f"| {kind}, seed | verdict | accuracy of model 1 | its 95 % interval | on fresh windows | PBO | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for seed, each in enumerate(runs, start=first):
        interval = "–" if each.interval is None else f"{each.interval[0]:.3f} to {each.interval[1]:.3f}"
        fresh = "–" if each.fresh is None else f"{each.fresh:.3f}{'' if each.covers else ' (outside)'}"
        accuracy = "no model" if each.accuracy is None else f"{each.accuracy:.3f}"
        pbo = "–" if each.pbo is None else f"{each.pbo:.2f}"
        lines.append(f"| {seed} | {each.grade} | {accuracy} | {interval} | {fresh} | {pbo} | {each.seconds:.0f} |")
    known = [each.pbo for each in runs if each.pbo is not None]
    lines += ["", f"{kind}: skill in {sum(each.skill for each in runs)} of {len(runs)} runs"]
    if known:
        lines[-1] += f"; PBO {np.mean(known):.3f} on average ({len(known)} runs, {min(known):.2f} to {max(known):.2f})"
    covering = [each.covers for each in runs if each.covers is not None]
    if covering:
        lines[-1] += (
            f"; the interval covers the accuracy on {FRESH:,} fresh windows in {sum(covering)} of {len(covering)}"
        )
    shares = [each.coverage for each in runs if each.coverage is not None]
    if shares:
        lines[-1] += f", and so do {np.mean(shares):.1%} of the intervals of fresh test periods"
    return lines


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--kinds", nargs="+", choices=("noise", "planted", "linear"), default=["noise", "planted"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(machine_line())
    for kind in options.kinds:
        runs = []
        for seed in range(options.first, options.first + options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                runs.append(run(kind, seed, Path(folder) / "results"))
            print(f"{kind} {seed}: {runs[-1].sentence}", file=sys.stderr, flush=True)
        print("", *table(kind, runs, options.first), sep="\n", flush=True)


if __name__ == "__main__":
    main()
