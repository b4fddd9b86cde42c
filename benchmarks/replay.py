"""What pruning by other rules would have done to the same trials: decisions about the curves of studies without pruning.

    python benchmarks/replay.py --problem benchmarks/problems/volatility.py --seeds 1,2

A study runs once without pruning. Then each rule goes through its trials as they ended and decides at its own epochs,
from what it has let finish so far. Nothing that was proposed depends on a rule, so rules can be compared without the luck of
another search; what a search makes of the seconds saved is told by ``search.py``. The words of the table are those of
``problems/runs.py``.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.search import State, Study, StudyPlan, StudyStorage, TrialRecord, finish_order, optimise
from cnn_lstm_hyperopt.search.pruners import PRUNERS, Pruner
from cnn_lstm_hyperopt.search.pruners.front import FrontPruner, rungs_of
from cnn_lstm_hyperopt.search.pruning_audit import CONTROL, WOULD_HAVE_ENDED, is_exempt
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from machine import machine_line
from problems import Problem, load_problem
from problems.runs import Measured, Row, Ruler, Run
from search import Setup, plan_of, rows_of, usual_setup

SHARES = (0.02, 0.05, 0.2, 0.5)
"""Of the recent gain per second, that other rules ask for."""
PAUSED = (20, 60)
"""So many of the pruned trials, the most hopeful ones, that go on in the end."""


class EveryEpoch(FrontPruner):
    """As the pruner itself, at each epoch up to its last rung."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = tuple(sorted({*self.rungs, *map(float, range(1, int(self.rungs[-1])))}))


class FromTheHalf(FrontPruner):
    """As the pruner itself, of the quarters of the first epoch at the half and the end only."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = tuple(rung for rung in self.rungs if rung not in (0.25, 0.75))


class Ladder(FrontPruner):
    """As the pruner itself, after the first epoch only."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = tuple(rung for rung in self.rungs if rung > 1)


class Later(FrontPruner):
    """As the pruner itself, and on the same ladder up to four fifths of all epochs."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = rungs_of(plan.max_epochs, last=0.8)


class FirstEpoch(FrontPruner):
    """As the pruner itself, up to the end of the first epoch only."""

    def __init__(self, plan: StudyPlan) -> None:
        super().__init__(plan)
        self.rungs = tuple(rung for rung in self.rungs if rung <= 1)


def _of(kind: type[FrontPruner], **attributes: float) -> type[FrontPruner]:
    return type(kind.__name__, (kind,), attributes)


RULES: dict[str, Callable[[StudyPlan], Pruner]] = {
    "front": PRUNERS["front"],
    **{f"{share:.0%} of the recent gain": _of(FrontPruner, share=share) for share in SHARES},
    "front, after the first epoch only": Ladder,
    "front, up to the end of the first epoch": FirstEpoch,
    "front, after half of the first epoch and the first": FromTheHalf,
    "front, at every epoch": EveryEpoch,
    "front, up to four fifths of the epochs": Later,
    "median": PRUNERS["median"],
}
"""By name, as the table has them."""


def unpruned(problem: Problem, sampler: str, seed: int, setup: Setup) -> tuple[list[TrialRecord], list[Row]]:
    """A study without pruning: its trials in the order in which they ended."""
    study = Study(StudyStorage.in_memory("replay"), plan_of(problem, sampler, "none", seed, setup))
    optimise(study, problem.evaluate, workers=1)
    return finish_order(study.records()), rows_of(study)


def replayed(pruner: Pruner, seed: int, records: Sequence[TrialRecord], rows: Sequence[Row]) -> Run:
    """The same trials, of which the pruner has ended some."""
    told: list[TrialRecord] = []
    kept: list[Row] = []
    for record, row in zip(records, rows, strict=True):
        attributes = dict(record.attributes) | ({CONTROL: True} if pruner.starts_control(record.number, told) else {})
        ended = _ended(pruner, record, told)
        if ended is None or CONTROL in attributes or is_exempt(seed, record.number):
            if ended is not None:
                attributes[WOULD_HAVE_ENDED] = {"epoch": ended.curve[-1].epoch, "reason": ended.reason}
            told.append(replace(record, attributes=attributes))
            kept.append(replace(row, spared=ended is not None and CONTROL not in attributes))
            continue
        last = ended.curve[-1]
        told.append(replace(ended, state=State.PRUNED, seconds=last.seconds))
        kept.append(
            replace(row, state="PRUNED", epochs=last.epoch, accuracy=last.score, seconds=last.seconds, on_front=False)
        )
    return Run(kept)


def resumed(pruner: FrontPruner, count: int, run: Run, records: Sequence[TrialRecord], rows: Sequence[Row]) -> Run:
    """The same with pausing instead of ending: when all is over, the most hopeful of the pruned trials go on."""
    ended = {row.number: row for row in run.rows if row.pruned}
    complete = [record for record in records if record.state is State.COMPLETE and record.number not in ended]
    hopes = {}
    for record in records:
        if record.number in ended:
            curve = tuple(point for point in record.curve if point.epoch <= ended[record.number].epochs)
            paused = replace(record, state=State.PRUNED, values=None, curve=curve)
            outcomes = pruner.outcomes(paused, complete)
            progress = pruner.progress_of(complete)
            known = outcomes is not None and progress is not None
            hopes[record.number] = pruner.expected_gain(outcomes, record.size_mb, progress) if known else math.inf
    going_on = set(sorted(hopes, key=lambda number: (-hopes[number], number))[:count])
    whole = {row.number: row for row in rows}
    return Run([whole[row.number] if row.number in going_on else row for row in run.rows])


def _ended(pruner: Pruner, record: TrialRecord, told: Sequence[TrialRecord]) -> TrialRecord | None:
    """The trial as it was when the pruner ended it; None: it did not."""
    for running in at_decisions(pruner, record):
        reason = pruner.reason_to_prune(running, told)
        if reason is not None:
            return replace(running, reason=reason)
    return None


def at_decisions(pruner: Pruner, record: TrialRecord) -> Iterator[TrialRecord]:
    """A COMPLETE trial as it was whenever the pruner decides, before its last report; of another one, nothing."""
    if record.state is State.COMPLETE:
        for reached in range(1, len(record.curve)):
            curve = record.curve[:reached]
            if pruner.acts(curve):
                yield replace(record, state=State.RUNNING, values=None, curve=curve)


def table(problem: Problem, studies: dict[int, tuple[list[TrialRecord], list[Row]]], setup: Setup) -> Iterator[str]:
    """Lines of Markdown: a row a rule, means over the seeds."""
    heads = ("rule", "pruned", "saved", "direct regret", "true front lost", "shown front lost")
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    ruler = Ruler.of(problem, [Run(rows) for _, rows in studies.values()])

    def line(name: str, runs: Sequence[Run]) -> str:
        measured = [Measured(problem, run, ruler) for run in runs]
        cells = [f"{statistics.fmean(each.pruned for each in measured):.0%}"]
        for figure, form in (("saved", ".1%"), ("regret", ".2%"), ("front_lost", ".1%"), ("shown_front_lost", ".1%")):
            known = [value for each in measured if (value := getattr(each, figure)) is not None]
            cells.append(format(statistics.fmean(known), form) if known else "–")
        return f"| {name} | {' | '.join(cells)} |"

    paused: dict[int, list[Run]] = {count: [] for count in PAUSED}
    for name, rule in RULES.items():
        runs = []
        for seed, (records, rows) in studies.items():
            pruner = rule(plan_of(problem, "random", "median" if name == "median" else "front", seed, setup))
            runs.append(replayed(pruner, seed, records, rows))
            if type(pruner) is FrontPruner:
                for count in PAUSED:
                    paused[count].append(resumed(pruner, count, runs[-1], records, rows))
        yield line(name, runs)
    for count, runs in paused.items():
        yield line(f"front, {count} go on in the end", runs)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--problem", type=Path, required=True, metavar="FILE", help="a problem file that knows its truth"
    )
    parser.add_argument("--sampler", choices=list(SAMPLERS), default="gp")
    parser.add_argument("--n-trials", type=int, default=1000)
    parser.add_argument("--seeds", default="1,2", metavar="1,2")
    given = parser.parse_args(arguments)
    try:
        problem = load_problem(given.problem)
    except HyperoptError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    if problem.truth is None:
        parser.error(f"{given.problem} knows no true values, by which trials could be told apart")
    setup = usual_setup(problem, given.n_trials)
    seeds = [int(seed) for seed in given.seeds.split(",")]
    shown = track(seeds, "Studies without pruning", transient=True, console=Console(stderr=True))
    studies = {seed: unpruned(problem, given.sampler, seed, setup) for seed in shown}
    print(f"{machine_line()}\n")
    print(f"{problem.path.name}: {given.sampler}, {given.n_trials} trials, seeds {given.seeds}; means\n")
    for line in table(problem, studies, setup):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
