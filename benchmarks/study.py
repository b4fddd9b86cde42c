"""Trials an hour with one worker, with two, and beside a busy neighbour; and where the time of a study goes.

Each line is the median of whole runs of the command line on the synthetic market (random configurations, the same ones each time;
no pruning), the settings taking turns, timed from the start of the first trial to the end of the last.

    python benchmarks/study.py --trials 16 --repeats 3
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from cnn_lstm_hyperopt.run_dir.paths import STUDY_FILE
from cnn_lstm_hyperopt.search import StudyStorage
from machine import machine_line

NEIGHBOUR = "import torch\na = torch.randn(1500, 1500)\nwhile True:\n    a = (a @ a).clamp(-1, 1)\n"
"""A process that keeps all cores busy, as a training with PyTorch's own number of threads does."""

SETTINGS = {
    "pruner": {"type": "none"},
    "sampler": {"type": "random"},
    "data": {"train_share": 1.0, "target": "volatility"},
    "training": {"max_epochs": 2},
    "search_space": {
        "cnn": {"num_filters": [32, 64], "attention": False},
        "lstm": {"hidden_dim": [64, 128], "num_layers": [1, 2], "bidirectional": False},
        "fusion": {"dim": [128, 256]},
        "training": {"batch_size": [32, 64, 128]},
    },
}


@dataclass(frozen=True)
class Run:
    """One run: trials an hour, and the shares of the workers' time."""

    trials_an_hour: float
    training: float
    evaluation: float

    @property
    def rest(self) -> float:
        """Proposing, building networks, storing, writing predictions, waiting for the last trial of the other worker."""
        return 1 - self.training - self.evaluation


def run(workers: int, trials: int, *, neighbour: bool) -> Run:
    """Runs a whole study."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "study.yaml"
        config.write_text(yaml.safe_dump({**SETTINGS, "study": {"n_trials": trials}}), encoding="utf-8")
        results = Path(folder) / "results"
        command = [sys.executable, "-m", "cnn_lstm_hyperopt", "run", "--quiet", "--config", str(config)]
        command += ["--workers", str(workers), "--save-dir", str(results)]
        busy = subprocess.Popen([sys.executable, "-c", NEIGHBOUR]) if neighbour else None
        try:
            subprocess.run(
                command, check=False, capture_output=True
            )  # an empty front ends with 1; the trials are there
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
        storage = StudyStorage(results / STUDY_FILE)
        trials_done = [trial for trial in storage.study.get_trials() if trial.state.name == "COMPLETE"]
        storage.close()
    if len(trials_done) != trials:
        raise SystemExit(f"{len(trials_done)} of {trials} trials were finished")
    started = min(trial.datetime_start for trial in trials_done if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials_done if trial.datetime_complete)
    wall = (ended - started).total_seconds()
    return Run(
        trials_an_hour=3600 * trials / wall,
        training=sum(trial.user_attrs["measured_seconds"] for trial in trials_done) / (workers * wall),
        evaluation=sum(trial.user_attrs["evaluation_seconds"] for trial in trials_done) / (workers * wall),
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    cases = {
        "1 worker": {"workers": 1, "neighbour": False},
        "2 workers": {"workers": 2, "neighbour": False},
        "1 worker, busy neighbour": {"workers": 1, "neighbour": True},
    }
    runs: dict[str, list[Run]] = {name: [] for name in cases}
    for _ in range(given.repeats):
        for name, case in cases.items():
            runs[name].append(run(trials=given.trials, **case))
    print(f"{machine_line()}; {given.trials} trials, medians of {given.repeats} runs in turn\n")
    print("| | trials an hour | against 1 worker (smallest to largest) | training steps | validation | all else |")
    print("|---|---|---|---|---|---|")
    for name, done in runs.items():
        ratios = [mine.trials_an_hour / one.trials_an_hour for mine, one in zip(done, runs["1 worker"], strict=True)]

        def median(field: str, done: list[Run] = done) -> float:
            return statistics.median(getattr(each, field) for each in done)

        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(
            f"| {name} | {median('trials_an_hour'):.0f} | {statistics.median(ratios):.2f} ({spread})"
            f" | {median('training'):.1%} | {median('evaluation'):.1%} | {median('rest'):.1%} |"
        )


if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    main()
