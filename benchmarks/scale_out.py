"""What many simultaneous workers cost and gain: hypervolume by training seconds and by wall time, in simulated time.

    python benchmarks/scale_out.py --trials 2000 --problems 2,4 --workers 1,8,64
    python benchmarks/scale_out.py --jobs 2                  # 20,000 trials; hours of processor time

Sampler, pruner and storage are those of a real run; only the trainings are simulated, by the problems of
``problems/family.py`` (even numbers are for reports). A share of the trials (``--lost``) loses its worker at a random epoch.
Another worker then runs the trial again from its first epoch, and the lost seconds count.

- *Training seconds* are the sum over all workers. One worker and many workers are compared after the same sum, which is a
  share of the smallest sum of all runs on this problem and seed. A ratio of 1 means that nothing is lost by proposing without
  the results of running trials.
- *Wall time* is that of a fleet whose workers start the trials in order, each on the first free worker. A speed-up compares
  the wall times at which the runs reach 99 % of the smaller final hypervolume.
"""

import argparse
import heapq
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.search import WorkerLostError
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from machine import printed
from problems import Params, Problem
from problems.family import luck_of, member
from problems.runs import Measured, Row, Ruler, Run
from search import run, usual_setup

SHARES = (0.25, 0.5, 1.0)
REACHED = 0.99
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """One run.

    Attributes:
        measured: hypervolumes by training seconds.
        ends: wall time at which each trial ended, in the order of the trials' ends; shape ``(trials,)``.
        lost: number of trials that lost their worker.
        cpu_ms: processor time of sampler, pruner and storage per trial.
    """

    measured: Measured
    ends: Array
    lost: int
    cpu_ms: float

    @classmethod
    def of(cls, problem: Problem, workers: int, found: Run, seconds: float) -> "Outcome":
        """Return the outcome of a run that took so many seconds of processor time."""
        lost = sum(row.reason == "its worker is lost" for row in found.rows)
        measured = Measured(problem, found, Ruler.of(problem, []))
        return cls(measured, wall_ends(found.rows, workers), lost, 1000 * seconds / len(found.rows))

    def wall_to(self, target: float) -> float:
        """Wall time at which the hypervolume reaches a target; infinite if it never does."""
        reached = self.measured.history >= target - 1e-12
        return float(self.ends[reached].min()) if reached.any() else float("inf")


def losing(problem: Problem, share: float) -> Problem:
    """Return a problem of which a share of the trials loses its worker once, at a random epoch."""
    seen: set[str] = set()

    def evaluate(params: Params, seed: int) -> Iterator[tuple[float, float, float, float]]:
        luck = luck_of(f"lost {seed}", params)
        lost = luck.random() < share and (key := f"{seed} {sorted(params.items())}") not in seen
        last = luck.integers(1, problem.max_epochs + 1) if lost else np.inf
        if lost:
            seen.add(key)
        for measurement in problem.evaluate(params, seed):
            if measurement[0] > last:
                raise WorkerLostError
            yield measurement
        if lost:  # after the last epoch, before the result was stored
            raise WorkerLostError

    return replace(problem, evaluate=evaluate)


def wall_ends(rows: Sequence[Row], workers: int) -> Array:
    """Return the wall time at which each row ended, if trials start in order of number on the first free worker."""
    free = [0.0] * workers
    ends = {}
    for row in sorted(rows, key=lambda each: each.number):
        ends[row.number] = heapq.heappop(free) + row.seconds
        heapq.heappush(free, ends[row.number])
    return np.array([ends[row.number] for row in rows])


def simulated(number: int, seed: int, workers: int, given: argparse.Namespace) -> tuple[Run, float]:
    """Run a search on a problem with a number of workers; return the run and its processor time in seconds."""
    problem = member(number)
    setup = replace(usual_setup(problem, given.trials, workers), storage=given.storage)
    begun = time.process_time()
    found = run(losing(problem, given.lost), given.sampler, given.pruner, seed, setup, lambda count: None)
    return found, time.process_time() - begun


def table(given: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the tables, each problem's as soon as it is known."""
    heads = " | ".join(f"HV at {share:.0%} of the seconds, ÷ 1 worker" for share in SHARES)
    yield f"| problem | seed | workers | {heads} | HV after all trials | wall time, h | speed-up | lost | CPU, ms a trial |"
    yield "|---" * (8 + len(SHARES)) + "|"
    ratios: dict[int, list[list[float]]] = {workers: [] for workers in given.workers}
    with ProcessPoolExecutor(given.jobs) as pool:
        runs = {
            (number, seed, workers): pool.submit(simulated, number, seed, workers, given)
            for number in given.problems
            for seed in given.seeds
            for workers in sorted(given.workers, reverse=True)  # proposals for many workers take longest
        }
        for number in given.problems:
            problem = member(number)
            for seed in given.seeds:
                found = {
                    workers: Outcome.of(problem, workers, *runs[number, seed, workers].result())
                    for workers in given.workers
                }
                budget = min(float(each.measured.seconds[-1]) for each in found.values())
                alone = found[given.workers[0]]
                for workers, each in found.items():
                    measured, base = each.measured, alone.measured
                    ratio = [
                        measured.after_seconds(share * budget) / base.after_seconds(share * budget) for share in SHARES
                    ]
                    ratios[workers].append(ratio)
                    target = REACHED * min(measured.hypervolume, base.hypervolume)
                    yield (
                        f"| {number} | {seed} | {workers} | {' | '.join(f'{value:.3f}' for value in ratio)} |"
                        f" {measured.hypervolume:.3f} | {each.ends.max() / 3600:.2f} |"
                        f" {alone.wall_to(target) / each.wall_to(target):.1f} | {each.lost} | {each.cpu_ms:.0f} |"
                    )
    yield ""
    yield f"| workers | {heads}: median (smallest) |"
    yield "|---" * (1 + len(SHARES)) + "|"
    for workers, every in ratios.items():
        values = np.array(every)
        cells = (f"{np.median(column):.3f} ({column.min():.3f})" for column in values.T)
        yield f"| {workers} | {' | '.join(cells)} |"


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20_000, help="finished trials of a run")
    parser.add_argument("--problems", type=_numbers, default=[2, 4, 6, 8], metavar="2,4,6,8", help="seeds of problems")
    parser.add_argument("--workers", type=_numbers, default=[1, 8, 64, 512], help="the first number is compared with")
    parser.add_argument("--seeds", type=_numbers, default=[1])
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="gp")
    parser.add_argument("--pruner", default="front")
    parser.add_argument("--storage", choices=["memory", "sqlite"], default="memory")
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at the same time, each in a process")
    parser.add_argument("--lost", type=float, default=0.01, help="share of trials that lose their worker")
    given = parser.parse_args(arguments)
    return printed(f"; {given.trials:,} trials, {given.sampler} + {given.pruner}, {given.storage}", table(given))


if __name__ == "__main__":
    sys.exit(main())
