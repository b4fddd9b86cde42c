"""Growth: what a trial, ``status``, the report and the windows cost when a study or its data grow.

    nice -n 5 python benchmarks/scale.py --trials 10,100,1000,5000 --rows 10000,100000,1000000

All seconds are processor time with imports, which other programs change less than wall time. Times of commands are medians of
``--repeats`` runs.

- a trial: storage, sampler ``random``, pruner ``front`` and ten reports, without training (see ``storage.py``);
- ``status`` and ``report``: user and system time of the command on studies of a search without training;
- start: wall time from the start of ``run`` on the bundled bars to the end of its first training step, and the peak memory of
  this process, which is also the only worker;
- windows: from a Parquet file of one symbol to the windows of all splits, in a process of its own, with its peak memory.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the search without training

import numpy as np
import pandas as pd

from builders.studies import searched
from machine import printed
from storage import copy_of, fill, run_trials

START = """
import resource, sys, time
begun = time.perf_counter()
from cnn_lstm_hyperopt.cli import main
from cnn_lstm_hyperopt.training.fold import FoldTraining
step, first = FoldTraining.step, []
def timed(fold):
    step(fold)
    first.append(time.perf_counter() - begun)
FoldTraining.step = timed
code = main(sys.argv[1:])
print(code, first[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""
"""Script that runs a command of the command line."""
RUN = "run --use-real-data --config small --n-trials 1 --max-epochs 1 --workers 1 --save-dir"
WINDOWS = """
import resource, sys
from pathlib import Path
from cnn_lstm_hyperopt.config import load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
settings = load_settings({"data": {"source": "files", "data_dir": sys.argv[1], "target": "volatility"}})
dataset = prepare_dataset(settings.data)
used = resource.getrusage(resource.RUSAGE_SELF)
print(len(dataset.train) + len(dataset.validation) + len(dataset.test), used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)
"""


def seconds_of(command: str, folder: Path, repeats: int) -> float:
    """Processor seconds of a command of the program on a directory; the median."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [sys.executable, "-m", "cnn_lstm_hyperopt", command, "--save-dir", str(folder)]
        subprocess.run(words, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return statistics.median(once() for _ in range(repeats))


def trial_rows(place: Path, trials: Sequence[int], repeats: int) -> Iterator[str]:
    """Yield a row for each number of trials."""
    yield "| stored trials | a trial, storage, ms | a trial, all, ms | `status`, s | `report`, s |"
    yield "|---|---|---|---|---|"
    for number in trials:
        filled = place / f"{number}.db"
        fill(filled, number)
        with copy_of(filled) as copy:
            found = run_trials(copy, "front", None, 20)
        folder = searched(place / f"searched_{number}", number)
        seconds = [seconds_of(command, folder, repeats) for command in ("status", "report")]
        yield f"| {number:,} | {found.storage:.1f} | {found.search:.1f} | {seconds[0]:.2f} | {seconds[1]:.1f} |"


def start_rows(place: Path, repeats: int) -> Iterator[str]:
    """Yield a row for a new run with MLflow, and for one without."""
    yield "| run | to the first training step, s: median (smallest to largest) | peak memory, MB |"
    yield "|---|---|---|"
    for name, flags in (("with MLflow", ()), ("without MLflow", ("--no-mlflow",))):
        found = []
        for number in range(repeats):
            command = [sys.executable, "-c", START, *RUN.split(), str(place / f"{name} {number}"), *flags]
            done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place)
            code, seconds, memory = done.stdout.split()[-3:]
            if code != "0":
                raise SystemExit(f"the run ended with {code}")
            found.append((float(seconds), float(memory)))
        seconds = sorted(each for each, _ in found)
        spread = f"{statistics.median(seconds):.1f} ({seconds[0]:.1f} to {seconds[-1]:.1f})"
        yield f"| {name} | {spread} | {max(memory for _, memory in found):,.0f} |"


def window_rows(place: Path, rows: Sequence[int]) -> Iterator[str]:
    """Yield a row for each number of bars."""
    yield "| bars | windows | seconds | peak memory, MB |"
    yield "|---|---|---|---|"
    for number in rows:
        folder = place / f"bars_{number}"
        folder.mkdir()
        write_bars(folder / "A.parquet", number)
        command = [sys.executable, "-c", WINDOWS, str(folder)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        windows, seconds, memory = done.stdout.split()[-3:]
        yield f"| {number:,} | {int(windows):,} | {float(seconds):.1f} | {float(memory):,.0f} |"


def write_bars(path: Path, number: int) -> None:
    """Write a random walk of bars of one minute, around the clock."""
    rng = np.random.default_rng(0)
    steps = rng.normal(0, 1e-3, (number, 2))
    close = 100 * np.exp(np.clip(np.cumsum(steps[:, 0]), -3, 3))
    opened = np.concatenate([[100.0], close[:-1]])
    high, low = (
        np.maximum(opened, close) * np.exp(np.abs(steps[:, 1])),
        np.minimum(opened, close) * np.exp(-np.abs(steps[:, 1])),
    )
    times = pd.date_range("2015-01-01", periods=number, freq="min")
    volume = rng.integers(1_000, 100_000, number).astype(float)
    pd.DataFrame(
        {"timestamp": times, "open": opened, "high": high, "low": low, "close": close, "volume": volume}
    ).to_parquet(path)


def main() -> int:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",") if part]

    parser.add_argument("--trials", type=numbers, default=[10, 100, 1000, 5000])
    parser.add_argument("--rows", type=numbers, default=[10_000, 100_000, 1_000_000, 5_000_000])
    parser.add_argument(
        "--start", action=argparse.BooleanOptionalAction, default=True, help="measure the start of a run"
    )
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tables = [
            *([trial_rows(place, given.trials, given.repeats)] if given.trials else []),
            *([start_rows(place, given.repeats)] if given.start else []),
            *([window_rows(place, given.rows)] if given.rows else []),
        ]
        return max((printed("", table) for table in tables), default=0)


if __name__ == "__main__":
    raise SystemExit(main())
