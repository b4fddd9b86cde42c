"""How often do the intervals of the verdict cover the truth? Pairs of models with known accuracies on simulated test sets.

Four kinds of test sets:

- *sorted*: independent windows without dates, in the order of their classes, as many public sets are;
- *shuffled*: the same in random order;
- *grouped*: windows of groups (of 5 windows, at least 8 groups) that share a difficulty;
- *serial*: dated windows whose difficulty is an autoregression (coefficient 0.8).

A window is right where a normal number lies below the quantile of the model's accuracy, so each accuracy is exact. 30 % of that
number's variance are the difficulty, half of which both models share; half of the rest is shared, too: models err together.
Classes are even or 4 : 1, and the model's hits do not depend on them.

    python benchmarks/intervals.py --pairs 2000
"""

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cnn_lstm_hyperopt.evaluation import Dependence, Interval, paired_interval, score_interval
from cnn_lstm_hyperopt.utils.rng import stream

Floats = NDArray[np.float64]

KINDS = ("sorted", "shuffled", "grouped", "serial")
SIZES = (40, 200, 1000)
ACCURACIES = ((0.5, 0.5), (0.8, 0.7), (0.97, 0.85))
"""Of the model and of the baseline."""
MINORITIES = (0.5, 0.2)
"""Share of the second class."""
GROUP_SIZE, MIN_GROUPS = 5, 8
AUTOREGRESSION, BURN_IN = 0.8, 50
DIFFICULTY, SHARED = 0.3, 0.5
"""Shares of the variance: of the difficulty, and of what both models have in common of each part."""


class Setting(NamedTuple):
    """One kind of test set and one pair of accuracies."""

    kind: str
    windows: int
    accuracies: tuple[float, float]
    minority: float


@dataclass
class Coverage:
    """How the intervals of one sort did.

    Attributes:
        pairs: simulated.
        covered: intervals that held the truth.
        outside: intervals that left their range.
        width: sum of their widths.
    """

    pairs: int = 0
    covered: int = 0
    outside: int = 0
    width: float = 0.0

    def add(self, interval: Interval | None, truth: float, least: float) -> None:
        """Count an interval; its range is from ``least`` to 1."""
        self.pairs += 1
        if interval is None:
            return
        self.covered += interval.low <= truth <= interval.high
        self.outside += not least <= interval.low <= interval.high <= 1
        self.width += interval.high - interval.low

    def __str__(self) -> str:
        share = self.covered / self.pairs
        error = math.sqrt(share * (1 - share) / self.pairs)
        return f"{100 * share:.1f} ± {100 * error:.1f} % | {self.width / self.pairs:.3f}"


def settings() -> Iterator[Setting]:
    """All of them."""
    for kind in KINDS:
        for windows in SIZES:
            for accuracies in ACCURACIES:
                for minority in MINORITIES:
                    yield Setting(kind, windows, accuracies, minority)


def simulate(
    setting: Setting, random: np.random.Generator
) -> tuple[NDArray[np.int64], tuple[Floats, Floats], Dependence]:
    """Labels, probabilities of both models and which windows depend on each other."""
    n = setting.windows
    labels = (random.random(n) < setting.minority).astype(np.int64)
    if setting.kind == "sorted":
        labels.sort()
    dependence, difficulties = _dependent(setting.kind, n, random)
    shared = random.normal(size=n)
    models = []
    for accuracy, difficulty in zip(setting.accuracies, difficulties, strict=True):
        own = math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * random.normal(size=n)
        hard = difficulty is None
        number = own if hard else math.sqrt(DIFFICULTY) * difficulty + math.sqrt(1 - DIFFICULTY) * own
        models.append(np.eye(2)[np.where(number < ndtri(accuracy), labels, 1 - labels)])
    return labels, (models[0], models[1]), dependence


def _dependent(
    kind: str, n: int, random: np.random.Generator
) -> tuple[Dependence, tuple[Floats | None, Floats | None]]:
    """What depends on each other, and the difficulty of each window for each model, with variance 1."""
    if kind in ("sorted", "shuffled"):
        return Dependence.independent(n), (None, None)
    if kind == "grouped":
        groups = np.arange(n) % max(MIN_GROUPS, n // GROUP_SIZE)
        common, first, second = random.normal(size=(3, int(groups.max()) + 1))[:, groups]
        dependence = Dependence.by_group(groups)
    else:
        common, first, second = (autoregression(n, random) for _ in range(3))
        dependence = Dependence.by_date(np.arange(n))
    weights = math.sqrt(SHARED), math.sqrt(1 - SHARED)
    return dependence, (weights[0] * common + weights[1] * first, weights[0] * common + weights[1] * second)


def autoregression(
    n: int, random: np.random.Generator, coefficient: float = AUTOREGRESSION, burn_in: int = BURN_IN
) -> Floats:
    """A series with variance 1, (n,)."""
    shocks = math.sqrt(1 - coefficient**2) * random.normal(size=n + burn_in)
    for place in range(1, len(shocks)):
        shocks[place] += coefficient * shocks[place - 1]
    return shocks[burn_in:]


def measure(setting: Setting, pairs: int, seed: int) -> tuple[Coverage, Coverage]:
    """Coverage of the model's accuracy and of its difference to the baseline's."""
    own, difference = Coverage(), Coverage()
    for pair in range(pairs):
        labels, (ours, theirs), dependence = simulate(setting, stream(seed, pair, repr(setting)))
        own.add(score_interval("accuracy", labels, ours, dependence), setting.accuracies[0], 0.0)
        gain = setting.accuracies[0] - setting.accuracies[1]
        difference.add(paired_interval("accuracy", labels, ours, theirs, dependence), gain, -1.0)
    return own, difference


def main() -> int:
    """Print a table; 1 where an interval left its range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=2000, help="simulated pairs for each row")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(
        "| test set | windows | accuracies | classes | accuracy covered | mean width | difference covered | mean width |"
    )
    print("|---|---|---|---|---|---|---|---|")
    outside, shares = 0, []
    for setting in settings():
        own, difference = measure(setting, given.pairs, given.seed)
        outside += own.outside + difference.outside
        shares += [own.covered / own.pairs, difference.covered / difference.pairs]
        classes = f"{round(100 * (1 - setting.minority))} : {round(100 * setting.minority)}"
        print(
            f"| {setting.kind} | {setting.windows:,} | {setting.accuracies[0]:g}, {setting.accuracies[1]:g} | {classes} | {own} |"
            f" {difference} |",
            flush=True,
        )
    mean, least, most = (100 * each for each in (np.mean(shares), min(shares), max(shares)))
    print(f"\n{len(shares)} shares of {given.pairs:,} pairs: {mean:.1f} % on average, {least:.1f} to {most:.1f} %")
    print(f"{outside} intervals left their range")
    return 1 if outside else 0


if __name__ == "__main__":
    sys.exit(main())
