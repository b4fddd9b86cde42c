"""Tables of all trials for the charts and for the script of the page."""

import math
from datetime import datetime
from functools import cached_property
from typing import Any

import pandas as pd

from cnn_lstm_hyperopt.config import readable
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.search import State, TrialRecord, above_chance, selected, with_fixed
from cnn_lstm_hyperopt.search.constraints import violation_text

MAX_POINTS, FEW_POINTS, MANY_TRIALS = 200, 40, 1000
"""Maximum number of points in a learning curve: MAX_POINTS, or FEW_POINTS in a study with more than MANY_TRIALS trials."""


class TrialTable:
    """Tables of a study's trials, with one row per trial and the trial number as index.

    Attributes:
        content: the study and its results.
        trials: columns state, score, seconds, mb, epochs, feasible, reason, worker, retry_of, start and end (both in seconds
            since the start of the first trial).
        params: a column for each parameter, in the order of the settings. The value is None if a trial does not have the
            parameter.
    """

    params: Any  # pandas-stubs take names of columns for any hashable

    def __init__(self, content: Content) -> None:
        self.content = content
        records = content.records
        numbers = pd.Index([record.number for record in records])
        columns = {
            "state": [record.state.value for record in records],
            "score": [_score(record) for record in records],
            "seconds": [record.values.seconds if record.values else record.seconds for record in records],
            "mb": [record.values.size_mb if record.values else record.size_mb for record in records],
            "epochs": [record.attributes.get("epochs") for record in records],
            "feasible": [record.feasible for record in records],
            "reason": [_reason(record, content) for record in records],
            "worker": [record.attributes.get("worker") for record in records],
            "retry_of": [record.retry_of for record in records],
        }
        series = {name: pd.Series(column, numbers) for name, column in columns.items()}
        self.trials = pd.DataFrame(series).join(_clock(content))
        params = [_params(content, record) for record in records]
        names = {name: None for each in params for name in each}
        known = content.space.specs
        ordered = [*(name for name in known if name in names), *sorted(names.keys() - known.keys())]
        self.params = pd.DataFrame(
            {name: pd.Series([_cell(each.get(name)) for each in params], numbers, dtype=object) for name in ordered},
            index=numbers,
        )

    @cached_property
    def complete(self) -> pd.DataFrame:
        """Rows of the completed trials."""
        return self.trials[self.trials.state == State.COMPLETE.value]

    @cached_property
    def feasible(self) -> pd.DataFrame:
        """Rows of the completed trials that keep all constraints."""
        return self.trials[(self.trials.state == State.COMPLETE.value) & self.trials.feasible.astype(bool)]

    @cached_property
    def front(self) -> pd.DataFrame:
        """Rows of the trials of the Pareto front, in the order of their ranks."""
        return self.trials.loc[[record.number for record in self.content.front]]

    @cached_property
    def curves(self) -> dict[int, tuple[list[float], list[float]]]:
        """Learning curves by trial number: the epochs and the scores of each trial that has a curve."""
        max_points = FEW_POINTS if len(self.trials) > MANY_TRIALS else MAX_POINTS
        every = {record.number: _curve(record, max_points) for record in self.content.records}
        return {number: curve for number, curve in every.items() if curve[0]}

    def as_columns(self) -> dict[str, Any]:
        """Return the table as columns for the page's script, with None for NaN.

        A list of row objects would be three times as long.
        """
        curves = [self.curves.get(number) for number in self.trials.index]
        return {
            "number": self.trials.index.tolist(),
            **{str(name): [_json(each) for each in self.trials[name]] for name in self.trials},
            "curve": [curve and [[_json(each) for each in part] for part in curve] for curve in curves],
            "params": [{"name": name, "values": [_json(each) for each in self.params[name]]} for name in self.params],
        }


def _params(content: Content, record: TrialRecord) -> dict[str, Any]:
    """Return a trial's parameters, including fixed parameters, in readable form. Unknown parameters are returned as stored."""
    if all(name in content.space.specs for name in record.params):
        return readable(with_fixed(content.space, record.params))
    return dict(record.params)


def _score(record: TrialRecord) -> float | None:
    """Return a trial's score. For a trial that is not complete, return the score of its best epoch."""
    if record.values is not None:
        return record.values.score
    point = selected(record.curve, math.inf)
    return None if point is None else point.score


def _reason(record: TrialRecord, content: Content) -> str | None:
    """Return the reason why a trial ended.

    The text also says if a completed trial does not beat chance, and which constraints it breaks.
    """
    if record.values is None:
        return record.reason
    unskilled = "" if above_chance(record, content.skill) else "not above chance"
    broken = "" if record.feasible else f"infeasible: {violation_text(record)}"
    return "; ".join(part for part in (record.reason, unskilled, broken) if part)


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _json(value: Any) -> Any:
    """Return a value for strict JSON. Numbers are rounded to six digits; NaN and infinity become None."""
    if not isinstance(value, float):
        return value
    rounded = float(f"{value:.6g}")
    if not math.isfinite(rounded):
        return None
    return int(rounded) if rounded.is_integer() else rounded


def _clock(content: Content) -> pd.DataFrame:
    """Return each trial's ``start`` and ``end`` in seconds since the first trial started.

    A running trial gets the current time as end.
    """
    now, rows = datetime.now(), {}
    for record in content.records:
        start, end = content.times.get(record.number, (None, None))
        lasts = end is None and content.running and record.state is State.RUNNING
        rows[record.number] = (start, now if lasts else end)
    times = pd.DataFrame.from_dict(rows, orient="index", columns=["start", "end"]).apply(pd.to_datetime)
    seconds: pd.DataFrame = (times - times["start"].min()).apply(lambda column: column.dt.total_seconds())
    return seconds


def _curve(record: TrialRecord, max_points: int) -> tuple[list[float], list[float]]:
    points = [point for point in record.curve if point.epoch >= 1] or list(record.curve)
    step = math.ceil(len(points) / max_points) or 1
    points = [*points[:-1:step], *points[-1:]]
    return [point.epoch for point in points], [point.score for point in points]


def lanes_of(trials: pd.DataFrame, ends: pd.Series) -> tuple[dict[int, int], list[str]]:
    """Return the lane of each trial in the timeline: the number of its worker.

    Without a known worker, use the first free lane.
    """
    workers = sorted(trials.worker.dropna().unique())
    lanes: dict[int, int] = {}
    free: list[float] = []
    for number, start, worker in zip(trials.index, trials.start, trials.worker, strict=True):
        if worker in workers:
            lanes[number] = workers.index(worker)
            continue
        lane = next((k for k, end in enumerate(free) if end <= start), len(free))
        free[lane : lane + 1] = [ends[number]]
        lanes[number] = len(workers) + lane
    other = "worker not known" if workers else "process"
    names = [*(f"worker {worker:g}" for worker in workers), *(f"{other} {k + 1}" for k in range(len(free)))]
    return lanes, names
