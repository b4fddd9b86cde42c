"""Whether several workers find what one finds in the same seconds of training; in simulated time.

    python benchmarks/workers.py --problem benchmarks/problems/volatility.py --workers 2,8 --seeds 1,2,3 --out DIR

Each worker's seconds count: the same total is reached in a half or an eighth of the time. The hypervolume is compared at shares
of the seconds that the shorter of the two runs spent, so both have had them.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from machine import machine_line
from problems import load_problem
from problems.runs import Measured, Ruler, Run
from search import kept_runs, usual_setup

SHARES = (0.25, 0.5, 1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table; runs that are in ``--out`` already are not repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", type=Path, required=True)
    parser.add_argument("--sampler", default="gp")
    parser.add_argument("--pruner", default="front")
    parser.add_argument("--n-trials", type=int, default=1000)
    parser.add_argument("--workers", default="2,8", help="each compared with one")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--out", type=Path, required=True, help="where every run is kept")
    given = parser.parse_args(arguments)
    problem, seeds = load_problem(given.problem), [int(seed) for seed in given.seeds.split(",")]
    counts = [1, *(int(count) for count in given.workers.split(","))]
    runs: dict[int, list[Run]] = {}
    for count in counts:
        pair, setup = (given.sampler, given.pruner), usual_setup(problem, given.n_trials, count)
        made = kept_runs(problem, [pair], seeds, setup, given.out / f"{count}-workers")
        runs[count] = [made[pair, seed] for seed in seeds]
    ruler = Ruler.of(problem, [each for by_count in runs.values() for each in by_count])
    measured = {count: [Measured(problem, each, ruler) for each in by_count] for count, by_count in runs.items()}
    print(f"{machine_line()}\n")
    print(
        f"{problem.path.name}: {given.sampler} + {given.pruner}, {given.n_trials} trials, seeds {given.seeds}; hypervolume as a"
        " share of one worker's at the same seconds of training: median (least to most)\n"
    )
    print(f"| workers | {' | '.join(f'at {share:.0%}' for share in SHARES)} | hypervolume in the end | seconds spent |")
    print("|---" * (len(SHARES) + 3) + "|")
    for count in counts:
        cells = []
        for share in SHARES:
            ratios = []
            for mine, one in zip(measured[count], measured[1], strict=True):
                at = share * min(float(mine.seconds[-1]), float(one.seconds[-1]))
                ratios.append(mine.after_seconds(at) / one.after_seconds(at))
            cells.append(f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
        cells.append(f"{statistics.median(each.hypervolume for each in measured[count]):.3f}")
        cells.append(f"{statistics.median(float(each.seconds[-1]) for each in measured[count]):,.0f}")
        print(f"| {count} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
