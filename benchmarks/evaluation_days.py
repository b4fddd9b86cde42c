"""Do the intervals of the verdict hold if difficult days follow each other? Simulated test sets with 1, 78 or 390 bars a day.

Two independent models are right in 55 % of the windows. A window is right if a normal number is below a quantile. 30 % of the
variance of this number is the difficulty of its day, an autoregression (coefficient 0.9) over days that each model has for
itself. The table shows how often the interval of a model's accuracy covers 55 %, and how often the interval of the difference
of the two models does not contain 0, so that equal models are declared different (5 % is right).

    python benchmarks/evaluation_days.py --simulations 1000 --bars 1
    python benchmarks/evaluation_days.py --simulations 200 --bars 78 390
"""

import argparse
import math

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from scipy.special import ndtri

from cnn_lstm_hyperopt.evaluation import Dependence, paired_interval, score_interval
from cnn_lstm_hyperopt.utils.rng import stream

ACCURACY, SHARED, AUTOREGRESSION, BURN_IN = 0.55, 0.3, 0.9, 200
DAYS = (120, 250, 480)


def session_times(days: int, bars: int) -> NDArray[np.datetime64]:
    """Return the times of ``bars`` bars a day, from 9:30 to 16:00, (days × bars,)."""
    minutes = np.arange(bars) * np.timedelta64(390 // bars, "m")
    starts = np.datetime64("2020-01-01T09:30", "ns") + np.arange(days) * np.timedelta64(1, "D")
    return np.asarray((starts[:, None] + minutes).ravel())


def probabilities(rng: np.random.Generator, labels: NDArray[np.int64], days: int) -> NDArray[np.float64]:
    """Return certain predictions of a model, (windows, 2), that are right in 55 % of the windows on average."""
    shocks = rng.normal(size=days + BURN_IN) * math.sqrt(1 - AUTOREGRESSION**2)
    difficulty = lfilter([1.0], [1.0, -AUTOREGRESSION], shocks)[BURN_IN:]
    common = np.repeat(difficulty, len(labels) // days)
    number = math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * rng.normal(size=len(labels))
    return np.eye(2)[np.where(number < ndtri(ACCURACY), labels, 1 - labels)]


def simulate(days: int, bars: int, simulations: int, seed: int) -> tuple[float, float]:
    """Return the share of intervals that cover the accuracy, and the share of equal models that are declared different."""
    dependence = Dependence.by_date(session_times(days, bars))
    covered = different = 0
    for number in range(simulations):
        rng = stream(seed, number, f"days {days} bars {bars}")
        labels = (rng.random(days * bars) < 0.5).astype(np.int64)
        ours, theirs = (probabilities(rng, labels, days) for _ in range(2))
        own = score_interval("accuracy", labels, ours, dependence)
        pair = paired_interval("accuracy", labels, ours, theirs, dependence)
        if own is None or pair is None:
            raise RuntimeError(f"{days} days must give an interval")
        covered += own.low <= ACCURACY <= own.high
        different += not pair.low <= 0 <= pair.high
    return covered / simulations, different / simulations


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=300)
    parser.add_argument("--bars", type=int, nargs="+", default=[1, 78], help="bars a day; 1 is daily")
    parser.add_argument("--days", type=int, nargs="+", default=list(DAYS))
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    print("| bars a day | days | interval covers the truth | equal models declared different |\n|---|---|---|---|")
    for bars in asked.bars:
        for days in asked.days:
            covered, different = simulate(days, bars, asked.simulations, asked.seed)
            print(f"| {bars} | {days} | {100 * covered:.1f} % | {100 * different:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
