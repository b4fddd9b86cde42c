"""Records how real configurations learn, for problems that ``benchmarks/search.py`` can repeat at no cost.

    python benchmarks/record.py --problem volatility --minutes 60

Each configuration of the whole search space is trained for 16 epochs without patience on the embedded bars and told after every
epoch, and after each quarter of the first. Half are random; the others are neighbours of the best of these, so that the
region that a search ends in is dense; a tenth is trained again with another seed, which shows the noise. Those that are predicted
to take more than ``DEAR`` seconds have one epoch and are marked; of the random ones most of these (``DEAR_LEFT_OUT``) are left
out, since they would take most of the hours and tell only what they cost.

It goes on where it was when it is started again, also on another machine: each row has the machine that it was measured on,
whose speeds are kept beside it, so that seconds can be told by the speeds of one. Machines drift, too (a shared one by half in an
hour): the same few steps are timed before and after each training, and kept with it. Two Parquet files hold all of it, rewritten
whole once a minute: a row for each configuration, and a row for each reading. A JSON file tells of the data and the machines.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cnn_lstm_hyperopt.config import FloatRange, Scalar, SearchSpace, load_settings
from cnn_lstm_hyperopt.data.dataset import prepare_dataset
from cnn_lstm_hyperopt.pareto import non_dominated_ranks
from cnn_lstm_hyperopt.progress import CONTINUE, Action, Decision, ProgressReport
from cnn_lstm_hyperopt.search import SkillThreshold, random_configuration
from cnn_lstm_hyperopt.search.samplers.random import draw
from cnn_lstm_hyperopt.training import NonFiniteLossError
from cnn_lstm_hyperopt.training.cost_model import CostModel
from cnn_lstm_hyperopt.training.machine_benchmark import calibration_for
from cnn_lstm_hyperopt.training.trial_trainer import TrialRunner
from cnn_lstm_hyperopt.utils.atomic_io import write_json
from cnn_lstm_hyperopt.utils.rng import stream
from machine import machine_line, machine_name

EPOCHS = 16
RANDOM, NEAR, AGAIN = 300, 300, 60
DEAR = {"volatility": 12.0, "synthetic": 8.0}
"""By problem: seconds that all epochs are predicted to train for, by the speeds of the machine that began; above it there is
one epoch."""
DEAR_LEFT_OUT = 0.85
"""Share of the random ones above it that are not recorded at all."""
CENTRES = 40
"""Best of the random ones, whose neighbours are trained."""
OTHER_SEED = 1_000_000
"""Added to a number where it is trained again."""
SAVE_SECONDS = 60.0
YARDSTICK_STEPS = 20
YARDSTICK = (64, 16, 11, 64)
"""Windows, bars, features and hidden size of the LSTM that tells how fast the machine is at the moment."""

_BARS = {
    "source": "embedded",
    "symbols": ["AAPL", "IBM", "MSFT"],
    "start": "2000-03-01",
    "end": "2013-03-01",
    "lookback": 8,
    "split": [0.7, 0.1, 0.2],
}
PROBLEMS: dict[str, dict[str, Any]] = {
    "volatility": {**_BARS, "target": "volatility", "train_share": 0.1},
    "synthetic": {
        "source": "synthetic",
        "symbols": ["SYN1", "SYN2", "SYN3"],
        "target": "direction",
        "lookback": 6,
        "split": [0.7, 0.1, 0.2],
        "train_share": 0.15,
    },
}
"""Settings of the data; about a thousand training windows."""


@dataclass(frozen=True)
class Task:
    """A configuration that is to be trained.

    Attributes:
        number: of the row; it seeds the training.
        kind: random, near (a neighbour of a good one) or again.
        of: number of the configuration that it is a neighbour or a repetition of; −1: of none.
        dear: whether it has one epoch.
    """

    number: int
    kind: str
    of: int
    params: dict[str, Scalar]
    dear: bool


class Recorder:
    """Trains, in a process of its own."""

    def __init__(self, problem: str) -> None:
        settings = load_settings(
            {
                "data": PROBLEMS[problem],
                "search_space": {"inputs": {"standardise": False}},
                "training": {"max_epochs": EPOCHS, "min_patience": EPOCHS, "long_epoch_seconds": 1e-6},
            },
            environment={},
        )
        self.space: SearchSpace = settings.search_space
        device = torch.device("cpu")
        self.speeds: CostModel = calibration_for(device, remeasure=False, on_start=lambda: None)
        self.dataset = prepare_dataset(settings.data)
        data = self.dataset.for_trials()
        self.runner = TrialRunner(data, settings.training, seed=settings.study.seed, device=device, speeds=self.speeds)
        (fold,) = data.folds
        skill = SkillThreshold.on("accuracy", [fold.validation.labels.numpy()], overlap=settings.data.horizon)
        self.about: dict[str, Any] = {
            "settings": PROBLEMS[problem],
            "epochs": EPOCHS,
            "dear_seconds": DEAR[problem],
            "training_windows": len(fold.train),
            "validation_windows": len(fold.validation),
            "independent_validation_windows": round(skill.n_effective),
            "chance": skill.chance,
            "lookback": fold.train.lookback,
            "input_dim": fold.train.input_dim,
            "n_classes": data.n_classes,
            "has_regression": data.has_regression,
        }
        """What the recorded configurations were trained on."""
        self.dear_seconds = DEAR[problem]

    def _yardstick(self) -> float:
        """Seconds that some steps of a plain LSTM take now: the median of a step times their number."""
        windows, bars, features, hidden = YARDSTICK
        network, x = torch.nn.LSTM(features, hidden, batch_first=True), torch.zeros(windows, bars, features)
        times = []
        for _ in range(YARDSTICK_STEPS):
            begun = time.perf_counter()
            network(x)[0].sum().backward()
            times.append(time.perf_counter() - begun)
        return YARDSTICK_STEPS * float(np.median(times))

    def train(self, task: Task) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A row of the configuration, and one for each reading."""
        curve: list[dict[str, Any]] = []

        def on_report(report: ProgressReport) -> Decision:
            if report.score is not None:
                about = {"epoch": report.epoch, "score": report.score, "loss": report.loss, "seconds": report.seconds}
                curve.append({"number": task.number, **about})
                if task.dear and report.epoch >= 1:
                    return _ENOUGH
            return CONTINUE

        state, memory, before = "whole", math.nan, self._yardstick()
        try:
            trained = self.runner.run_trial(task.number, task.params, on_report)
            memory = trained.memory_mb or math.nan
        except NonFiniteLossError:
            state = "diverged"
        except MemoryError:
            state = "memory"
        cost = self.runner.costs.cost(task.params)
        row = {
            "number": task.number,
            "kind": task.kind,
            "of": task.of,
            "params": json.dumps(task.params),
            "state": "dear" if task.dear and state == "whole" else state,
            "size_mb": cost.size_mb,
            "predicted_seconds": cost.seconds,
            "memory_mb": memory,
            "machine": machine_name(),
            "yardstick_seconds": (before + self._yardstick()) / 2,
        }
        return row, curve


_ENOUGH = Decision(Action.STOP, "one epoch was asked for")


_recorder: Recorder | None = None


def _begin(problem: str) -> None:
    global _recorder  # what a process of the pool has instead of an argument
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one that is asked to end lets these end what they are at
    torch.set_num_threads(1)
    _recorder = Recorder(problem)


def _train(task: Task) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if _recorder is None:
        raise RuntimeError("the process was not begun")
    return _recorder.train(task)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


class Record:
    """What is there already, on disk and in memory."""

    def __init__(self, folder: Path, problem: str) -> None:
        self._places = {name: folder / f"{problem}_{name}.parquet" for name in ("configurations", "curves")}
        self._about = folder / f"{problem}.json"
        tables = {name: pd.read_parquet(path) for name, path in self._places.items() if path.is_file()}
        self.rows: dict[int, dict[str, Any]] = {}
        self.readings: list[dict[str, Any]] = []
        if len(tables) == len(self._places):
            self.rows = {int(row["number"]): row for row in _rows(tables["configurations"])}
            self.readings = _rows(tables["curves"])
        self.about: dict[str, Any] = {"machines": {}}
        if self._about.is_file():
            self.about = json.loads(self._about.read_text(encoding="utf-8"))

    def begin(self, recorder: Recorder) -> CostModel:
        """Says what is recorded and where; gives the speeds of the machine that began.

        Raises:
            SystemExit: what is there was recorded on other data.
        """
        for name, value in json.loads(json.dumps(recorder.about)).items():
            if self.about.setdefault(name, value) != value:
                raise SystemExit(f"{self._about}: {name} was {self.about[name]} and is {value} now; take another --out")
        self.about["machines"].setdefault(machine_name(), recorder.speeds.as_dict())
        return CostModel.from_dict(next(iter(self.about["machines"].values())))

    def add(self, row: dict[str, Any], readings: list[dict[str, Any]]) -> None:
        """One more."""
        self.rows[row["number"]] = row
        self.readings += readings

    def save(self) -> None:
        """All files, whole."""
        configurations = pd.DataFrame([self.rows[number] for number in sorted(self.rows)])
        curves = pd.DataFrame(self.readings).sort_values(["number", "epoch"])
        small = dict.fromkeys(("epoch", "score", "loss", "seconds"), "float32")
        for name, table in (("configurations", configurations), ("curves", curves.astype(small))):
            beside = self._places[name].with_suffix(".part")
            table.to_parquet(beside, index=False, compression="zstd")
            beside.replace(self._places[name])
        write_json(self._about, self.about)

    def good(self) -> list[int]:
        """Numbers of the random ones that neighbours are made of: by rank in (accuracy, seconds, MB), then by accuracy."""
        whole = [row for row in self.rows.values() if row["kind"] == "random" and row["state"] == "whole"]
        table = pd.DataFrame(self.readings)
        best = table.loc[table.groupby("number")["loss"].idxmin()].set_index("number")["score"]
        spent = table.groupby("number")["seconds"].max()
        losses = [(-best[row["number"]], math.log(spent[row["number"]]), math.log(row["size_mb"])) for row in whole]
        ranks = non_dominated_ranks(losses)
        order = sorted(
            range(len(whole)),
            key=lambda place: (losses[place][0] > np.median(losses, axis=0)[0], ranks[place], losses[place]),
        )
        return [int(whole[place]["number"]) for place in order[:CENTRES]]


def tasks(record: Record, recorder: Recorder, *, reference: CostModel) -> Iterator[Task]:
    """What is missing, in order; the neighbours once all random ones are there."""

    def task(number: int, kind: str, of: int, params: Mapping[str, Scalar]) -> Task:
        runner = recorder.runner
        network, batch_size, precision = (
            runner.costs.profile(params),
            int(params["training.batch_size"]),
            runner.costs.precision(params),
        )
        steps = math.ceil(len(runner.data.folds[0].train) / batch_size) * EPOCHS
        seconds = steps * reference.step_seconds(network, batch_size, precision)
        return Task(number, kind, of, dict(params), seconds > recorder.dear_seconds)

    space = recorder.space
    drawn = (task(number, "random", -1, random_configuration(space, 0, number)) for number in count())
    kept = (each for each in drawn if not each.dear or stream(0, each.number, "kept").random() >= DEAR_LEFT_OUT)
    for number, each in zip(range(RANDOM), kept, strict=False):
        if number not in record.rows:
            yield replace(each, number=number)
    if any(number not in record.rows for number in range(RANDOM)):
        return
    centres = record.good()
    for number in range(RANDOM, RANDOM + NEAR):
        if number not in record.rows:
            of = centres[number % len(centres)]
            yield task(number, "near", of, neighbour(space, json.loads(record.rows[of]["params"]), number))
    if any(number not in record.rows for number in range(RANDOM + NEAR)):
        return
    step = (RANDOM + NEAR) // AGAIN
    for of in range(0, RANDOM + NEAR, step):
        if of + OTHER_SEED not in record.rows:
            yield task(of + OTHER_SEED, "again", of, json.loads(record.rows[of]["params"]))


def neighbour(space: SearchSpace, centre: Mapping[str, Scalar], number: int) -> dict[str, Scalar]:
    """One to four parameters are other ones: numbers within a fifth of their range, choices any."""
    generator = stream(0, number, "neighbour")
    searched = [name for name in space.searched() if name in centre]
    changed = set(generator.choice(searched, size=generator.integers(1, 5), replace=False))
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        domain = space.domains[name]
        value = centre.get(name)
        if value is None or name in changed:
            fresh = draw(domain, generator)
            if isinstance(domain, FloatRange) and isinstance(value, float) and isinstance(fresh, float):
                turn, back = (math.log, math.exp) if domain.log else (float, float)
                moved = turn(value) + 0.2 * (turn(fresh) - turn(value))
                fresh = min(max(back(moved), domain.low), domain.high)
            value = fresh
        params[name] = space.legal(name, value, params)
    return params


def main() -> None:
    """Records until all is there or the minutes are over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problem", choices=sorted(PROBLEMS), default="volatility")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "problems" / "recorded")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no further configuration begins")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes, with a thread each")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    record, recorder = Record(given.out, given.problem), Recorder(given.problem)
    reference = record.begin(recorder)
    total, end = RANDOM + NEAR + AGAIN, time.monotonic() + 60 * given.minutes
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    pool = ProcessPoolExecutor(
        given.workers, mp_context=get_context("spawn"), initializer=_begin, initargs=(given.problem,)
    )
    try:
        with Progress(*columns, console=Console(stderr=True)) as bar, pool, suppress(KeyboardInterrupt):
            shown = bar.add_task(given.problem, total=total, completed=len(record.rows))
            saved = time.monotonic()
            while time.monotonic() < end and (found := list(tasks(record, recorder, reference=reference))):
                missing = iter(found)
                running: set[Future[Any]] = set()
                while True:
                    while len(running) < given.workers and time.monotonic() < end and (task := next(missing, None)):
                        running.add(pool.submit(_train, task))
                    if not running:
                        break
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for each in done:
                        record.add(*each.result())
                    bar.update(shown, completed=len(record.rows))
                    if time.monotonic() - saved > SAVE_SECONDS:
                        record.save()
                        saved = time.monotonic()
    finally:
        if record.rows:
            record.save()
    print(f"{len(record.rows)} of {total} rows in {given.out}; {machine_line()}")
    states = pd.Series([row["state"] for row in record.rows.values()]).value_counts()
    print(", ".join(f"{count} {state}" for state, count in states.items()))
    if len(record.rows) < total:
        print(f"go on with: python benchmarks/record.py --problem {given.problem} --out {given.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
