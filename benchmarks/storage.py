"""Processor time of storing and reading trials: a study of 30 parameters and 10 reports a trial in SQLite.

    python benchmarks/storage.py --trials 1000,5000 --processes 1,4
    python benchmarks/storage.py --keep /tmp/studies     # fills the studies once and copies them from there later
    python benchmarks/storage.py --storage postgresql+psycopg://me@127.0.0.1/bench --trials 1000   # first table alone

With ``--storage``, the studies are on a server, and the figures are those of the client, not of the server.

A study gets its first trials at once. Then each process runs further trials with the classes of a real run (claim under a file
lock, sampler ``random``, a pruner, ten reports, end) but without training. All figures are milliseconds of processor time, which
other programs hardly change:

- storage: in the methods of ``StudyStorage``, per trial;
- search: the same and everything else of the study (claim, sampler, pruner), per trial;
- decision: from a report to the pruner's decision, with the part of the storage; and from the request of a trial to its start,
  both with 64 running trials.

``status`` is the user and system time of the command, with the import of its modules. The modules are compiled, as after an
installation: the first call, which compiles them, is not counted.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from filelock import FileLock

from cnn_lstm_hyperopt.config import PrunerSettings, SamplerSettings
from cnn_lstm_hyperopt.progress import ProgressReport
from cnn_lstm_hyperopt.search import (
    Assignment,
    Cost,
    Database,
    Limits,
    Point,
    PostgresServer,
    SkillThreshold,
    State,
    Study,
    StudyPlan,
    StudyStorage,
    Values,
    random_configuration,
)
from cnn_lstm_hyperopt.search.distributions import distributions_of
from machine import machine_line
from problems import space_of
from search import Timed

EPOCHS, RUNNING = 10, 64
RAW: dict[str, dict[str, Any]] = {
    **{f"model.rate_{n}": {"type": "float", "low": 1e-5, "high": 0.1, "log": True} for n in range(12)},
    **{f"model.width_{n}": {"type": "int", "low": 8, "high": 512, "log": True} for n in range(10)},
    **{f"model.kind_{n}": {"type": "categorical", "choices": ["relu", "gelu", "swish", "tanh"]} for n in range(8)},
}
SPACE, _ERRORS = space_of(RAW)


def plan_of(pruner: str) -> StudyPlan:
    """A search that never ends."""
    return StudyPlan(
        space=SPACE,
        sampler=SamplerSettings(type="random"),
        pruner=PrunerSettings(type=cast(Any, pruner), n_startup_trials=10, n_warmup_steps=1, interval_steps=1),
        seed=0,
        n_trials=10**6,
        max_epochs=EPOCHS,
        limits=Limits(),
        skill=SkillThreshold(0.5, 1000),
        cost=lambda params: Cost(60.0, int(params["model.width_0"]) / 100),
        cheap_cost=True,
    )


def score_at(number: int, epoch: int) -> float:
    """A learning curve that depends on the number alone."""
    return 0.55 + 0.3 * (number * 7919 % 1000) / 1000 * (1 - 0.7**epoch)


def fill(place: Path | Database, trials: int, name: str = "storage") -> None:
    """Create a study of finished trials."""
    plan = plan_of("none")
    storage = StudyStorage(place, create=name, attributes={"n_trials": plan.n_trials, "skill_gate": SKILL})
    for number in range(trials):
        params = random_configuration(SPACE, 1, number)
        size_mb = plan.cost(params).size_mb
        attributes = {"size_mb": size_mb, "estimated_seconds": 60.0, "memory_levels": 1}
        trial_id, _ = storage.start(params, distributions_of(SPACE, params), attributes)
        curve = [[float(e), score_at(number, e), 0.7, 6.0 * e] for e in range(1, EPOCHS + 1)]
        values = Values(score_at(number, EPOCHS), 60.0, size_mb)
        more = {"curve": curve, "seconds": 60.0, "projected_seconds": 60.0, "epochs": EPOCHS, "finish_order": number}
        storage.finish(trial_id, State.COMPLETE, values, more, excesses=[-0.01])
    storage.close()


SKILL = {"chance": 0.5, "n_validation": 1000}


@dataclass(frozen=True)
class Measured:
    """Milliseconds of processor time a trial of one process, and of single decisions."""

    storage: float
    search: float
    starts: list[float]
    decisions: list[float]
    reads: list[float]


def run_trials(place: Path | Database, pruner: str, worker: int | None, count: int) -> Measured:
    """Run trials in this process."""
    storage = StudyStorage(place)
    timed = Timed(storage, time.thread_time)
    claim = FileLock(place.with_name("claim.lock")) if worker is not None and isinstance(place, Path) else None
    study = Study(cast(StudyStorage, timed), plan_of(pruner), claim=claim, worker=worker)
    run_trial(study)  # fills caches
    starts: list[float] = []
    decisions: list[float] = []
    reads: list[float] = []
    timed.seconds, begun = 0.0, time.thread_time()
    for _ in range(count):
        run_trial(study, starts, decisions, reads)
    spent = time.thread_time() - begun
    storage.close()
    return Measured(1000 * timed.seconds / count, 1000 * spent / count, starts, decisions, reads)


def run_trial(
    study: Study,
    starts: list[float] | None = None,
    decisions: list[float] | None = None,
    reads: list[float] | None = None,
) -> None:
    """Run a trial to its last epoch, whatever the pruner says, so that all trials have ten reports."""
    begun = time.thread_time()
    assignment = study.next_assignment()
    if not isinstance(assignment, Assignment):
        raise SystemExit(f"no trial: {assignment}")
    if starts is not None:
        starts.append(1000 * (time.thread_time() - begun))
    for epoch in range(1, EPOCHS + 1):
        made = study.timings.decisions.get(assignment.number, 0)
        stored, begun = cast(Any, study.storage).seconds if reads is not None else 0.0, time.thread_time()
        score = score_at(assignment.number, epoch)
        study.report(assignment, ProgressReport(epoch, 6.0 * epoch, 60.0, score, 0.7, epoch == EPOCHS))
        if decisions is not None and study.timings.decisions.get(assignment.number, 0) > made:
            decisions.append(1000 * (time.thread_time() - begun))
            if reads is not None:
                reads.append(1000 * (cast(Any, study.storage).seconds - stored))
    values = Values(score_at(assignment.number, EPOCHS), 60.0, assignment.cost.size_mb)
    study.finish(assignment, State.COMPLETE, values, {"seconds": 60.0, "projected_seconds": 60.0, "epochs": EPOCHS})


def in_processes(place: Path | Database, pruner: str, processes: int, count: int) -> Measured:
    """Run trials in several processes at the same time; means over the processes."""
    if processes == 1:
        return run_trials(place, pruner, None, count)
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        every = pool.starmap(run_trials, [(place, pruner, worker, count // processes) for worker in range(processes)])
    return Measured(
        statistics.fmean(each.storage for each in every),
        statistics.fmean(each.search for each in every),
        [one for each in every for one in each.starts],
        [one for each in every for one in each.decisions],
        [one for each in every for one in each.reads],
    )


def start_running(path: Path, count: int) -> None:
    """Start trials of another worker, which stay RUNNING with half a curve."""
    storage = StudyStorage(path)
    study = Study(storage, plan_of("none"), worker=99)
    for _ in range(count):
        assignment = study.next_assignment()
        if isinstance(assignment, Assignment):
            points = tuple(Point(float(e), score_at(assignment.number, e), 0.7, 6.0 * e) for e in range(1, 6))
            storage.record_curve(assignment.trial_id, points)
    storage.close()


def seconds_of_status(folder: Path) -> float:
    """User and system seconds of the command ``status``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "cnn_lstm_hyperopt", "status", "--save-dir", str(folder)]
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(command, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@contextmanager
def copy_of(filled: Path) -> Iterator[Path]:
    """A copy of a filled study."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        shutil.copy(filled, path)
        yield path


def seconds_to_open(path: Path) -> float:
    """Processor seconds to open a study, check all trials and read them."""
    begun = time.process_time()
    storage = StudyStorage(path)
    storage.records()
    storage.close()
    return time.process_time() - begun


def measure(folder: Path, given: argparse.Namespace) -> None:
    """Print the tables."""
    filled = {}
    for trials in given.trials:
        filled[trials] = folder / f"{trials}.db"
        if not filled[trials].exists():
            fill(filled[trials], trials)
    print(f"{machine_line()}; {given.count} trials a row, {len(SPACE.searched())} parameters, {EPOCHS} reports\n")
    print("| stored trials | pruner | processes | storage, ms a trial | search, ms a trial |")
    print("|---|---|---|---|---|")
    for trials, path in filled.items():
        for pruner in given.pruners:
            for processes in given.processes:
                with copy_of(path) as copy:
                    found = in_processes(copy, pruner, processes, given.count)
                print(f"| {trials:,} | {pruner} | {processes} | {found.storage:.1f} | {found.search:.1f} |", flush=True)
    print(f"\nWith {RUNNING} running trials:\n")
    print(
        "| stored trials | pruner | decision of the pruner, ms (largest) | of it storage, ms | start of a trial, ms (largest) |"
    )
    print("|---|---|---|---|---|")
    for trials, path in filled.items():
        for pruner in given.pruners:
            with copy_of(path) as copy:
                start_running(copy, RUNNING - 1)
                found = run_trials(copy, pruner, 1, min(given.count, 20))
            print(
                f"| {trials:,} | {pruner} | {_median_and_largest(found.decisions)} | {_median_and_largest(found.reads)} |"
                f" {_median_and_largest(found.starts)} |",
                flush=True,
            )
    print("\n| stored trials | open and read, s | status, s |")
    print("|---|---|---|")
    for trials, path in filled.items():
        with copy_of(path) as copy:
            start_running(copy, RUNNING)
            opened = statistics.median(seconds_to_open(copy) for _ in range(given.repeats))
            (copy.parent / "data.json").write_text(json.dumps({}), encoding="utf-8")
            seconds_of_status(copy.parent)
            status = statistics.median(seconds_of_status(copy.parent) for _ in range(given.repeats))
        print(f"| {trials:,} | {opened:.2f} | {status:.2f} |", flush=True)


def measure_server(url: str, given: argparse.Namespace) -> None:
    """Print the first table for a server; the studies stay there, with the time in their names."""
    print(f"{machine_line()}; {given.count} trials a row, {len(SPACE.searched())} parameters, {EPOCHS} reports\n")
    print("| stored trials | pruner | processes | storage, ms a trial | search, ms a trial |")
    print("|---|---|---|---|---|")
    for trials in given.trials:
        name = f"benchmark of {trials} trials at {time.time():.0f}"
        fill(PostgresServer(url, name), trials, name)
        for pruner in given.pruners:
            for processes in given.processes:
                found = in_processes(PostgresServer(url, name), pruner, processes, given.count)
                print(f"| {trials:,} | {pruner} | {processes} | {found.storage:.1f} | {found.search:.1f} |", flush=True)


def _median_and_largest(milliseconds: Sequence[float]) -> str:
    return f"{statistics.median(milliseconds):.1f} ({max(milliseconds):.1f})" if milliseconds else "–"


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser.add_argument("--trials", type=numbers, default=[1000, 5000], help="trials that the study has already")
    parser.add_argument("--processes", type=numbers, default=[1, 4])
    parser.add_argument("--pruners", type=lambda text: text.split(","), default=["front", "median"])
    parser.add_argument("--count", type=int, default=100, help="trials that are measured a row")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder of filled studies")
    parser.add_argument(
        "--storage", help="URL of a PostgreSQL database; the password comes from PGPASSWORD or ~/.pgpass"
    )
    given = parser.parse_args()
    if given.storage is not None:
        measure_server(given.storage, given)
        return
    if given.keep is not None:
        given.keep.mkdir(parents=True, exist_ok=True)
        measure(given.keep, given)
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), given)


if __name__ == "__main__":
    main()
