"""Runs on a problem: their files, and what they are worth.

- *hypervolume*: of COMPLETE trials, in (accuracy, ln seconds, ln MB), above the problem's chance; of true values where the
  problem knows them, and as a share of its reference front where it has one. Seconds and MB then reach a tenth of that front's
  range beyond its worst. Without one they reach the worst of all runs in the table, so only numbers of one table compare.
- *direct regret*: how much smaller it is than if no trial had been pruned, as a share; *saved*: how many of the seconds that the
  same trials would have taken.
- *true front*: trials that nobody dominates by true values, among all of a run that are truly above threshold. *Front lost* is
  the share of it that was never finished; *wrongly pruned* is the share of the pruned trials that belong to it, *estimated* what
  the study itself says of that share, from the trials that it spared (see docs/explanation/search-and-pruning.md).
- *shown front*: trials that nobody dominates by what was read of them, which is all that a study has to show; *true front shown*
  is the share of the true front that is among its COMPLETE ones. *Shown front lost* is the share of the front that it would show
  had the pruned trials gone on to their ends, with the luck they had, that it pruned.
"""

import csv
import json
import math
import statistics
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_lstm_hyperopt.pareto import hypervolume, non_dominated
from cnn_lstm_hyperopt.search.pruning_stats import Estimate, share_among
from cnn_lstm_hyperopt.utils.rng import stream_seed
from problems import Array, Problem

BEYOND = 1.1
"""Of the reference front's range of ln seconds and ln MB: where the hypervolume ends."""


@dataclass(frozen=True)
class Row:
    """A trial.

    Attributes:
        accuracy: of a COMPLETE one its value, else its last reading; None without any.
        seconds: that it trained.
        pruner_ms: for all decisions about it.
        params: the whole configuration.
        spared: whether it was exempt from pruning by its number and would have been ended otherwise.
        on_front: whether it is on the front as the study itself has it.
    """

    seed: int
    number: int
    state: str
    reason: str
    epochs: float
    accuracy: float | None
    seconds: float
    size_mb: float
    sampler_ms: float
    pruner_ms: float
    params: dict[str, Any]
    spared: bool = False
    on_front: bool = False

    @property
    def finished(self) -> bool:
        """Whether it counts as a trial."""
        return self.state in ("COMPLETE", "PRUNED")

    @property
    def pruned(self) -> bool:
        """Whether a pruner or a limit ended it."""
        return self.state == "PRUNED"

    @property
    def key(self) -> str:
        """What it tried."""
        return json.dumps(self.params, sort_keys=True)


@dataclass(frozen=True)
class Run:
    """One search: its trials in the order in which they ended.

    Attributes:
        decisions: pruning decisions by trial; empty when the run was read from a file.
        storage_ms: spent in the storage, a trial; None in memory.
    """

    rows: list[Row]
    decisions: dict[int, int] = field(default_factory=dict)
    storage_ms: float | None = None


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """A CSV file, whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Row)])
        writer.writeheader()
        for row in rows:
            accuracy = "" if row.accuracy is None else row.accuracy
            writer.writerow({**row.__dict__, "accuracy": accuracy, "params": json.dumps(row.params)})
    beside.replace(path)


def read_rows(path: Path) -> list[Row]:
    """What :func:`write_rows` wrote."""
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(
                seed=int(line["seed"]),
                number=int(line["number"]),
                state=line["state"],
                reason=line["reason"],
                epochs=float(line["epochs"]),
                accuracy=float(line["accuracy"]) if line["accuracy"] else None,
                seconds=float(line["seconds"]),
                size_mb=float(line["size_mb"]),
                sampler_ms=float(line["sampler_ms"]),
                pruner_ms=float(line["pruner_ms"]),
                params=json.loads(line["params"]),
                spared=line["spared"] == str(True),
                on_front=line["on_front"] == str(True),
            )
            for line in csv.DictReader(file)
        ]


@dataclass(frozen=True)
class Ruler:
    """Measures hypervolumes.

    Attributes:
        corner: where they end: −chance, ln seconds, ln MB.
        whole: of the reference front; 1 without one.
    """

    corner: tuple[float, float, float]
    whole: float

    @classmethod
    def of(cls, problem: Problem, runs: Sequence[Run]) -> "Ruler":
        """By the problem's reference front, or else by the worst of these runs."""
        chance = -problem.skill.chance
        if problem.reference is not None:
            losses = _losses(problem.reference)
            best, worst = losses.min(axis=0), losses.max(axis=0)
            corner = best + BEYOND * np.maximum(worst - best, 1e-9)
            limits = (chance, float(corner[1]), float(corner[2]))
            return cls(limits, hypervolume(losses, limits))
        values = [values_of(problem, each) for each in runs]
        rows = np.concatenate([known[finished_of(each)] for known, each in zip(values, runs, strict=True)])
        if not len(rows):
            return cls((chance, 0.0, 0.0), 1.0)
        worst = _losses(rows).max(axis=0) + 1e-9
        return cls((chance, float(worst[1]), float(worst[2])), 1.0)

    def volume(self, values: Array) -> float:
        """Of rows of (accuracy, seconds, MB), as a share of the whole."""
        return hypervolume(_losses(values), self.corner) / self.whole if len(values) else 0.0


def _losses(values: Array) -> Array:
    return np.column_stack([-values[:, 0], np.log(np.maximum(values[:, 1], 1e-3)), np.log(values[:, 2])])


def finished_of(run: Run) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows are COMPLETE."""
    return np.array([row.state == "COMPLETE" for row in run.rows], dtype=bool)


def values_of(problem: Problem, run: Run) -> Array:
    """(accuracy, seconds, MB) of each row: true ones if the problem knows them, else those of COMPLETE trials, and NaN."""
    values = np.full((len(run.rows), 3), np.nan)
    for index, row in enumerate(run.rows):
        if row.state == "FAIL":
            continue
        if problem.truth is not None:
            values[index] = problem.truth(row.params)
        elif row.state == "COMPLETE":
            values[index] = row.accuracy, row.seconds, row.size_mb
    return values


class Measured:
    """What a run is worth."""

    def __init__(self, problem: Problem, run: Run, ruler: Ruler) -> None:
        self.problem, self.run, self.ruler = problem, run, ruler
        self.values = values_of(problem, run)
        self.complete = finished_of(run)
        self.finished = np.array([row.finished for row in run.rows], dtype=bool)
        self.seconds = np.cumsum([row.seconds for row in run.rows])

    @cached_property
    def history(self) -> Array:
        """Hypervolume after each row."""
        front, volumes, reached = np.empty((0, 3)), [], 0.0
        for value, complete in zip(self.values, self.complete, strict=True):
            if complete and value[0] > self.problem.skill.chance:
                gain = value * (-1, 1, 1)
                if not (front <= gain).all(axis=1).any():
                    front = np.vstack([front[~(gain <= front).all(axis=1)], gain])
                    reached = self.ruler.volume(front * (-1, 1, 1))
            volumes.append(reached)
        return np.array(volumes)

    @property
    def hypervolume(self) -> float:
        """In the end."""
        return float(self.history[-1]) if len(self.history) else 0.0

    def after_seconds(self, seconds: float) -> float:
        """The hypervolume of trials that had ended by then; in the end that of the whole run."""
        ended = int(np.searchsorted(self.seconds, seconds, side="right"))
        return float(self.history[ended - 1]) if ended else 0.0

    def after_trials(self, count: int) -> float | None:
        """None if there were not so many."""
        rows = np.flatnonzero(np.cumsum(self.finished) >= count)
        return float(self.history[rows[0]]) if len(rows) else None

    def seconds_to(self, target: float) -> float:
        """Infinity if it is never reached."""
        rows = np.flatnonzero(self.history >= target - 1e-12)
        return float(self.seconds[rows[0]]) if len(rows) else math.inf

    @property
    def pruned(self) -> float:
        """Share of the finished trials."""
        return _share(sum(row.pruned for row in self.run.rows), int(self.finished.sum()))

    @cached_property
    def regret(self) -> float | None:
        """Share of the hypervolume of what was finished or pruned that pruning lost; None without true values."""
        if self.problem.truth is None:
            return None
        pruned = np.array([row.pruned for row in self.run.rows], dtype=bool)
        proposed = self.ruler.volume(self.values[self.complete | pruned])
        return _share(proposed - self.ruler.volume(self.values[self.complete]), proposed)

    @property
    def saved(self) -> float | None:
        """Share of the seconds that these trials would have taken without pruning; None without true values."""
        if self.problem.truth is None:
            return None
        pairs = zip(self.values, self.run.rows, strict=True)
        left = sum(max(float(value[1]) - row.seconds, 0.0) for value, row in pairs if row.pruned)
        return _share(left, float(self.seconds[-1]) + left)

    @cached_property
    def true_front(self) -> set[str]:
        """Keys of the trials, pruned ones too, that nobody dominates by true values."""
        rows = [index for index, row in enumerate(self.run.rows) if row.finished]
        rows = [index for index in rows if self.problem.skill.passes(float(self.values[index, 0]))]
        if not rows:
            return set()
        keep = non_dominated(self.values[rows] * (-1, 1, 1))
        return {self.run.rows[index].key for index, kept in zip(rows, keep, strict=True) if kept}

    @cached_property
    def front_lost(self) -> float | None:
        """Share of the true front that was never finished; None without true values."""
        if self.problem.truth is None:
            return None
        kept = {row.key for row in self.run.rows if row.state == "COMPLETE"}
        return _share(len(self.true_front - kept), len(self.true_front))

    @cached_property
    def true_front_shown(self) -> float | None:
        """Share of the true front that is on the front by readings; None without true values."""
        if self.problem.truth is None:
            return None
        shown = {self.run.rows[index].key for index in self._shown(self.complete)}
        return _share(len(self.true_front & shown), len(self.true_front))

    @cached_property
    def shown_front_lost(self) -> float | None:
        """Share of the front by readings, of all that was finished or pruned, that was pruned; None where nothing was."""
        pruned = np.array([row.pruned for row in self.run.rows], dtype=bool)
        if not pruned.any():
            return None
        shown = self._shown(self.complete | pruned)
        return _share(int(pruned[shown].sum()), len(shown))

    @property
    def falsely_pruned(self) -> float | None:
        """Share of the pruned trials that would be on the front by readings, had all gone on to their ends; None without any."""
        pruned = np.array([row.pruned for row in self.run.rows], dtype=bool)
        return (
            _share(int(pruned[self._shown(self.complete | pruned)].sum()), int(pruned.sum())) if pruned.any() else None
        )

    @property
    def seconds_left(self) -> float:
        """Seconds that the pruned trials would still have taken, with the luck that they had."""
        return sum(
            max(0.0, float(reading[1]) - row.seconds)
            for reading, row in zip(self._readings, self.run.rows, strict=True)
            if row.pruned
        )

    def _shown(self, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> NDArray[np.int64]:
        """Indices of these rows that are on the front by readings."""
        able = np.flatnonzero(rows & (self._readings[:, 0] > self.problem.skill.threshold))
        return able[non_dominated(self._readings[able] * (-1, 1, 1))] if len(able) else able

    @cached_property
    def _readings(self) -> Array:
        """(accuracy, seconds, MB) as read in the end, of pruned trials as they would have been, shape ``(rows, 3)``."""
        values = np.full((len(self.run.rows), 3), np.nan)
        for index, row in enumerate(self.run.rows):
            if row.state == "COMPLETE":
                values[index] = row.accuracy, row.seconds, row.size_mb
            elif row.pruned:
                luck = stream_seed(row.seed, row.number, "evaluation") % 2**31
                values[index] = deque(self.problem.evaluate(row.params, luck), maxlen=1)[0][1:]
        return values

    @cached_property
    def wrongly_pruned(self) -> float | None:
        """Share of the pruned trials that belong to the true front; None without any, or without true values."""
        pruned = [row.key for row in self.run.rows if row.pruned]
        if self.problem.truth is None or not pruned:
            return None
        return _share(sum(key in self.true_front for key in pruned), len(pruned))

    @cached_property
    def estimated(self) -> Estimate | None:
        """What the study says of the share wrongly pruned; None where it spared no trial that it would have ended."""
        spared = [row for row in self.run.rows if row.spared and row.finished]
        pruned = sum(row.pruned and not row.reason.startswith("limit") for row in self.run.rows)
        return share_among(sum(row.on_front for row in spared), len(spared), pruned) if spared and pruned else None

    @property
    def covered(self) -> float | None:
        """1 if the estimate's interval holds the true share, else 0; None where one of them is not known."""
        if self.wrongly_pruned is None or self.estimated is None:
            return None
        return float(self.estimated.low <= self.wrongly_pruned <= self.estimated.high)

    @property
    def ms_a_trial(self) -> float:
        """To propose and to decide."""
        return statistics.fmean([row.sampler_ms + row.pruner_ms for row in self.run.rows])

    def reasons(self) -> Counter[str]:
        """Trials by the first word of why they were pruned."""
        return Counter(row.reason.split(":")[0] for row in self.run.rows if row.state == "PRUNED")

    def proposal_ms(self) -> dict[int, float]:
        """By trial; those that nobody was asked for are left out."""
        return {row.number: row.sampler_ms for row in self.run.rows if row.sampler_ms > 0}

    def decision_ms(self) -> dict[int, float]:
        """By trial, the mean of its decisions; trials without any are left out."""
        known = self.run.decisions
        return {row.number: row.pruner_ms / known[row.number] for row in self.run.rows if known.get(row.number)}


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
