"""Which candidates, which ranking and which model of record give the best model? Simulated studies with known truth.

A window has a latent x ~ N(0, 1), and class 1 has the probability 1 / (1 + exp(−0.6 x)). A trial's network has the logit
c 0.6 x + n e + 0.25 u. The trial's factor c (confidence) is uniform in the range of `--confidence` and its n (error) in 0.2 to
0.8. The errors e are those of the configuration and u those of the seed; both are N(0, 1) in each window. Seconds are
log-normal and do not depend on the quality. The search measures each trial once on validation. Then the confirmation runs
with three fresh seeds, and the chosen trial is retrained with three seeds. The table has the accuracy and the log loss on
fresh windows, as differences from the first row.

    python benchmarks/evaluation_confirmation.py --studies 200
    python benchmarks/evaluation_confirmation.py --studies 200 --confidence 1 1
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from cnn_lstm_hyperopt.metrics import score
from cnn_lstm_hyperopt.search import (
    CONFIRMED_PER_MODEL,
    Point,
    SkillThreshold,
    State,
    TrialRecord,
    Values,
    confirmation_candidates,
    ranked_front,
    remaining_candidates,
)
from cnn_lstm_hyperopt.utils.rng import stream

TRIALS, WINDOWS, FRESH, SEEDS, TOP_K = 100, 2_400, 20_000, 3, 3
SLOPE, SEED_NOISE = 0.6, 0.25

Floats = NDArray[np.float64]


class Data:
    """Windows with labels; ``networks`` returns the probabilities of networks of a trial."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.rng, self.x = rng, rng.normal(size=count)
        self.labels = (rng.random(count) < expit(SLOPE * self.x)).astype(np.int64)
        self.errors: dict[int, Floats] = {}

    def networks(self, trial: int, confidence: float, error: float, count: int) -> Floats:
        """Return the probabilities ``(count, windows, 2)`` of ``count`` new seeds."""
        if trial not in self.errors:
            self.errors[trial] = self.rng.normal(size=len(self.x))
        noise = SEED_NOISE * self.rng.normal(size=(count, len(self.x)))
        up = expit(confidence * SLOPE * self.x + error * self.errors[trial] + noise)
        return np.stack([1 - up, up], axis=-1)

    def scores(self, probabilities: Floats) -> tuple[float, float]:
        """Return accuracy and log loss."""
        accuracy, likelihood = (score(metric, self.labels, probabilities) for metric in ("accuracy", "log_loss"))
        return accuracy, -likelihood


def study(number: int, confidence: tuple[float, float]) -> list[list[float]]:
    """Return accuracy and log loss on fresh windows for each row of the table."""
    rng = stream(0, number, "confirmation")
    validation, fresh = Data(rng, WINDOWS), Data(rng, FRESH)
    facts = list(zip(rng.uniform(*confidence, TRIALS), rng.uniform(0.2, 0.8, TRIALS), strict=True))
    records = []
    for trial, seconds in enumerate(np.exp(rng.normal(3, 0.7, TRIALS))):
        accuracy, loss = validation.scores(validation.networks(trial, *facts[trial], 1)[0])
        values = Values(accuracy, float(seconds), 1.0)
        curve = (Point(1.0, accuracy, loss, float(seconds)),)
        records.append(TrialRecord(trial, State.COMPLETE, {}, values, float(seconds), curve, 1.0, None, "", None, {}))
    skill = SkillThreshold(0.5, WINDOWS)
    front = ranked_front(records, skill)[: CONFIRMED_PER_MODEL * TOP_K]
    both = confirmation_candidates(records, skill, TOP_K)
    measured, by_seed = {}, {}
    for record in {each.number: each for each in (*front, *both)}.values():
        runs = validation.networks(record.number, *facts[record.number], SEEDS)
        by_seed[record.number] = np.array([validation.scores(run) for run in runs])
        measured[record.number] = np.mean(by_seed[record.number], axis=0)
    rows = []
    for candidates in (front, both):
        for place, sign in ((0, -1), (1, 1)):
            chosen = min((each.number for each in candidates), key=lambda n: sign * measured[n][place])
            rows.append(
                list(np.mean([fresh.scores(run) for run in fresh.networks(chosen, *facts[chosen], SEEDS)], axis=0))
            )
    for which in (chosen, halved([each.number for each in both], by_seed)):
        seeds = fresh.networks(which, *facts[which], SEEDS)
        rows.append(list(fresh.scores(seeds.mean(axis=0))))
    return rows


def halved(left: list[int], by_seed: dict[int, Floats]) -> int:
    """Return the best trial if the better half by log loss, but at least ``TOP_K`` trials, gets the next seed."""
    for seed in range(1, SEEDS + 1):
        left = sorted(left, key=lambda number: by_seed[number][:seed, 1].mean())
        best, left = left[0], left[: remaining_candidates(len(left), TOP_K)]
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--confidence", type=float, nargs=2, default=(0.6, 1.4))
    given = parser.parse_args()
    found = np.array([study(number, given.confidence) for number in range(given.studies)])
    names = ["front, accuracy", "front, log loss", "front and best scores, accuracy", "front and best scores, log loss"]
    means = [f"{name} | mean of {SEEDS} seeds" for name in (names[-1], f"{names[-1]} with halving")]
    names = [*(f"{name} | one seed" for name in names), *means]
    base = found[:, 0]
    print(f"first row: accuracy {100 * base[:, 0].mean():.2f} %, log loss {base[:, 1].mean():.4f}")
    print("| candidates, ranked by | model | accuracy (points) | log loss (0.001) |\n|---|---|---|---|")
    for place, name in enumerate(names):
        gain = (found[:, place] - base) * (100, 1000)
        error = gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
        print(f"| {name} | {gain[:, 0].mean():+.2f} ± {error[0]:.2f} | {gain[:, 1].mean():+.2f} ± {error[1]:.2f} |")


if __name__ == "__main__":
    main()
