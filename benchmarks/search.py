"""How good the search is, on problems whose trials cost nothing: one sampler with one pruner, or a comparison with Optuna's.

    python benchmarks/search.py --problem benchmarks/problems/analytic.py --sampler gp --pruner front --seeds 1,2,3
    python benchmarks/search.py --problem benchmarks/problems/analytic.py --compare --samplers gp,tpe,optuna-nsga2 \\
        --pruners none,front --seeds 1,2,3 --out comparison

The second form keeps every run in ``--out`` and, started again, makes only those that are missing; several may fill it at once.
What a problem file holds is told in ``problems/__init__.py``. Seconds are the problem's, not this machine's; milliseconds are.

Searches that are not ours are told of in ``peers.py``. All see the same readings: the luck of a trial depends on its parameters,
its number and the seed.

Milliseconds "at trial n" are the median of the 50 trials around n; ``problems/runs.py`` tells the other words of the tables.
"""

import argparse
import hashlib
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # as the command line does: two runs side by side beat one with two threads

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.errors import HyperoptError, InputError
from cnn_lstm_hyperopt.search import (
    Cost,
    Limits,
    Study,
    StudyPlan,
    StudyStorage,
    finish_order,
    optimise,
    with_fixed,
)
from cnn_lstm_hyperopt.search.optuna_logging import quiet_optuna
from cnn_lstm_hyperopt.search.pruners import PRUNERS
from cnn_lstm_hyperopt.search.pruning_audit import CONTROL, WOULD_HAVE_ENDED
from cnn_lstm_hyperopt.search.samplers import SAMPLERS
from machine import machine_line
from peers import PEERS, TO_BEAT, run_peer
from problems import Params, Problem, load_problem
from problems.runs import Measured, Row, Ruler, Run, read_rows, write_rows

SHARES = (0.10, 0.25, 0.50, 1.00)
COUNTS = (100, 250, 500, 1000)
AROUND = 25
"""Trials before and after that a figure "at trial n" is the median of."""
PRUNER_FLAGS = ("interval_steps", "min_resource", "reduction_factor", "min_early_stopping_rate")
PRUNER_STARTUP = 20
"""Trials that a pruner waits for where nothing else is said."""


# ---------------------------------------------------------------------- runs


@dataclass(frozen=True)
class Setup:
    """What all runs of a table have in common."""

    n_trials: int
    workers: int = 1
    storage: str = "memory"
    n_startup_trials: int | str = "auto"
    multivariate: bool = False
    priced: bool = True
    pruner: dict[str, float] = field(default_factory=dict)


Advance = Callable[[int], None]
"""Told how many trials have begun."""


def usual_setup(problem: Problem, n_trials: int, workers: int = 1) -> Setup:
    """What ``search.py`` runs a problem with where no flag says otherwise."""
    defaults = {name: PrunerSettings.model_fields[name].default for name in PRUNER_FLAGS}
    pruner = {"n_startup_trials": PRUNER_STARTUP, "n_warmup_steps": max(1, problem.max_epochs // 6), **defaults}
    return Setup(n_trials=n_trials, workers=workers, pruner=pruner)


def plan_of(problem: Problem, sampler: str, pruner: str, seed: int, setup: Setup) -> StudyPlan:
    """What defines a search of ours."""
    cost = problem.cost if setup.priced else None
    return StudyPlan(
        space=problem.space,
        sampler=SamplerSettings(
            type=cast(Any, sampler),
            n_startup_trials=cast(Any, setup.n_startup_trials),
            multivariate=setup.multivariate,
        ),
        pruner=PrunerSettings(type=cast(Any, pruner), **cast(Any, setup.pruner)),
        seed=seed,
        n_trials=setup.n_trials,
        max_epochs=problem.max_epochs,
        limits=Limits(),
        skill=problem.skill,
        cost=(lambda params: Cost(0.0, problem.size_mb(params)))
        if cost is None
        else (lambda params: Cost(*cost(params))),
        cheap_cost=cost is not None,
    )


def run(problem: Problem, sampler: str, pruner: str, seed: int, setup: Setup, advance: Advance) -> Run:
    """A whole search."""
    if sampler in PEERS:
        with quiet_optuna():
            rows, decisions = run_peer(
                problem, sampler, seed, n_trials=setup.n_trials, workers=setup.workers, advance=advance
            )
        return Run(rows, decisions)
    begun = 0

    def evaluate(params: Params, trial_seed: int) -> Iterator[tuple[float, float, float, float]]:
        nonlocal begun
        begun += 1
        advance(begun)
        return problem.evaluate(params, trial_seed)

    sqlite = setup.storage == "sqlite"
    with tempfile.TemporaryDirectory() if sqlite else nullcontext() as folder:
        name = "benchmark"
        storage = StudyStorage(Path(folder) / "study.db", create=name) if folder else StudyStorage.in_memory(name)
        timed = Timed(storage)
        study = Study(cast(StudyStorage, timed), plan_of(problem, sampler, pruner, seed, setup))
        try:
            optimise(study, evaluate, workers=setup.workers)
            spent = timed.seconds
            rows = rows_of(study)
        finally:
            storage.close()
    return Run(rows, dict(study.timings.decisions), 1000 * spent / len(rows) if sqlite else None)


def rows_of(study: Study) -> list[Row]:
    """Its trials in the order in which they ended."""
    took, rows, front = study.timings, [], {record.number for record in study.front()}
    for record in finish_order(study.records()):
        last = record.curve[-1] if record.curve else None
        rows.append(
            Row(
                seed=study.plan.seed,
                number=record.number,
                state=record.state.value,
                reason=record.reason,
                epochs=last.epoch if last else 0.0,
                accuracy=record.values.score if record.values else last.score if last else None,
                seconds=record.seconds,
                size_mb=record.size_mb,
                sampler_ms=took.propose_ms.get(record.number, 0.0),
                pruner_ms=took.prune_ms.get(record.number, 0.0),
                params=with_fixed(study.plan.space, record.params),
                spared=WOULD_HAVE_ENDED in record.attributes and CONTROL not in record.attributes,
                on_front=record.number in front,
            )
        )
    return rows


class Timed:
    """A storage that counts the seconds spent in it by a clock; nothing is counted twice when it calls itself."""

    def __init__(self, storage: StudyStorage, clock: Callable[[], float] = time.perf_counter) -> None:
        self._storage, self._clock = storage, clock
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not callable(found):
            return found

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = self._clock()
            try:
                return found(*args, **kwargs)
            finally:
                self.seconds += self._clock() - begun

        return timed


# ---------------------------------------------------------------------- tables


def report(problem: Problem, measured: dict[int, Measured], setup: Setup) -> Iterator[str]:
    """Lines of a Markdown table: a row a measure, a column a seed, and the median."""
    heads = [f"seed {seed}" for seed in measured]
    yield f"| | {' | '.join(heads)} | median |"
    yield "|---" * (len(heads) + 2) + "|"
    every = list(measured.values())

    def line(name: str, numbers: Sequence[float | None], form: str) -> str:
        return f"| {name} | {' | '.join(_text(each, form) for each in [*numbers, _median(numbers)])} |"

    for state in ("COMPLETE", "PRUNED", "FAIL"):
        yield line(state, [sum(row.state == state for row in each.run.rows) for each in every], ".0f")
    for reason in sorted({reason for each in every for reason in each.reasons()}):
        yield line(f"pruned: {reason}", [each.reasons()[reason] for each in every], ".0f")
    yield line("training seconds", [float(each.seconds[-1]) for each in every], ",.0f")
    yield line(_volume_name(problem), [each.hypervolume for each in every], ".4f")
    if problem.truth is not None:
        yield line("direct regret", [each.regret for each in every], ".2%")
        yield line("true front lost", [each.front_lost for each in every], ".1%")
        yield line("true front shown", [each.true_front_shown for each in every], ".1%")
        yield line("shown front lost", [each.shown_front_lost for each in every], ".1%")
        yield line("wrongly pruned", [each.wrongly_pruned for each in every], ".1%")
        for name, end in (("estimated", 0), ("from", 1), ("to", 2)):
            yield line(f"wrongly pruned, {name}", [each.estimated and each.estimated[end] for each in every], ".1%")
    late = min(setup.n_trials, COUNTS[-1])
    kinds = {"proposal": Measured.proposal_ms, "pruning decision": Measured.decision_ms}
    for name, times in kinds.items():
        milliseconds = [times(each) for each in every]
        if not any(milliseconds):
            continue
        yield line(f"ms a {name}, median", [_quantile(each, 0.5) for each in milliseconds], ".2f")
        yield line(f"ms a {name}, 95 %", [_quantile(each, 0.95) for each in milliseconds], ".2f")
        for at in (COUNTS[0], late) if late > COUNTS[0] else ():
            yield line(f"ms a {name} at trial {at}", [_around(each, at) for each in milliseconds], ".2f")
    if setup.storage == "sqlite":
        yield line("ms in the storage, a trial", [each.run.storage_ms for each in every], ".2f")


def _volume_name(problem: Problem) -> str:
    kind = "of true values" if problem.truth is not None else "as read"
    return f"hypervolume {kind}{', share of the reference front' if problem.reference is not None else ''}"


Pair = tuple[str, str]
"""Sampler and pruner."""


def compared(problem: Problem, runs: dict[Pair, dict[int, Run]], setup: Setup, budget: float | None) -> Iterator[str]:
    """Lines about the comparison, a Markdown table in the end: a row a pair, medians over the seeds."""
    ruler = Ruler.of(problem, [each for by_seed in runs.values() for each in by_seed.values()])
    measured = {
        pair: {seed: Measured(problem, each, ruler) for seed, each in by_seed.items()} for pair, by_seed in runs.items()
    }
    rivals = {
        seed: max((measured[name, "none"][seed] for name in TO_BEAT), key=lambda each: each.hypervolume)
        for seed in next(iter(runs.values()))
    }
    if budget is None:
        budget = statistics.median(float(each.seconds[-1]) for each in rivals.values())
    counts = [*(count for count in COUNTS if count < setup.n_trials), setup.n_trials]
    yield (
        f"Medians of {_counted(len(rivals), 'seed')}; HV: {_volume_name(problem)}. The budget is {budget:,.0f} s of training."
        f" TPE: the better of Optuna's two forms on the same seed, {setup.n_trials} trials; it needs {_spread_of(rivals)} s to"
        " its final HV."
    )
    yield ""
    heads = ["sampler", "pruner"]
    heads += [f"HV at {share:.0%} of the budget" for share in SHARES] + [f"HV at {count} trials" for count in counts]
    heads += ["seconds to TPE's HV, median; worst", "of TPE's seconds, median; worst", "seconds spent", "pruned"]
    heads += ["saved of the same trials", "direct regret", "wrongly pruned", "estimated; width; covered"]
    heads += ["true front lost", "true front shown", "shown front lost", "ms a trial"]
    yield f"| {' | '.join(heads)} |"
    yield "|---" * len(heads) + "|"
    for (sampler, pruner), by_seed in measured.items():
        every = list(by_seed.values())
        needed = [each.seconds_to(rivals[seed].hypervolume) for seed, each in by_seed.items()]
        own = [rivals[seed].seconds_to(rivals[seed].hypervolume) for seed in by_seed]
        parts = [mine / theirs if theirs else math.nan for mine, theirs in zip(needed, own, strict=True)]
        by_share = [_median([each.after_seconds(share * budget) for each in every]) for share in SHARES]
        cells = [sampler, pruner, *(_text(each, ".3f") for each in by_share)]
        cells += [_text(_median([each.after_trials(count) for each in every]), ".3f") for count in counts]
        cells += [
            f"{_text(_median(each), form)}; {_text(max(each), form)}"
            for each, form in ((needed, ",.0f"), (parts, ".2f"))
        ]
        cells.append(_text(_median([float(each.seconds[-1]) for each in every]), ",.0f"))
        cells.append(_text(_median([each.pruned for each in every]), ".0%"))
        cells.append(_text(_median([each.saved for each in every]), ".0%"))
        cells.append(_text(_median([each.regret for each in every]), ".2%"))
        cells.append(_text(_median([each.wrongly_pruned for each in every]), ".1%"))
        told = [each.estimated for each in every if each.estimated]
        covered = [each.covered for each in every if each.covered is not None]
        cells.append(
            f"{_text(_median([each.value for each in told]), '.1%')};"
            f" {_text(_mean([each.high - each.low for each in told]), '.3f')}; {_text(_mean(covered), '.0%')}"
        )
        for shares in ("front_lost", "true_front_shown", "shown_front_lost"):
            cells.append(_text(_median([getattr(each, shares) for each in every]), ".1%"))
        cells.append(_text(_median([each.ms_a_trial for each in every]), ".1f"))
        yield f"| {' | '.join(cells)} |"


def _spread_of(rivals: dict[int, Measured]) -> str:
    needed = [each.seconds_to(each.hypervolume) for each in rivals.values()]
    return f"{statistics.median(needed):,.0f} ({min(needed):,.0f} to {max(needed):,.0f})"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _median(numbers: Sequence[float | None]) -> float | None:
    known = [number for number in numbers if number is not None]
    return statistics.median(known) if known else None


def _mean(numbers: Sequence[float]) -> float | None:
    return statistics.fmean(numbers) if numbers else None


def _text(number: float | None, form: str) -> str:
    if number is None or math.isnan(number):
        return "–"
    return "never" if math.isinf(number) else format(number, form)


def _quantile(by_trial: dict[int, float], share: float) -> float | None:
    return float(np.quantile(list(by_trial.values()), share)) if by_trial else None


def _around(by_trial: dict[int, float], at: int) -> float | None:
    return _median([each for number, each in by_trial.items() if abs(number - at) <= AROUND])


# ---------------------------------------------------------------------- the command


class Watch:
    """A progress bar on stderr, and a line a run."""

    def __init__(self, runs: int, trials: int) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *columns,
            console=self._console,
            refresh_per_second=2,  # its thread takes time from what is measured
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._progress.add_task("", total=runs * trials)
        self._trials, self._done = trials, 0

    @contextmanager
    def shown(self) -> Iterator["Watch"]:
        """While the runs are made."""
        with self._progress:
            yield self

    def make(self, name: str, make: Callable[[Advance], Run]) -> Run:
        """One run, whose name is shown."""
        before, begun = self._done * self._trials, time.perf_counter()
        self._progress.update(self._task, description=name)
        made = make(lambda trial: self._progress.update(self._task, completed=before + min(trial, self._trials)))
        self._done += 1
        self._progress.update(self._task, completed=self._done * self._trials)
        self._console.print(f"{name}: {len(made.rows)} trials in {time.perf_counter() - begun:.1f} s")
        return made


def study_once(problem: Problem, given: argparse.Namespace, setup: Setup) -> None:
    """One sampler with one pruner."""
    runs: dict[int, Run] = {}
    with Watch(len(given.seeds), setup.n_trials).shown() as watch:
        for seed in given.seeds:
            name = f"{given.sampler} + {given.pruner}, seed {seed}"
            runs[seed] = watch.make(name, partial(run, problem, given.sampler, given.pruner, seed, setup))
            if given.trials_out:
                write_rows(given.trials_out, [row for each in runs.values() for row in each.rows])
    ruler = Ruler.of(problem, list(runs.values()))
    print(f"{machine_line()}\n")
    print(f"{problem.path.name}: {given.sampler} + {given.pruner}, {setup.n_trials} trials, {_workers(setup)}\n")
    for line in report(problem, {seed: Measured(problem, each, ruler) for seed, each in runs.items()}, setup):
        print(line)


def compare(problem: Problem, given: argparse.Namespace, setup: Setup) -> None:
    """A grid of samplers and pruners beside Optuna's TPE."""
    pairs = [
        (sampler, pruner)
        for sampler in dict.fromkeys((*TO_BEAT, *given.samplers))
        for pruner in (["none"] if sampler in PEERS else given.pruners)
    ]
    made = kept_runs(problem, pairs, given.seeds, setup, given.out)
    runs = {pair: {seed: made[pair, seed] for seed in given.seeds} for pair in pairs}
    print(f"{machine_line()}\n")
    print(f"{problem.path.name}, {_workers(setup)}. ", end="")
    for line in compared(problem, runs, setup, given.budget):
        print(line)


def kept_runs(
    problem: Problem, pairs: Sequence[Pair], seeds: Sequence[int], setup: Setup, folder: Path
) -> dict[tuple[Pair, int], Run]:
    """Every pair on every seed, from the folder's files; those that are missing are made. Several processes may fill it.

    Raises:
        InputError: see :func:`settle_folder`.
    """
    settle_folder(folder, problem, setup)
    files = {(pair, seed): folder / f"{pair[0]}+{pair[1]}-seed{seed}.csv" for seed in seeds for pair in pairs}
    missing = [key for key, file in files.items() if not file.exists()]
    with Watch(len(missing), setup.n_trials).shown() as watch:
        for (sampler, pruner), seed in missing:
            if files[(sampler, pruner), seed].exists():
                continue  # another process was here
            name = f"{sampler} + {pruner}, seed {seed}"
            made = watch.make(name, partial(run, problem, sampler, pruner, seed, setup))
            write_rows(files[(sampler, pruner), seed], made.rows)
    return {key: Run(read_rows(file)) for key, file in files.items()}


def settle_folder(folder: Path, problem: Problem, setup: Setup) -> None:
    """Notes what the runs of a comparison have in common, or checks that it still is the same.

    Raises:
        InputError: the folder's runs are of another problem or were made in another way.
    """
    text = hashlib.sha256(b"".join(path.read_bytes() for path in problem.data)).hexdigest()
    wanted = {"problem": problem.path.name, "problem_sha256": text, **asdict(setup)}
    file = folder / "comparison.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")
        return
    found = json.loads(file.read_text(encoding="utf-8"))
    other = [f"{key}={found.get(key)!r}, not {value!r}" for key, value in wanted.items() if found.get(key) != value]
    if other:
        raise InputError(f"{folder} was made with {'; '.join(other)}; choose another --out")


def _workers(setup: Setup) -> str:
    return _counted(setup.workers, "worker") + (" in simulated time" if setup.workers > 1 else "")


def _parser() -> argparse.ArgumentParser:
    def at_least(least: int) -> Callable[[str], int]:
        def whole(text: str) -> int:
            if (value := int(text)) < least:
                raise argparse.ArgumentTypeError(f"must be {least} at least, but is {value}")
            return value

        whole.__name__ = "whole number"
        return whole

    def listed(text: str) -> list[str]:
        return [each.strip() for each in text.split(",") if each.strip()]

    def seeds(text: str) -> list[int]:
        return list(dict.fromkeys(at_least(0)(each) for each in listed(text)))

    samplers, pruners = [*SAMPLERS, *PEERS], list(PRUNERS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", type=Path, required=True, metavar="FILE", help="a problem file")
    parser.add_argument("--sampler", choices=samplers, default="gp")
    parser.add_argument("--pruner", choices=pruners, default="none", help="of ours; peers bring their own, if any")
    parser.add_argument("--n-trials", type=at_least(1), default=1000)
    parser.add_argument("--seeds", type=seeds, default=[1], metavar="1,2,3")
    parser.add_argument("--workers", type=at_least(1), default=1, help="in simulated time")
    parser.add_argument("--trials-out", type=Path, metavar="FILE.csv", help="a row a trial, as they ended")
    parser.add_argument("--storage", choices=("memory", "sqlite"), default="memory")

    ours = parser.add_argument_group("our samplers and pruners")
    ours.add_argument("--n-startup-trials", type=at_least(0), help="of the sampler; its own default if left out")
    ours.add_argument("--unpriced", action="store_true", help="do not tell them the problem's predicted seconds")
    ours.add_argument("--multivariate", action="store_true", help="tpe: model parameters jointly")
    ours.add_argument("--pruner-startup-trials", type=at_least(0), default=PRUNER_STARTUP)
    ours.add_argument("--warmup-steps", type=at_least(0), help="a sixth of the problem's epochs if left out")
    for name in PRUNER_FLAGS:
        default = PrunerSettings.model_fields[name].default
        ours.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help="of the pruner")

    grid = parser.add_argument_group("comparison")
    grid.add_argument("--compare", action="store_true", help="a grid beside Optuna's TPE")
    grid.add_argument("--samplers", type=listed, default=[], metavar="a,b,c")
    grid.add_argument("--pruners", type=listed, default=["none"], metavar="x,y")
    grid.add_argument(
        "--out", type=Path, metavar="DIR", help="where every run is kept; those that are there are not repeated"
    )
    grid.add_argument("--budget", type=float, metavar="SECONDS", help="of training; what TPE spends if left out")
    return parser


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    """Ends with a line on what does not go together."""
    if not given.seeds:
        parser.error("--seeds needs one at least")
    if given.compare:
        if given.out is None:
            parser.error("--compare needs --out DIR, where its runs are kept")
        if given.trials_out is not None:
            parser.error("--trials-out is of a single sampler; --compare keeps its runs in --out")
        for flag, names, known in (
            ("--samplers", given.samplers, [*SAMPLERS, *PEERS]),
            ("--pruners", given.pruners, list(PRUNERS)),
        ):
            if unknown := [name for name in names if name not in known]:
                parser.error(f"{flag} has {', '.join(unknown)}; choose from {', '.join(known)}")
        if not given.pruners:
            parser.error("--pruners needs one at least")
        return
    if given.out is not None:
        parser.error("--out is of --compare; the trials of a single sampler go to --trials-out FILE")
    if given.sampler in PEERS and given.pruner != "none":
        parser.error(f"--sampler {given.sampler} is a peer and brings its own pruning, if any; leave --pruner out")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    _check(parser, given)
    try:
        problem = load_problem(given.problem)
        usual = usual_setup(problem, given.n_trials, given.workers)
        pruner = {
            **usual.pruner,
            "n_startup_trials": given.pruner_startup_trials,
            **{name: getattr(given, name) for name in PRUNER_FLAGS},
        }
        if given.warmup_steps is not None:
            pruner["n_warmup_steps"] = given.warmup_steps
        setup = replace(
            usual,
            storage=given.storage,
            n_startup_trials="auto" if given.n_startup_trials is None else given.n_startup_trials,
            multivariate=given.multivariate,
            priced=not given.unpriced,
            pruner=pruner,
        )
        (compare if given.compare else study_once)(problem, given, setup)
    except HyperoptError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        again = "; the same command goes on with the runs that are missing" if given.compare else ""
        print(f"Stopped{again}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
