"""Hypervolume of searches with the architectures ``classic`` and ``full`` after equal seconds.

Both searches of a problem run at the same time, each in a process of its own with one worker, so other programs slow both
down. ``study.timeout`` ends them. The hypervolume is that of the program: score, logarithm of the seconds and logarithm of the MB
of the front. Both searches have one reference point: the score of chance, and the maximum seconds and MB of all trials of both.
Seconds are predicted by the cost model (``time_objective: estimated``), so that a busy machine does not change them.

Two problems are public sets (:mod:`public_data`); two are daily bars with the target volatility.

    python benchmarks/architectures.py --problems JapaneseVowels ACSF1 demo three --seconds 240 --seeds 0
"""

import argparse
import json
import multiprocessing
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

from cnn_lstm_hyperopt import CNNLSTMHyperparameterOptimizer, run_cnn_lstm_hyperparameter_optimization
from cnn_lstm_hyperopt.pareto import hypervolume
from machine import machine_line
from public_data import SETS, read_set
from public_sets import loaders_of

ARCHITECTURES = ("classic", "full")
DEMO = {"start": "2000-03-01", "end": "2013-03-01", "train_share": 0.16}
BARS: dict[str, dict[str, Any]] = {
    "demo": {"source": "embedded", "symbols": ["AAPL", "IBM", "MSFT", "NVDA", "AMZN"], "target": "volatility", **DEMO},
    "three": {"source": "embedded", "symbols": ["GOOGL", "NVDA", "AMZN"], "target": "volatility", "train_share": 0.16},
}
"""Problems of bars; trials use a sixth of the training windows, as in the demonstration, so that the time allows more trials."""
PROBLEMS = ("JapaneseVowels", "ACSF1", *BARS)
Front = dict[str, Any]


def searched(problem: str, architecture: str, seconds: float, seed: int, folder: Path) -> Front:
    """Run a search and return its front, the corner of its reference point and its number of trials."""
    save_dir = folder / f"{problem}_{architecture}_{seed}"
    shutil.rmtree(save_dir, ignore_errors=True)
    config: dict[str, Any] = {
        "workers": 1,
        "mlflow": {"enabled": False},
        "report": False,
        "study": {"seed": seed, "timeout": seconds, "time_objective": "estimated"},
        "search_space": {"architecture": architecture},
        "retrain": {"enabled": False},
    }
    if problem in BARS:
        config |= {"data": BARS[problem], "training": {"max_epochs": 5, "min_patience": 3}}
        results = run_cnn_lstm_hyperparameter_optimization(
            n_trials=1000, save_dir=save_dir, retrain_best=False, config=config, quiet=True
        )
    else:
        data = read_set(problem, folder)
        with CNNLSTMHyperparameterOptimizer(
            loaders_of(data, seed), data.x.shape[2], save_dir, data.name, config=config, quiet=True
        ) as optimizer:
            optimizer.optimize(1000)
            results = optimizer.write_results()
    return {
        "front": [each["values"] for each in results["best_trials"] if each.get("above_chance", True)],
        "reference": list(results["hypervolume"]["reference"].values()),
        "trials": results["n_trials_completed"],
    }


def losses(values: Sequence[float]) -> list[float]:
    """Return a row of objectives to minimise: negated score, ln seconds, ln MB."""
    return [-values[0], float(np.log(values[1])), float(np.log(values[2]))]


def compared(fronts: Sequence[Front]) -> list[float]:
    """Return the hypervolume of each front with the reference point of all."""
    ends = np.array([front["reference"] for front in fronts if front["reference"]])
    corner = [each + 1e-9 for each in losses([float(ends[:, 0].min()), *ends[:, 1:].max(axis=0).tolist()])]
    return [hypervolume([losses(v) for v in front["front"]], corner) if front["front"] else 0.0 for front in fronts]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", default=PROBLEMS, choices=(*SETS, *BARS))
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "cnn_lstm_hyperopt_public_sets")
    chosen = parser.parse_args(arguments)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    lines = ["| problem | seed | trials | best score | hypervolume, classic | full |", "|---" * 6 + "|"]
    wins = 0
    for problem in chosen.problems:
        for seed in chosen.seeds:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(len(ARCHITECTURES), mp_context=context) as pool:
                jobs = [
                    pool.submit(searched, problem, architecture, chosen.seconds, seed, chosen.folder)
                    for architecture in ARCHITECTURES
                ]
                fronts = [job.result() for job in jobs]
            volumes = compared(fronts)
            wins += volumes[1] > volumes[0]
            trials = ", ".join(str(front["trials"]) for front in fronts)
            best = ", ".join(f"{max((v[0] for v in front['front']), default=float('nan')):.3f}" for front in fronts)
            lines.append(f"| {problem} | {seed} | {trials} | {best} | {volumes[0]:.3f} | {volumes[1]:.3f} |")
            print(json.dumps({"problem": problem, "seed": seed, "volumes": volumes, "fronts": fronts}), flush=True)
    print(f"\n{machine_line()}, load {os.getloadavg()[1]:.0f}")
    print(f"python benchmarks/architectures.py {' '.join(arguments or sys.argv[1:])}\n")
    print("\n".join(lines))
    print(f"\nfull has the larger hypervolume in {wins} of {len(lines) - 2} comparisons")
    return 0


if __name__ == "__main__":
    sys.exit(main())
