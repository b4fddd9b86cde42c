"""Two pictures of a comparison that ``benchmarks/search.py --compare`` made: hypervolume over seconds, and what pruning stopped.

    python benchmarks/plots.py --problem benchmarks/problems/analytic.py --runs comparison \\
        --pairs optuna-tpe+none,gp+none,gp+front --pruned gp+front --out docs/pictures
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnn_lstm_hyperopt.pareto import non_dominated
from problems import Problem, load_problem
from problems.runs import Measured, Ruler, Run, read_rows

POINTS = 200
COLOURS = ("#777777", "#bbbbbb", "#0b6e99", "#d1495b", "#edae49", "#66a182", "#8d5fa8")


def runs_of(folder: Path, pairs: Sequence[str]) -> dict[str, list[Run]]:
    """By pair, named sampler+pruner: its runs on the seeds that all of them have, in order.

    Raises:
        SystemExit: there are none.
    """
    seeds: set[int] | None = None
    for pair in pairs:
        found = {int(file.stem.rpartition("-seed")[2]) for file in folder.glob(f"{pair}-seed*.csv")}
        if not found:
            raise SystemExit(f"{folder} has no runs of {pair}")
        seeds = found if seeds is None else seeds & found
    if not seeds:
        raise SystemExit(f"{folder} has no seed on which all of {', '.join(pairs)} were run")
    return {pair: [Run(read_rows(folder / f"{pair}-seed{seed}.csv")) for seed in sorted(seeds)] for pair in pairs}


def hypervolume_over_seconds(axes: Axes, problem: Problem, runs: dict[str, list[Run]]) -> None:
    """Median over seeds and the middle half, at every time until the longest run's end."""
    ruler = Ruler.of(problem, [run for each in runs.values() for run in each])
    for (pair, each), colour in zip(runs.items(), COLOURS, strict=False):
        measured = [Measured(problem, run, ruler) for run in each]
        longest = max(float(one.seconds[-1]) for one in measured)
        grid = np.geomspace(longest / 1000, longest, POINTS)
        volumes = np.array([[one.after_seconds(seconds) for seconds in grid] for one in measured])
        low, middle, high = np.quantile(volumes, (0.25, 0.5, 0.75), axis=0)
        axes.plot(grid, middle, color=colour, label=pair.replace("+none", ""))
        axes.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel("seconds of training")
    axes.set_ylabel("hypervolume")
    axes.set_title(f"{problem.path.stem}: {len(next(iter(runs.values())))} seeds, median and middle half", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def what_pruning_stopped(axes: Axes, problem: Problem, run: Run, pair: str) -> None:
    """Each trial of a run: how far it was trained, and the accuracy that it truly would have ended with."""
    values = Measured(problem, run, Ruler.of(problem, [run])).values
    passes = np.array([problem.skill.passes(float(value[0])) for value in values])
    finished = np.array([row.finished for row in run.rows])
    front = np.zeros(len(values), dtype=bool)
    candidates = np.flatnonzero(passes & finished)
    front[candidates] = non_dominated(values[candidates] * (-1, 1, 1))
    epochs = np.array([row.epochs for row in run.rows])
    epochs = epochs * np.random.default_rng(0).uniform(0.97, 1.03, len(epochs))
    pruned = np.array([row.pruned for row in run.rows])
    complete = np.array([row.state == "COMPLETE" for row in run.rows])
    for rows, colour, label in (
        (complete & ~front, "#bbbbbb", "complete"),
        (complete & front, "#0b6e99", "complete, on the true front"),
        (pruned & ~front, "#edae49", "pruned"),
        (pruned & front, "#d1495b", "pruned, though on the true front"),
    ):
        axes.scatter(
            epochs[rows], values[rows, 0], s=9, color=colour, label=f"{label} ({int(rows.sum())})", linewidth=0
        )
    axes.axhline(problem.skill.threshold, color="#777777", linewidth=0.8, linestyle=":")
    axes.set_xlabel("epochs trained")
    axes.set_ylabel("true accuracy after all epochs")
    axes.set_title(f"{problem.path.stem}: what {pair} stopped", fontsize=10)
    axes.legend(frameon=False, fontsize=8)


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True, help="--out of the comparison")
    parser.add_argument("--pairs", required=True, help="a+b,c+d: sampler and pruner of each line")
    parser.add_argument("--pruned", required=True, help="a+b: whose first run is shown trial by trial")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    problem = load_problem(given.problem)
    runs = runs_of(given.runs, given.pairs.split(","))
    shown = runs_of(given.runs, [given.pruned])[given.pruned][0]
    for name in ("hypervolume", "pruned"):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        if name == "hypervolume":
            hypervolume_over_seconds(axes, problem, runs)
        else:
            what_pruning_stopped(axes, problem, shown, given.pruned)
        path = given.out / f"{problem.path.stem}_{name}.svg"
        figure.savefig(path)
        print(path)


if __name__ == "__main__":
    main()
