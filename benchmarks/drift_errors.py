"""Alarms about the error rate on simulated errors of five symbols, without a change and with one.

    python benchmarks/drift_errors.py --runs 60 --first 2000

An error is a latent normal variable below a bound. Without a change, 1,000 dates have the error rate 45 %. With a change, 500
dates at 45 % are followed by 250 dates at 55 %. Numbers say in how many runs ADWIN reports a change, as ``update`` uses it.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from cnn_lstm_hyperopt.pipeline.updates.drift import error_drift
from machine import printed

Floats = NDArray[np.float64]
Process = Callable[[np.random.Generator, int], Floats]
"""Function that returns the latent variables of a number of dates, ``(dates, symbols)``, each with the variance 1."""
SYMBOLS, WARM_UP = 5, 600
BOUND = 0.125
"""Distance of the bounds of the rates 45 and 55 % from 0."""


def shocks(rng: np.random.Generator, dates: int, correlation: float = 0.0) -> Floats:
    """Return independent dates of correlated symbols."""
    shared, own = rng.standard_normal((dates, 1)), rng.standard_normal((dates, SYMBOLS))
    return np.asarray(np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own)


def filtered(
    rng: np.random.Generator,
    dates: int,
    *,
    ma: tuple[float, ...] = (1,),
    ar: tuple[float, ...] = (1,),
    correlation: float = 0,
) -> Floats:
    """Return an ARMA process for each symbol; the coefficients are those of ``scipy.signal.lfilter``."""
    found = lfilter(ma, ar, shocks(rng, dates + WARM_UP, correlation), axis=0)
    weights = lfilter(ma, ar, np.eye(1, 5_000)[0])
    return np.asarray(found[-dates:] / np.sqrt(weights @ weights))


def with_slow_part(rng: np.random.Generator, dates: int, *, share: float, memory: float) -> Floats:
    """Return independent errors plus an autoregression that all symbols share, with a share of the variance."""
    slow = lfilter([np.sqrt(1 - memory**2)], [1, -memory], rng.standard_normal(dates + WARM_UP))[-dates:]
    return np.asarray(np.sqrt(1 - share) * shocks(rng, dates) + np.sqrt(share) * slow[:, None])


PROCESSES: dict[str, Process] = {
    **{
        f"autoregression {phi}, symbols with correlation {rho}": partial(filtered, ar=(1, -phi), correlation=rho)
        for rho in (0, 0.3)
        for phi in (0, 0.2, 0.4, 0.6)
    },
    **{f"labels of {bars} bars overlap": partial(filtered, ma=(1,) * bars) for bars in (5, 10, 20)},
    "labels of 7 bars overlap, symbols with correlation 0.3": partial(filtered, ma=(1,) * 7, correlation=0.3),
    "autoregression of order 2 (0.5, 0.35)": partial(filtered, ar=(1, -0.5, -0.35)),
    "ARMA (0.9, −0.6)": partial(filtered, ma=(1, -0.6), ar=(1, -0.9)),
    "5 % of the variance varies over 33 dates": partial(with_slow_part, share=0.05, memory=0.97),
    "20 % of the variance varies over 33 dates": partial(with_slow_part, share=0.2, memory=0.97),
    "10 % of the variance varies over 100 dates": partial(with_slow_part, share=0.1, memory=0.99),
}


def reported(latent: Floats, bounds: Floats, new: int) -> bool:
    """Return whether a change is reported at one of the last ``new`` dates."""
    rates = (latent < bounds[:, None]).mean(axis=1)
    return bool(error_drift([(str(date), float(rate)) for date, rate in enumerate(rates)], new)["changes"])


def table(runs: int, first: int) -> Iterator[str]:
    """Yield the lines of a table with a row for each process."""
    yield "| errors | runs with a false alarm | rise found within 250 dates |"
    yield "|---|---|---|"
    for name, process in PROCESSES.items():
        alarms = found = 0
        for seed in range(first, first + runs):
            alarms += reported(process(np.random.default_rng([seed, 0]), 1_000), np.full(1_000, -BOUND), 1_000)
            bounds = np.repeat([-BOUND, BOUND], [500, 250])
            found += reported(process(np.random.default_rng([seed, 1]), 750), bounds, 250)
        yield f"| {name} | {alarms / runs:.0%} | {found / runs:.0%} |"


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--first", type=int, default=2_000, help="first seed")
    given = parser.parse_args()
    return printed(f"; {given.runs} runs a row, seeds from {given.first}", table(given.runs, given.first))


if __name__ == "__main__":
    sys.exit(main())
