"""What a study library saves: seconds to the hypervolume of a search without it, on learning-curve tasks, each left out once.

    python benchmarks/transfer.py --curves ../shared/curves --half report --seeds 1,2,3

The library has one study of ``gp`` without a pruner for each other task (200 trials, costs not predicted). A search with the
library and a search without it run with and without predicted costs. The ratio is the seconds at which the search with the
library reaches the final hypervolume of the other search, divided by the seconds at which the other search reaches it. *Never*
counts as infinite. In rows named *unrelated*, the scores of each study of the library are exchanged at random between its
trials, so the library is misleading.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.search import Study, StudyStorage, TrialRecord, optimise, ranked_front
from cnn_lstm_hyperopt.search.initial_trials.entries import full_configuration
from cnn_lstm_hyperopt.search.initial_trials.library import LibraryStudy, LibraryTrial, add
from cnn_lstm_hyperopt.search.initial_trials.transfer import read_library
from machine import machine_line
from problems import Problem
from problems.curves import REPORT, TUNE, curve_task
from problems.runs import Measured, Ruler, Run
from search import plan_of, rows_of, usual_setup

SAMPLER, PRUNER, LIBRARY_SEED, LIBRARY_TRIALS = "gp", "none", 11, 200
EARLY = (0.1, 0.25, 0.5)


class Line(NamedTuple):
    """A search with a library on one task, compared with a search without it.

    Attributes:
        ratio: seconds to the other search's hypervolume, as a share of the other search's seconds.
        early: differences of hypervolume after :data:`EARLY` of the other search's seconds, ``(shares,)``.
        final: difference of the hypervolumes after all trials.
    """

    task: str
    priced: bool
    library: str
    seed: int
    ratio: float
    early: tuple[float, ...]
    final: float


def searched(problem: Problem, seed: int, n_trials: int, *, priced: bool, library: Path | None = None) -> Study:
    """Run a search, with the first trials from a library if there is one."""
    plan = plan_of(problem, SAMPLER, PRUNER, seed, replace(usual_setup(problem, n_trials), priced=priced))
    if library is not None:
        found = read_library(library, plan, made_from="new", target="", characteristics={})
        plan = replace(plan, starts=found.starts)
    study = Study(StudyStorage.in_memory("benchmark"), plan)
    optimise(study, problem.evaluate)
    return study


def entry(task: str, study: Study) -> LibraryStudy:
    """Return the results of a search as a study of a library."""
    records = study.records()
    front = {record.number for record in ranked_front(records, study.plan.skill)}
    trials = [_trial(study, record, on_front=record.number in front) for record in records if record.values is not None]
    return LibraryStudy(task, task, "", {}, trials)


def _trial(study: Study, record: TrialRecord, *, on_front: bool) -> LibraryTrial:
    assert record.values is not None
    return LibraryTrial(full_configuration(study.plan.space, record.params), *record.values, on_front)


def misled(study: LibraryStudy) -> LibraryStudy:
    """Return a study whose results are exchanged at random between its configurations."""
    order = np.random.default_rng(0).permutation(len(study.trials))
    trials = [
        replace(study.trials[there], params=trial.params) for trial, there in zip(study.trials, order, strict=True)
    ]
    return replace(study, trials=trials)


def lines(tasks: Sequence[str], curves: Path | None, seeds: Sequence[int], n_trials: int) -> Iterator[Line]:
    """Yield a line for each task, kind of library and seed, with and without predicted costs."""
    every = {task: curve_task(task, curves) for task in (*TUNE, *REPORT)}
    entries = {
        task: entry(task, searched(each, LIBRARY_SEED, LIBRARY_TRIALS, priced=False)) for task, each in every.items()
    }
    for task in tasks:
        problem, ruler = every[task], Ruler.of(every[task], [])
        with tempfile.TemporaryDirectory() as folder:
            libraries = {kind: Path(folder) / kind for kind in ("related", "unrelated")}
            for kind, path in libraries.items():
                path.mkdir()
                for other in entries.values():
                    if other.study != task:
                        add(path, other if kind == "related" else misled(other))
            for priced in (True, False):
                for seed in seeds:
                    cold = searched(problem, seed, n_trials, priced=priced)
                    base = Measured(problem, Run(rows_of(cold)), ruler)
                    whole = float(base.seconds[-1])
                    for kind, path in libraries.items():
                        warm = searched(problem, seed, n_trials, priced=priced, library=path)
                        mine = Measured(problem, Run(rows_of(warm)), ruler)
                        needed = mine.seconds_to(base.hypervolume) / base.seconds_to(base.hypervolume)
                        early = tuple(
                            mine.after_seconds(share * whole) - base.after_seconds(share * whole) for share in EARLY
                        )
                        yield Line(task, priced, kind, seed, needed, early, mine.hypervolume - base.hypervolume)


def table(found: Sequence[Line]) -> Iterator[str]:
    """Lines of Markdown: medians of the ratios and mean differences of hypervolume."""
    heads = " | ".join(f"difference of HV at {share:.0%} of the seconds" for share in EARLY)
    yield f"| library | costs | ratio of seconds, median | ratios | {heads} | at the end |"
    yield "|---" * (5 + len(EARLY)) + "|"
    for kind in ("related", "unrelated"):
        for priced in (True, False):
            each = [line for line in found if line.library == kind and line.priced is priced]
            ratios = ", ".join("never" if np.isinf(r) else f"{r:.2f}" for r in sorted(line.ratio for line in each))
            early = " | ".join(f"{value:+.3f}" for value in np.mean([line.early for line in each], axis=0))
            middle = float(np.median([line.ratio for line in each]))
            costs = "predicted" if priced else "not predicted"
            median = "never" if np.isinf(middle) else f"{middle:.2f}"
            yield f"| {kind} | {costs} | {median} | {ratios} | {early} | {np.mean([line.final for line in each]):+.3f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("tune", "report"), default="tune")
    parser.add_argument("--curves", type=Path, metavar="PATH", help="lcbench_dev.parquet or its folder")
    parser.add_argument("--seeds", default="1", metavar="1,2,3")
    parser.add_argument("--n-trials", type=int, default=100)
    given = parser.parse_args(arguments)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    try:
        found = list(lines(TUNE if given.half == "tune" else REPORT, given.curves, seeds, given.n_trials))
    except HyperoptError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{machine_line()}\n\n{given.n_trials} trials, seeds {seeds}, half {given.half}\n")
    print(*table(found), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
