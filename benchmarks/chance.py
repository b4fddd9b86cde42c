"""How often does a model without knowledge "beat chance", and how often is a model with a little knowledge recognised?

An autoregression that all windows of a date share drives the labels, another one the model's predictions: volatile times last for
weeks. Two rules are compared on the same simulated test sets. The verdict's rule: the interval of the balanced accuracy
lies above 1 / classes. The other one: the paired interval of the accuracy, less that of the majority class, lies above 0. A model
without knowledge should beat chance in 2.5 % of the runs at most.

`--log-loss` has models whose logits are a constant plus slow noise, while the class frequencies drift. The constant is that of
the training windows, that of the validation windows, or half of both. Two rules are compared: the paired interval of the log
loss, less that of the training frequencies (the verdict's rule) or of the test frequencies, lies above 0.

    python benchmarks/chance.py --runs 2000
    python benchmarks/chance.py --log-loss --runs 400
"""

import argparse
import sys
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from cnn_lstm_hyperopt.evaluation import Dependence, judge, paired_interval
from cnn_lstm_hyperopt.utils.rng import stream
from intervals import autoregression

BURN_IN = 200


class Setting(NamedTuple):
    """A simulated test set and a model.

    Attributes:
        dates, windows_per_date: of the test set.
        labels, model: autoregressive coefficients of what drives the labels, and the model's predictions.
        knowledge: correlation of the model's score with the driver of the labels.
        classes: number of classes.
    """

    dates: int
    windows_per_date: int
    labels: float
    model: float
    knowledge: float
    classes: int = 2


SETTINGS = (
    Setting(480, 5, 0.9, 0.0, 0.0),
    Setting(480, 5, 0.9, 0.9, 0.0),
    Setting(480, 5, 0.97, 0.97, 0.0),
    Setting(120, 5, 0.9, 0.9, 0.0),
    Setting(480, 1, 0.5, 0.5, 0.0),
    Setting(2000, 1, 0.9, 0.9, 0.0),
    Setting(480, 5, 0.9, 0.9, 0.0, classes=3),
    Setting(480, 5, 0.9, 0.9, 0.3),
    Setting(480, 5, 0.97, 0.9, 0.3),
)


def simulated(setting: Setting, random: np.random.Generator) -> tuple[bool, bool]:
    """Whether the model beats chance by the verdict's rule, and by the majority class."""
    date = np.repeat(np.arange(setting.dates), setting.windows_per_date)
    shared, own = (autoregression(setting.dates, random, each, BURN_IN) for each in (setting.labels, setting.model))
    driver = np.sqrt(0.5) * shared[date] + np.sqrt(0.5) * random.normal(size=len(date))
    noise = np.sqrt(0.7) * own[date] + np.sqrt(0.3) * random.normal(size=len(date))
    score = setting.knowledge * driver + np.sqrt(1 - setting.knowledge**2) * noise
    edges = np.array([0.1]) if setting.classes == 2 else np.array([-0.4, 0.4])
    labels, said = (np.digitize(each, edges).astype(np.int64) for each in (driver, score))
    ours = np.eye(setting.classes)[said] * 0.5 + 0.5 / setting.classes
    ours[:, 0] += 1e-6 * random.random(len(date))  # not a constant, whatever it says
    shares = np.bincount(labels, minlength=setting.classes) / len(labels)
    baselines = {"majority class": np.tile(shares, (len(labels), 1))}
    judged = judge("accuracy", labels, ours / ours.sum(axis=1, keepdims=True), baselines, Dependence.by_date(date))
    return judged.against_chance.is_better, judged.against_best.is_better


DRIFTS = ((0.5, 1), (0.9, 5), (0.97, 5), (0.99, 5))
"""Autoregressive coefficient of what drives the labels, and windows per date."""
DATES = (2240, 480, 480)
"""Training, validation and test dates."""


def drifted(coefficient: float, per_date: int, random: np.random.Generator) -> list[bool]:
    """Whether a model beats chance, for each of its three constants by both rules."""
    shared = np.repeat(autoregression(sum(DATES), random, coefficient, BURN_IN), per_date)
    labels = (shared + random.normal(size=len(shared)) > 0).astype(np.int64)
    train, validation, test = np.split(labels, np.cumsum(DATES)[:2] * per_date)
    own = np.repeat(autoregression(DATES[2], random, 0.9, BURN_IN), per_date)
    noise = np.sqrt(0.7) * own + np.sqrt(0.3) * random.normal(size=len(test))
    dependence = Dependence.by_date(np.repeat(np.arange(DATES[2]), per_date))
    found = []
    for share in (train.mean(), (train.mean() + validation.mean()) / 2, validation.mean()):
        ours = expit(logit(share) + 0.1 * noise)
        for constant in (train.mean(), test.mean()):
            both = [np.stack([1 - up, up], axis=1) for up in (ours, np.full(len(test), constant))]
            interval = paired_interval("log_loss", test, *both, dependence)
            found.append(interval is not None and interval.low > 0)
    return found


def by_log_loss(runs: int, seed: int) -> None:
    """Print a row per drift."""
    print("| AR labels | windows per date | constant of training | of both | of validation |\n|---|---|---|---|---|")
    for row, (coefficient, per_date) in enumerate(DRIFTS):
        streams = (stream(seed, 10_000 * row + run, "chance by log loss") for run in range(runs))
        found = 100 * np.mean([drifted(coefficient, per_date, random) for random in streams], axis=0)
        cells = (f"{of_train:.1f} %, {of_test:.1f} %" for of_train, of_test in found.reshape(3, 2))
        print(f"| {coefficient} | {per_date} | {' | '.join(cells)} |", flush=True)


def main() -> int:
    """Print a row per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000, help="simulated test sets for each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-loss", action="store_true", help="models with drifting class frequencies, by log loss")
    asked = parser.parse_args()
    if asked.log_loss:
        by_log_loss(asked.runs, asked.seed)
        return 0
    print(
        "| dates × windows | classes | AR labels, model | knowledge | balanced accuracy | against the majority class |"
    )
    print("|---|---|---|---|---|---|")
    for row, setting in enumerate(SETTINGS):
        found = [simulated(setting, stream(asked.seed, 10_000 * row + run, "chance")) for run in range(asked.runs)]
        ours, plain = 100 * np.mean(found, axis=0)
        print(
            f"| {setting.dates:,} × {setting.windows_per_date} | {setting.classes} | {setting.labels}, {setting.model}"
            f" | {setting.knowledge} | {ours:.1f} % | {plain:.1f} % |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
