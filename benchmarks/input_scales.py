"""How much do networks lose when the features of DataLoaders are not standardised?

Two problems of 600 training windows with 30 steps of three features of noise: ``wave`` adds a sine of one or of two periods to
the first feature, ``shift`` moves the second one up or down. All features are multiplied by a factor and moved by an offset. The
table has the validation log loss (nats; 0.693 without any skill) of two configurations of the portfolio: with unchanged windows
(``raw``), and with windows that the network standardises.

    python benchmarks/input_scales.py --seeds 3
"""

import argparse
import os
from collections.abc import Iterator

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from cnn_lstm_hyperopt.config import TrainingSettings, parse_space
from cnn_lstm_hyperopt.data.dataloaders.loaders import dataset_from_loaders
from cnn_lstm_hyperopt.data.dataset import Dataset
from cnn_lstm_hyperopt.models.inputs import STANDARDISE
from cnn_lstm_hyperopt.progress import CONTINUE
from cnn_lstm_hyperopt.search.initial_trials.portfolio import PORTFOLIO, nearest
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from machine import printed

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


def table(seeds: int, epochs: int) -> Iterator[str]:
    """Yield the rows of the table."""
    space, _ = parse_space({"architecture": "full"})
    device = torch.device("cpu")
    speeds = calibration_for(device)
    cases = {
        f"{network}, {'standardised' if flag else 'raw'}": nearest(space, PORTFOLIO[network]) | {STANDARDISE: flag}
        for network in NETWORKS
        for flag in (False, True)
    }
    yield "| problem | factor | offset | " + " | ".join(cases) + " |"
    yield "|---|---|---|" + "---|" * len(cases)
    for problem in ("wave", "shift"):
        for factor, offset in SCALES:
            losses: dict[str, list[float]] = {each: [] for each in cases}
            for seed in range(seeds):
                dataset = dataset_of(problem, seed, factor, offset)
                settings = TrainingSettings(max_epochs=epochs)
                runner = TrialRunner(dataset.for_trials(), settings, seed=seed, device=device, speeds=speeds)
                for case, params in cases.items():
                    best = runner.run_trial(0, params, lambda report: CONTINUE).outcome.best
                    losses[case].append(float("nan") if best is None else best.loss)
            cells = [f"{np.mean(each):.3f} ({min(each):.3f} to {max(each):.3f})" for each in losses.values()]
            yield f"| {problem} | {factor:g} | {offset:g} | " + " | ".join(cells) + " |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    return printed(f"; {given.epochs} epochs, mean of {given.seeds} seeds", table(given.seeds, given.epochs))


if __name__ == "__main__":
    raise SystemExit(main())
