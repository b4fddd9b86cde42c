"""The numbers of the report's charts, as the page's script reads them. Pure functions of records."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.config import PARAMETERS, Configuration, readable
from cnn_lstm_hyperopt.models.cnn_lstm.config import NetworkConfig
from cnn_lstm_hyperopt.models.cnn_lstm.cost import profile
from cnn_lstm_hyperopt.reporting.html.calibration_curve import ENOUGH_WINDOWS, calibration_rows
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.search import State, TrialRecord, above_chance, hypervolume_history, selected, with_fixed
from cnn_lstm_hyperopt.search.pareto_front import finish_order

MOST_CURVES = 60
"""Of pruned trials, evenly over the study: more of them are a grey wall."""
MOST_POINTS = 200
"""Of a curve: more of them than the chart has dots of width."""
FEW_POINTS, MANY_TRIALS = 40, 1000
"""Of a curve in a study of more trials than these: every trial has a curve in the page."""
MOST_AXES = 8
"""Of the parallel coordinates: the parameters that matter most."""


def payload(content: Content) -> dict[str, Any]:
    """All of it; strict JSON (what is not known is null)."""
    history = hypervolume_history(content.records, content.gate)
    return {
        "objective": content.gate.words,
        "threshold": content.gate.threshold,
        "trials": _trials(content),
        "front": [record.number for record in content.front],
        "states": _states(content.records),
        "hypervolume": [[step.trials, step.seconds, step.hypervolume] for step in history],
        "seconds": sum(record.seconds for record in content.records if record.state.ended),
        "curves": _curves(content),
        "parallel": _axes(content),
        "efficiency": _efficiency(content),
        "calibration": [
            {
                "model": entry["model_rank"],
                "rows": calibration_rows(entry["test_metrics"].get("calibration") or []),
            }
            for entry in content.models
        ],
        "enough_windows": ENOUGH_WINDOWS,
    }


def whole_params(content: Content, record: TrialRecord) -> dict[str, Any]:
    """Those of a trial as people write them, with what the space has fixed; of a space of one's own, as they are stored."""
    if all(name in PARAMETERS for name in record.params):
        return readable(with_fixed(content.space, record.params))
    return dict(record.params)


def score_of(record: TrialRecord) -> float | None:
    """The trial's score, or what it would have been where the trial ended."""
    if record.values is not None:
        return record.values.score
    point = selected(record.curve, math.inf)
    return None if point is None else point.score


def _trials(content: Content) -> dict[str, list[Any]]:
    """Columns, a place for every trial: a third of the size of a list of objects."""
    records = content.records
    every = [whole_params(content, record) for record in records]
    names = [name for name in PARAMETERS if any(name in params for params in every)]
    names += sorted({name for params in every for name in params} - set(PARAMETERS))
    return {
        "number": [record.number for record in records],
        "state": [record.state.value for record in records],
        "score": [_rounded(score_of(record)) for record in records],
        "seconds": [_rounded(record.values.seconds if record.values else record.seconds) for record in records],
        "mb": [_rounded(record.values.size_mb if record.values else record.size_mb) for record in records],
        "epochs": [_rounded(record.attributes.get("epochs")) for record in records],
        "reason": [_reason(record, content) for record in records],
        "worker": [record.attributes.get("worker") for record in records],
        "retry_of": [record.retry_of for record in records],
        **_clock(content),
        "curve": [_curve(record, FEW_POINTS if len(records) > MANY_TRIALS else MOST_POINTS) for record in records],
        "params": [{"name": name, "values": [_cell(params.get(name)) for params in every]} for name in names],
    }


def _reason(record: TrialRecord, content: Content) -> str | None:
    """Why a trial ended; of a completed one, whether it does not beat chance."""
    if record.values is None or above_chance(record, content.gate):
        return record.reason
    return f"{record.reason}; not above chance" if record.reason else "not above chance"


def _rounded(value: float | None) -> float | None:
    """Six digits: more cost megabytes and show nothing."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def _cell(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return _rounded(value)
    return "-".join(map(str, value)) if isinstance(value, list) else str(value)


def _states(records: Sequence[TrialRecord]) -> dict[str, list[int]]:
    """How many trials had ended in which state, after each that ended."""
    ended = [record.state for record in finish_order(records)]
    return {
        state.value: np.cumsum([each is state for each in ended], dtype=int).tolist()
        for state in (State.COMPLETE, State.PRUNED, State.FAIL)
        if any(each is state for each in ended)
    }


def _clock(content: Content) -> dict[str, list[float | None]]:
    """Seconds from the first begin of a trial to each trial's begin and end; None where that is not stored.

    A trial that is running has lasted until now.
    """
    now = datetime.now()
    every = [content.times.get(record.number, (None, None)) for record in content.records]
    first = min((begun for begun, _ in every if begun is not None), default=None)

    ends = [
        now if ended is None and content.running and record.state is State.RUNNING else ended
        for record, (_, ended) in zip(content.records, every, strict=True)
    ]

    def since(moment: datetime | None) -> float | None:
        return None if moment is None or first is None else _rounded((moment - first).total_seconds())

    return {"start": [since(begun) for begun, _ in every], "end": [since(ended) for ended in ends]}


def _curves(content: Content) -> dict[str, Any]:
    """Numbers of the finalists' trials (the front's before there are any) and of pruned ones, spread over the study."""
    known = {record.number for record in content.records if len(record.curve) > 0}
    ranked = [entry["trial_number"] for entry in content.models] or [record.number for record in content.front[:8]]
    pruned = [record.number for record in content.records if record.state is State.PRUNED and record.number in known]
    step = max(1, math.ceil(len(pruned) / MOST_CURVES))
    return {
        "finalists": [number for number in ranked if number in known],
        "pruned": pruned[::step],
        "of_pruned": len(pruned),
    }


def _curve(record: TrialRecord, most: int) -> list[list[float | None]] | None:
    """Scores, and epochs where these are not 1, 2, 3, …; None without a point."""
    points = [point for point in record.curve if point.epoch >= 1] or list(record.curve)
    if not points:
        return None
    step = math.ceil(len(points) / most)
    points = [*points[:-1:step], points[-1]]
    scores = [_rounded(point.score) for point in points]
    if all(point.epoch == place for place, point in enumerate(points, start=1)):
        return [scores]
    return [scores, [_rounded(point.epoch) for point in points]]


def _axes(content: Content) -> list[str]:
    """The parameters of the parallel coordinates: those that matter most for the score, or else for another objective."""
    known: Iterator[Mapping[str, float]] = (shares for shares in content.importances.values() if shares)
    return list(next(known, {}))[:MOST_AXES]


def _efficiency(content: Content) -> dict[str, list[Any]] | None:
    """Of finished trials: seconds an epoch by the clock, multiply-adds of a window, memory; None where inputs are not known."""
    data = content.data
    features, lookback, classes = data.get("features"), data.get("lookback"), data.get("class_names")
    width = (
        len(features) if isinstance(features, list) else features
    )  # DataLoaders have a number of them, without names
    if not isinstance(width, int) or not isinstance(lookback, int) or not isinstance(classes, list):
        return None
    columns: dict[str, list[Any]] = {"number": [], "seconds": [], "multiply_adds": [], "memory": [], "batch": []}
    for record in content.records:
        epochs, measured = float(record.attributes.get("epochs") or 0.0), record.attributes.get("measured_seconds")
        if not record.finished or not epochs > 0:
            continue
        params = with_fixed(content.space, record.params)
        network = NetworkConfig.from_params(
            params,
            input_dim=width,
            n_classes=max(2, len(classes)),
            has_regression=bool(data.get("value_name")),
        )
        columns["number"].append(record.number)
        columns["seconds"].append(_rounded((measured or record.seconds) / epochs))
        columns["multiply_adds"].append(profile(network, lookback=lookback).multiply_adds)
        columns["memory"].append(_rounded(record.attributes.get("memory_mb")))
        columns["batch"].append(Configuration(params).whole_number("training.batch_size"))
    return columns
