"""Whether pruning pays: one sampler with a pruner and without, seed by seed.

    python benchmarks/paired.py --problem benchmarks/problems/volatility.py --budget 8386 \\
        --seeds 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20 --out comparison

Runs are kept in ``--out``, which may be that of ``search.py --compare``; what is there is not made again. The first table has
what pruning took and gave, the second hypervolumes after the same seconds of training, with the p of Wilcoxon's signed-rank test
of the differences (two-sided). The words are those of ``problems/runs.py``.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scipy.stats import wilcoxon

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from machine import machine_line
from problems import load_problem
from problems.runs import Measured, Ruler
from search import SHARES, kept_runs, usual_setup

FIGURES = {
    "pruned": "pruned",
    "saved of the same trials": "saved",
    "direct regret": "regret",
    "wrongly pruned": "wrongly_pruned",
    "true front lost": "front_lost",
    "shown front lost": "shown_front_lost",
}


def spent(pruned: Sequence[Measured], whole: Sequence[Measured]) -> Iterator[str]:
    """Lines of Markdown: what pruning took and gave."""
    yield "| | median | least | most |"
    yield "|---|---|---|---|"

    def line(name: str, numbers: Sequence[float], form: str) -> str:
        cells = (statistics.median(numbers), min(numbers), max(numbers))
        return f"| {name} | {' | '.join(format(cell, form) for cell in cells)} |"

    ends = [[float(each.seconds[-1]) for each in runs] for runs in (pruned, whole)]
    yield line("seconds of training", ends[0], ",.0f")
    yield line("without pruning", ends[1], ",.0f")
    yield line("ratio, seed by seed", [mine / other for mine, other in zip(*ends, strict=True)], ".2f")
    for name, figure in FIGURES.items():
        known = [value for each in pruned if (value := getattr(each, figure)) is not None]
        if known:
            yield line(name, known, ".1%" if figure != "regret" else ".2%")
    told = [each.estimated for each in pruned if each.estimated]
    if told:
        yield line("width of the estimate's interval", [each.high - each.low for each in told], ".3f")
    covered = [each.covered for each in pruned if each.covered is not None]
    if covered:
        mean = statistics.fmean(each.high - each.low for each in told)
        yield ""
        yield (
            f"The estimated share wrongly pruned held the truth in {sum(covered):.0f} of {len(covered)} runs; mean width of its"
            f" interval {mean:.3f}."
        )


def at_equal_seconds(pruned: Sequence[Measured], whole: Sequence[Measured], budget: float) -> Iterator[str]:
    """Lines of Markdown: medians of hypervolumes, and of their differences."""
    yield f"| of {budget:,.0f} s | with pruning | without | difference, median | seeds in which pruning is ahead | p |"
    yield "|---|---|---|---|---|---|"
    for share in SHARES:
        pairs = [
            (mine.after_seconds(share * budget), other.after_seconds(share * budget))
            for mine, other in zip(pruned, whole, strict=True)
        ]
        differences = [mine - other for mine, other in pairs]
        ahead = sum(difference > 0 for difference in differences)
        p = float(wilcoxon(differences).pvalue) if any(differences) else 1.0
        medians = [statistics.median(each) for each in zip(*pairs, strict=True)]
        yield (
            f"| {share:.0%} | {medians[0]:.3f} | {medians[1]:.3f} | {statistics.median(differences):+.3f} |"
            f" {ahead} of {len(pairs)} | {p:.2f} |"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", type=Path, required=True, metavar="FILE", help="a problem file")
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="gp")
    parser.add_argument("--pruner", choices=[name for name in PRUNERS if name != "none"], default="front")
    parser.add_argument("--n-trials", type=int, default=1000)
    parser.add_argument("--seeds", default="1,2,3,4,5", metavar="1,2,3")
    parser.add_argument(
        "--budget", type=float, metavar="SECONDS", help="of training; the median without pruning if left out"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where every run is kept")
    given = parser.parse_args(arguments)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    pairs = [(given.sampler, given.pruner), (given.sampler, "none")]
    try:
        problem = load_problem(given.problem)
        runs = kept_runs(problem, pairs, seeds, usual_setup(problem, given.n_trials), given.out)
    except HyperoptError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    ruler = Ruler.of(problem, list(runs.values()))
    pruned, whole = ([Measured(problem, runs[pair, seed], ruler) for seed in seeds] for pair in pairs)
    budget = given.budget or statistics.median(float(each.seconds[-1]) for each in whole)
    print(f"{machine_line()}\n")
    print(f"{problem.path.name}: {given.sampler} with {given.pruner}, {given.n_trials} trials, {len(seeds)} seeds\n")
    for line in [*spent(pruned, whole), "", *at_equal_seconds(pruned, whole, budget)]:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
