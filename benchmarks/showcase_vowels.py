"""A public multivariate set through the estimator: JapaneseVowels (UEA archive; 12 channels, 9 speakers), the official split.

Searches, trains and tests ``CNNLSTMClassifier`` with its defaults, and compares it with logistic regression on all values and
with MiniRocket (extra ``rocket``) on the official test part, which the estimator sees only in the end.

    python benchmarks/showcase_vowels.py --trials 100 --save-dir vowels
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from cnn_lstm_hyperopt import CNNLSTMClassifier
from cnn_lstm_hyperopt.metrics.proportions import standard_errors, wilson
from machine import printed
from public_data import read_set
from public_sets import logistic, minirocket


def rows(given: argparse.Namespace) -> Iterator[str]:
    """Yield a row for the estimator and for each baseline."""
    data = read_set(given.set, given.folder)
    yield f"{data.name}: {data.shape} (training / test windows, classes, steps × channels), seed {given.seed}"
    yield ""
    yield "| method | accuracy on the official test part (95 % interval) | seconds |"
    yield "|---|---|---|"
    model = CNNLSTMClassifier(
        n_trials=given.trials, random_state=given.seed, n_jobs=given.workers, save_dir=given.save_dir, verbose=True
    )

    def searched() -> float:
        return float(model.fit(data.x, data.y).score(data.test_x, data.test_y))

    methods = {
        f"CNNLSTMClassifier, {given.trials} trials": searched,
        "logistic regression": lambda: float(logistic(data, given.seed)["accuracy"]),
        "MiniRocket": lambda: float(minirocket(data, given.seed)["accuracy"]),
    }
    for name, method in methods.items():
        started = time.monotonic()
        accuracy = method()
        low, high = wilson(accuracy, len(data.test_y), standard_errors(math.inf))
        yield f"| {name} | {accuracy:.3f} ({low:.3f} to {high:.3f}) | {time.monotonic() - started:,.0f} |"
    yield ""
    yield from model.leaderboard().head(10).to_string(index=False).splitlines()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", default="JapaneseVowels", help="name of a set of public_data.py")
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "cnn_lstm_hyperopt_public_sets")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--save-dir", type=Path, required=True, help="new directory for the study and its report")
    return printed("", rows(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
