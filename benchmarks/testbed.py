"""A pruner against no pruning, on problems that nobody tuned the search on: one command, paired differences with intervals.

    python benchmarks/testbed.py --half tune --n-trials 300 --curves ../shared/curves --out /tmp/testbed

``--half tune`` takes the odd seeds of ``problems/family.py`` and three tasks of ``problems/curves.py``, ``--half report`` the
even seeds and the other three tasks. Look at the reporting half only to report. Every pair runs with and without predicted costs.
The budget of a problem and seed is the seconds that the better of Optuna's two TPE variants spends on the same number of trials.

``--rivals optuna-gp smac`` adds a table of other searches of ``peers.py`` with the same number of trials; ``NAME*2`` has twice
as many trials. None of them uses predicted costs.

Runs are kept in ``--out``; what is there is not made again, so use a new folder after a change of the search.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnn_lstm_hyperopt.errors import HyperoptError, InputError
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from machine import machine_line
from peers import PEERS, TO_BEAT
from problems import Problem
from problems.curves import REPORT, TUNE, Task, curve_task, table_at
from problems.family import member
from problems.runs import Measured, Ruler, Run
from search import kept_runs, usual_setup

SHARES = (0.25, 0.5, 1.0)
SAMPLER = "gp"
RESAMPLES = 2000
WORST = -0.03
"""No problem's median difference should be below this number."""

Pair = tuple[str, str]


class Line(NamedTuple):
    """One problem, one seed, with or without predicted costs.

    Attributes:
        hv, base: hypervolume with and without the pruner after each of :data:`SHARES` of TPE's seconds, ``(shares,)``.
        end, base_end, tpe_end: final hypervolume with the pruner, without it, and of TPE.
        seconds: those with the pruner as a share of those without.
        pruned: share of the trials.
    """

    problem: str
    priced: bool
    seed: int
    hv: tuple[float, ...]
    base: tuple[float, ...]
    end: float
    base_end: float
    tpe_end: float
    seconds: float
    pruned: float


class RivalLine(NamedTuple):
    """One search on one problem with one seed.

    Attributes:
        hv: hypervolume after each of :data:`SHARES` of TPE's seconds, ``(shares,)``.
        end: hypervolume after all trials.
        seconds: all training seconds as a share of TPE's.
        proposal_ms: median time of a proposal.
    """

    search: str
    problem: str
    seed: int
    hv: tuple[float, ...]
    end: float
    seconds: float
    proposal_ms: float


def rival_lines(problem: Problem, given: argparse.Namespace) -> Iterator[RivalLine]:
    """Make the missing runs of the rivals, and yield a line for each search and seed, ours included."""
    setup = usual_setup(problem, given.n_trials)
    folder = given.out / problem.path.name
    found: dict[tuple[str, int], Run] = {}
    for name, factor in map(rival_of, dict.fromkeys((*TO_BEAT, *given.rivals))):
        own = folder / ("tpe" if name in TO_BEAT and factor == 1 else f"rivals-{factor}")
        runs = kept_runs(problem, [(name, "none")], given.seeds, replace(setup, n_trials=factor * given.n_trials), own)
        found |= {(name if factor == 1 else f"{name}*{factor}", seed): run for (_, seed), run in runs.items()}
    for priced in given.costs:
        pairs: list[Pair] = [(SAMPLER, given.pruner), (SAMPLER, "none")]
        name = "with-costs" if priced else "without-costs"
        runs = kept_runs(problem, pairs, given.seeds, replace(setup, priced=priced), folder / name)
        found |= {(f"{' + '.join(pair)}, costs {_costs(priced)}", seed): run for (pair, seed), run in runs.items()}
    ruler = Ruler.of(problem, [])
    measured = {key: Measured(problem, run, ruler) for key, run in found.items()}
    for (search, seed), mine in measured.items():
        tpe = max((measured[name, seed] for name in TO_BEAT), key=lambda each: each.hypervolume)
        budget = float(tpe.seconds[-1])
        yield RivalLine(
            search,
            problem.path.name,
            seed,
            tuple(mine.after_seconds(share * budget) for share in SHARES),
            mine.hypervolume,
            float(mine.seconds[-1]) / budget,
            float(np.median([row.sampler_ms for row in found[search, seed].rows])),
        )


def rival_of(text: str) -> tuple[str, int]:
    """Return the name of a search and the factor of its trials: ``optuna-random*2`` has twice as many.

    Raises:
        InputError: no such search, or the factor is no whole number from 1.
    """
    name, star, factor = text.partition("*")
    if name not in PEERS or (star and not (factor.isdecimal() and int(factor) >= 1)):
        raise InputError(
            f"--rivals {text}: not a search; give NAME or NAME*FACTOR, with a name of {', '.join(PEERS)}",
            field="rivals",
            code="not-a-choice",
        )
    return name, int(factor or 1)


def rival_table(lines: Sequence[RivalLine]) -> Iterator[str]:
    """Lines of Markdown: a row for each search, means over problems and seeds, best first."""
    heads = " | ".join(f"HV at {share:.0%} of TPE's seconds" for share in SHARES)
    yield f"| search | {heads} | HV after all trials | lowest, and its problem | seconds ÷ TPE's | ms a proposal |"
    yield "|---" * (5 + len(SHARES)) + "|"
    by_search: dict[str, list[RivalLine]] = {}
    for line in lines:
        by_search.setdefault(line.search, []).append(line)
    for search, each in sorted(by_search.items(), key=lambda item: -float(np.mean([line.hv[-1] for line in item[1]]))):
        means = " | ".join(f"{value:.3f}" for value in np.mean([line.hv for line in each], axis=0))
        end, seconds = (np.mean([getattr(line, kind) for line in each]) for kind in ("end", "seconds"))
        lowest = min(each, key=lambda line: line.hv[-1])
        milliseconds = np.median([line.proposal_ms for line in each])
        yield (
            f"| {search} | {means} | {end:.3f} | {lowest.hv[-1]:.3f}, {lowest.problem} | {seconds:.2f} | {milliseconds:.0f} |"
        )


def measured_lines(problem: Problem, given: argparse.Namespace) -> Iterator[Line]:
    """Make the missing runs of a problem, and yield a line for each seed, with and without predicted costs."""
    setup = usual_setup(problem, given.n_trials)
    folder = given.out / problem.path.name
    rivals = kept_runs(problem, [(name, "none") for name in TO_BEAT], given.seeds, setup, folder / "tpe")
    ruler = Ruler.of(problem, [])
    for priced in given.costs:
        pairs: list[Pair] = [(SAMPLER, given.pruner), (SAMPLER, "none")]
        name = "with-costs" if priced else "without-costs"
        runs = kept_runs(problem, pairs, given.seeds, replace(setup, priced=priced), folder / name)
        for seed in given.seeds:
            mine, base = (Measured(problem, runs[pair, seed], ruler) for pair in pairs)
            tpe = max(
                (Measured(problem, rivals[(name, "none"), seed], ruler) for name in TO_BEAT),
                key=lambda each: each.hypervolume,
            )
            budget = float(tpe.seconds[-1])
            yield Line(
                problem.path.name,
                priced,
                seed,
                tuple(mine.after_seconds(share * budget) for share in SHARES),
                tuple(base.after_seconds(share * budget) for share in SHARES),
                mine.hypervolume,
                base.hypervolume,
                tpe.hypervolume,
                float(mine.seconds[-1] / base.seconds[-1]),
                mine.pruned,
            )


def table(lines: Sequence[Line]) -> Iterator[str]:
    """Lines of Markdown: a row for each problem (medians over the seeds), then means over the problems with 95 % intervals."""
    heads = [f"HV at {share:.0%}: with, without, difference" for share in SHARES]
    yield f"| problem | costs | {' | '.join(heads)} | final HV: with, without, TPE | seconds ÷ without | pruned |"
    yield "|---" * (5 + len(SHARES)) + "|"
    for priced in (True, False):
        groups = grouped(lines, priced)
        for name, each in groups.items():
            hv, base = (np.median([getattr(line, kind) for line in each], axis=0) for kind in ("hv", "base"))
            difference = np.median([np.subtract(line.hv, line.base) for line in each], axis=0)
            cells = [f"{a:.3f}, {b:.3f}, {_signed(float(c))}" for a, b, c in zip(hv, base, difference, strict=True)]
            ends = ", ".join(
                f"{np.median([getattr(line, kind) for line in each]):.3f}" for kind in ("end", "base_end", "tpe_end")
            )
            seconds, pruned = (np.median([getattr(line, kind) for line in each]) for kind in ("seconds", "pruned"))
            yield f"| {name} | {_costs(priced)} | {' | '.join(cells)} | {ends} | {seconds:.2f} | {pruned:.0%} |"
        if groups:
            yield _means(groups, priced)


def grouped(lines: Sequence[Line], priced: bool) -> dict[str, list[Line]]:
    """Return the lines with or without predicted costs, by problem."""
    found: dict[str, list[Line]] = {}
    for line in lines:
        if line.priced is priced:
            found.setdefault(line.problem, []).append(line)
    return found


def _means(groups: dict[str, list[Line]], priced: bool) -> str:
    cells = []
    for place in range(len(SHARES)):
        by_problem = [float(np.mean([line.hv[place] - line.base[place] for line in each])) for each in groups.values()]
        mean, low, high = interval(by_problem)
        worst = min(float(np.median([line.hv[place] - line.base[place] for line in each])) for each in groups.values())
        cells.append(f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), worst {_signed(worst)}")
    every = [line for each in groups.values() for line in each]
    ends = ", ".join(
        f"{np.mean([getattr(line, kind) for line in every]):.3f}" for kind in ("end", "base_end", "tpe_end")
    )
    seconds, pruned = (np.mean([getattr(line, kind) for line in every]) for kind in ("seconds", "pruned"))
    return f"| **mean** | {_costs(priced)} | {' | '.join(cells)} | {ends} | {seconds:.2f} | {pruned:.0%} |"


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean over problems and its 95 % interval, from 2,000 bootstrap resamples of the problems (Efron 1979)."""
    values = np.asarray(differences)
    drawn = np.random.default_rng(25).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def _signed(difference: float) -> str:
    return f"**{difference:+.3f}**" if difference < WORST else f"{difference:+.3f}"


def _costs(priced: bool) -> str:
    return "predicted" if priced else "not predicted"


def problems_of(half: str, members: int, curves: Path | None, with_curves: bool) -> Iterator[Callable[[], Problem]]:
    """Yield functions that make the problems of a half: the first ``members`` of the family, then the curve tasks."""

    def drawn(seed: int) -> Callable[[], Problem]:
        return lambda: member(seed)

    def served(task: str) -> Callable[[], Problem]:
        return lambda: curve_task(task, curves)

    first = 1 if half == "tune" else 2
    yield from (drawn(seed) for seed in range(first, first + 2 * members, 2))
    if with_curves:
        table_at(curves)
        yield from (served(task) for task in (TUNE if half == "tune" else REPORT))


def add_problem_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of :func:`problems_of`."""
    parser.add_argument("--half", choices=("tune", "report"), default="tune")
    parser.add_argument("--members", type=int, default=20, help="analytic problems of the half")
    parser.add_argument("--curves", type=Path, metavar="PATH", help="lcbench_dev.parquet or its folder")
    parser.add_argument("--no-curves", action="store_true", help="leave the curve tasks out")


def quality(curves: Path | None) -> Iterator[str]:
    """Lines of Markdown: how well the trees of the curve tasks predict configurations that they have not seen."""
    yield "| task | half | R² of accuracy, epoch 1 | epoch 52 | R² of ln seconds |"
    yield "|---|---|---|---|---|"
    rows = table_at(curves)
    for half, tasks in (("tune", TUNE), ("report", REPORT)):
        for task in tasks:
            yield f"| {task} | {half} | {' | '.join(f'{each:.2f}' for each in Task(rows, task).r_squared())} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_problem_arguments(parser)
    parser.add_argument("--pruner", choices=PRUNERS, default="front")
    parser.add_argument("--costs", choices=("both", "predicted", "none"), default="both")
    parser.add_argument("--n-trials", type=int, default=300)
    parser.add_argument("--rivals", nargs="+", default=[], metavar="NAME", help=f"of {', '.join(PEERS)}")
    parser.add_argument("--seeds", default="1", metavar="1,2,3")
    parser.add_argument(
        "--quality", action="store_true", help="only print how well the trees of the curve tasks predict"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where every run is kept")
    given = parser.parse_args(arguments)
    given.seeds = [int(seed) for seed in given.seeds.split(",")]
    given.costs = {"both": (True, False), "predicted": (True,), "none": (False,)}[given.costs]
    try:
        if given.quality:
            print(*quality(given.curves), sep="\n")
            return 0
        if given.out is None:
            raise InputError("--out DIR is missing; runs are kept there", field="out", code="missing-value")
        lines: list[Line] = []
        others: list[RivalLine] = []
        for name in given.rivals:
            rival_of(name)
        for make in problems_of(given.half, given.members, given.curves, not given.no_curves):
            problem = make()
            lines += measured_lines(problem, given)
            others += rival_lines(problem, given) if given.rivals else ()
    except HyperoptError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{machine_line()}\n")
    print(
        f"{SAMPLER} with {given.pruner} against none, {given.n_trials} trials, seeds {given.seeds}, half {given.half}\n"
    )
    print(*table(lines), sep="\n")
    if others:
        print("", *rival_table(others), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
