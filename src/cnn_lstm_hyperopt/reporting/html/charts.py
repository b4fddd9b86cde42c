"""Charts of the page: Pareto front, states, hypervolume, history, timeline, learning curves, cost, size and calibration."""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import binomtest

from cnn_lstm_hyperopt.data.feature_groups import columns_of
from cnn_lstm_hyperopt.models import network_config
from cnn_lstm_hyperopt.pipeline.results.ensemble import ensemble_text
from cnn_lstm_hyperopt.reporting.html.chart_style import (
    BAR,
    COLOURS,
    CYCLE,
    STATE_COLOURS,
    axis,
    figure,
    infeasible,
    log_bar,
    points,
    small,
    spread,
)
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable, lanes_of
from cnn_lstm_hyperopt.search import FEATURE_GROUPS, OWN_GROUPS, State, hypervolume_history, with_fixed
from cnn_lstm_hyperopt.search.pareto_front import finish_order

MAX_CURVES = 60
"""Maximum number of pruned trials whose learning curves the chart shows."""
MIN_WINDOWS = 30
"""Minimum number of windows in a calibration bin that the line of the chart connects: the bin's interval is then 0.3 wide."""


def objectives(table: TrialTable) -> dict[str, str]:
    """Return the titles of the objectives. The keys are the names of their columns in the table of trials."""
    return {"score": table.content.skill.words, "seconds": "training time (s)", "mb": "size (MB)"}


def objective_axis(table: TrialTable, which: str) -> dict[str, Any]:
    """Return the axis of a chart for the objective in column ``which`` of the table of trials."""
    return axis(objectives(table)[which], None if which == "score" else table.complete[which])


def front(table: TrialTable) -> go.Figure | None:
    """Return the chart of the Pareto front: score against training time.

    A star marks the trial of the first tested model, and a diamond the ensemble. The last trace of the chart is a ring around
    the chosen trial.
    """
    best = table.front
    if best.empty:
        return None
    others = table.complete.drop(best.index)
    scale: dict[str, Any] = {
        "color": small(np.log10(best.mb)),
        "showscale": True,
        "colorbar": {"title": {"text": "MB"}, **BAR, **log_bar(best.mb)},
        "line": {"color": COLOURS["soft"], "width": 1},
    }
    grey: dict[str, Any] = {"color": COLOURS["grey"], "size": 6, "opacity": 0.55}
    ring: dict[str, Any] = {"size": 20, "color": "rgba(0,0,0,0)", "line": {"color": COLOURS["orange"], "width": 3}}
    chosen = points("chosen", best.iloc[:1], "seconds", "score", **ring).update(hoverinfo="skip", showlegend=False)
    traces = [
        points("other completed trials", others[others.feasible], "seconds", "score", **grey),
        *infeasible(others[~others.feasible]),
        points("Pareto front", best, "seconds", "score", size=12, **scale),
        *_tested(table),
        *_ensemble(table),
        chosen,
    ]
    x, y = axis("training time (s)", table.complete.seconds), axis(f"{objectives(table)['score']} on validation")
    line = {"color": COLOURS["orange"], "width": 1, "dash": "dot"}
    note = {"text": "above it: better than chance", "font": {"size": 11, "color": COLOURS["soft"]}}
    drawn: go.Figure = figure(traces, x, y)
    return drawn.add_hline(table.content.skill.threshold, line=line, annotation=note, annotation_position="top right")


def _tested(table: TrialTable) -> list[Any]:
    """Return a trace with a star around the trial of the first tested model; an empty list if no model was tested."""
    names = {each["trial_number"]: f"model {each['model_rank']}, tested" for each in table.content.models[:1]}
    rows = table.complete[table.complete.index.isin(names)]
    star = points("", rows, "seconds", "score", symbol="star-open", size=22, color=COLOURS["accent"])
    return [star.update(name=names[number]) for number in rows.index]


def _ensemble(table: TrialTable) -> list[Any]:
    """Return a trace with the ensemble: its validation score against the seconds of training of all members.

    The list is empty without an ensemble, or if an earlier version did not store its score or seconds.
    """
    ensemble = table.content.results.get("ensemble") or {}
    score, seconds = ensemble.get("validation_score"), ensemble.get("training_time")
    if score is None or not seconds:
        return []
    text = f"ensemble: {table.content.skill.words} {score:.4f} on validation, {ensemble_text(ensemble)}"
    marker = {"symbol": "diamond", "size": 14, "color": COLOURS["orange"]}
    style: dict[str, Any] = {"mode": "markers", "marker": marker, "hoverinfo": "text", "hovertext": [text]}
    return [go.Scatter(name="ensemble, tested", x=small([seconds]), y=small([score]), **style)]


def states(table: TrialTable) -> go.Figure | None:
    """Return the chart that shows, after each ended trial, how many trials are in each state."""
    ended = pd.Series([record.state.value for record in finish_order(table.content.records)], dtype=object)
    traces = [
        go.Scatter(
            name=state,
            x=np.arange(1, len(ended) + 1),
            y=(ended == state).cumsum().to_numpy(),
            mode="lines",
            stackgroup="all",
            line={"width": 0.5, "color": STATE_COLOURS[state]},
        )
        for state in STATE_COLOURS
        if (ended == state).any()
    ]
    return figure(traces, axis("trials that had ended"), axis("trials"), hovermode="x", showlegend=True)


def hypervolume(table: TrialTable, by: str) -> go.Figure | None:
    """Return the chart of the Pareto front's hypervolume against the number of finished trials or the seconds of training."""
    records = table.content.records
    history = hypervolume_history(records, table.content.skill)
    if not history:
        return None
    total = {
        "trials": sum(record.finished for record in records),
        "seconds": sum(record.seconds for record in records if record.state.ended),
    }
    x = [0, *(getattr(step, by) for step in history)]
    y = [0, *(step.hypervolume for step in history)]
    line = go.Scatter(
        x=small([*x, max(total[by], x[-1])]),
        y=small([*y, y[-1]]),
        mode="lines",
        line={"shape": "hv", "color": COLOURS["accent"], "width": 2.5},
        fill="tozeroy",
        fillcolor=COLOURS["accent-soft"],
    )
    title = {"trials": "finished trials", "seconds": "seconds of training"}[by]
    zero: dict[str, Any] = {"rangemode": "tozero"}
    return figure([line], axis(title, **zero), axis("hypervolume", **zero), showlegend=False, hovermode="x")


def history(table: TrialTable, which: str) -> go.Figure | None:
    """Return the chart of an objective's value in each trial, and of the best feasible value up to each trial."""
    complete, trials = table.complete, table.trials
    pruned = trials[(trials.state == State.PRUNED.value) & trials.score.notna() & (which == "score")]
    best = table.feasible[which].cummax() if which == "score" else table.feasible[which].cummin()
    colour: dict[str, Any] = {"color": COLOURS["grey"], "symbol": "x-thin-open", "size": 5}
    traces = [
        points("pruned, at its best epoch", pruned, pruned.index.to_series(), which, **colour),
        points("complete", complete, complete.index.to_series(), which, color=COLOURS["accent"], size=6, opacity=0.7),
        _steps("best so far", best.index, best, COLOURS["orange"]),
    ]
    return figure(traces, axis("trial"), objective_axis(table, which))


def size(table: TrialTable) -> go.Figure | None:
    """Return the chart of score against model size. A line shows the best score among feasible models up to each size."""
    ordered = table.feasible.sort_values("mb", kind="stable")
    traces = [
        points("completed trials", table.complete, "mb", "score", color=COLOURS["grey"], size=6, opacity=0.6),
        _steps("best up to this size", ordered.mb, ordered.score.cummax(), COLOURS["accent"]),
    ]
    return figure(traces, objective_axis(table, "mb"), objective_axis(table, "score"))


def _steps(name: str, x: Any, y: Any, colour: str) -> Any:
    line = {"shape": "hv", "color": colour, "width": 2}
    return go.Scatter(name=name, x=small(x), y=small(y), mode="lines", line=line, hoverinfo="skip")


def timeline(table: TrialTable) -> go.Figure | None:
    """Return the chart of the start and end of each trial, with one lane for each worker."""
    trials = table.trials[table.trials.start.notna()].sort_values("start")
    if trials.empty:
        return None
    last = max(trials.start.max(), trials.end.max())
    ends = trials.end.fillna(last)
    unit, name = (1, "seconds") if last < 300 else (60, "minutes") if last < 3 * 3600 else (3600, "hours")
    lanes, names = lanes_of(trials, ends)
    width = max(2, min(11, 150 / len(names)))
    traces = []
    for state, colour in STATE_COLOURS.items():
        own = trials.index[trials.state == state]
        lines = [((trials.start[n] / unit, ends[n] / unit), (lanes[n], lanes[n]), n) for n in own]
        traces.append(_lines(state, lines, line={"color": colour, "width": width}, mode="lines"))
    ticks: dict[str, Any] = {"tickvals": list(range(len(names))), "ticktext": names, "range": [len(names) - 0.4, -0.6]}
    up = axis("", **ticks, tickfont={"size": 8 if len(names) > 12 else 12}, showgrid=False, fixedrange=True)
    return figure(traces, axis(f"{name} since the first trial began", rangemode="tozero"), up, showlegend=True)


def curves(table: TrialTable) -> go.Figure | None:
    """Return the chart of the learning curves of retrained trials, with pruned trials in grey.

    If no trial is retrained, the chart shows the trials of the Pareto front instead.
    """
    best, pruned = curve_trials(table)
    lines = [(*table.curves[number], number) for number in pruned]
    grey = {"color": COLOURS["grey"], "width": 1}
    traces = [_lines("pruned", lines, line=grey, marker={"size": 3}, opacity=0.55, mode="lines+markers")]
    for number, colour in zip(best, cycle(CYCLE), strict=False):
        line, marker = {"color": colour, "width": 2.5}, {"size": 4}
        one = [(*table.curves[number], number)]
        traces.append(_lines(f"trial {number}", one, line=line, marker=marker, mode="lines+markers"))
    last = max((table.curves[number][0][-1] for number in [*best, *pruned]), default=0)
    return figure(
        traces, axis("epoch", dtick=1 if last <= 12 else None), objective_axis(table, "score"), showlegend=True
    )


def curve_trials(table: TrialTable) -> tuple[list[int], list[int]]:
    """Return the numbers of the trials in the chart of learning curves: the best trials, and a sample of the pruned trials."""
    content = table.content
    ranked = [entry["trial_number"] for entry in content.models] or table.front.index[:8]
    pruned = table.trials[(table.trials.state == State.PRUNED.value) & table.trials.index.isin(list(table.curves))]
    return [number for number in ranked if number in table.curves], spread(pruned, MAX_CURVES).index.tolist()


def trial_curve(table: TrialTable) -> go.Figure | None:
    """Return an empty figure for one trial's score by epoch.

    The page's script adds the points of the trial that the user opens.
    """
    line = go.Scatter(x=[0], y=[0], mode="lines+markers", line={"color": COLOURS["accent"], "width": 2})
    margin = {"l": 52, "r": 8, "t": 8, "b": 40}
    return figure([line], axis("epoch"), objective_axis(table, "score"), showlegend=False, margin=margin)


def _lines(name: str, lines: Sequence[tuple[Sequence[float], Sequence[float], int]], **style: Any) -> Any:
    """Return one trace that draws many lines. Each line is given by its x values, its y values and a trial number."""
    gap = [np.nan]
    return go.Scatter(
        name=name,
        x=small([value for x, _, _ in lines for value in (*x, *gap)]),
        y=small([value for _, y, _ in lines for value in (*y, *gap)]),
        customdata=[each for x, _, number in lines for each in (*[number] * len(x), None)],
        **style,
    )


def efficiency(table: TrialTable, which: str) -> go.Figure | None:
    """Return the chart of the seconds per epoch, or of the peak memory, against the number of multiply-adds per window."""
    cost = _cost(table.content)
    cost = cost[cost[which].notna()]
    shown = spread(cost)
    traces = [
        points(f"batch {batch}", own, "adds", which, size=7, opacity=0.75) for batch, own in shown.groupby("batch")
    ]
    title = {"seconds": "seconds an epoch", "memory": "MB"}[which]
    x = axis("multiply-adds of a window", cost.adds) | {"tickformat": "~s"}
    return figure(traces, x, axis(title, cost[which]), showlegend=True)


def _cost(content: Content) -> pd.DataFrame:
    """Return a table of each trial's seconds per epoch, memory, multiply-adds and batch size.

    The table is empty if the number of features is unknown.
    """
    data, rows = content.data, {}
    features, lookback, classes = data.get("features"), data.get("lookback"), data.get("class_names")
    width = len(features) if isinstance(features, list) else features  # for DataLoaders a number instead of names
    columns = ["seconds", "memory", "adds", "batch"]
    if not isinstance(width, int) or not isinstance(lookback, int) or not isinstance(classes, list):
        return pd.DataFrame(columns=columns)
    for record in content.records:
        epochs = float(record.attributes.get("epochs") or 0.0)
        if not record.finished or not epochs > 0:
            continue
        params = with_fixed(content.space, record.params)
        network = network_config(
            params,
            input_dim=width,
            n_classes=max(2, len(classes)),
            has_regression=bool(data.get("value_name")),
            lookback=lookback,
            columns={**columns_of(data.get(FEATURE_GROUPS, ())), **data.get(OWN_GROUPS, {})},
        )
        rows[record.number] = (
            (record.attributes.get("measured_seconds") or record.seconds) / epochs,
            record.attributes.get("memory_mb"),
            network.cost(lookback=lookback).multiply_adds,
            int(params["training.batch_size"]),
        )
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)


def calibration(table: TrialTable) -> go.Figure | None:
    """Return the calibration chart of each retrained model: the share of correct predictions against the mean confidence."""
    traces, grey = [], COLOURS["grey"]
    for entry, colour in zip(table.content.models, cycle(CYCLE), strict=False):
        name = f"model {entry['model_rank']}"
        rows = calibration_rows(entry["test_metrics"].get("calibration") or [])
        enough = rows.n >= MIN_WINDOWS
        few: dict[str, Any] = {"symbol": "circle-open", "showlegend": False, "mode": "markers"}
        traces += [_bins(name, rows[enough], colour), _bins(name, rows[~enough], grey, **few)]
    traces = [trace for trace in traces if len(trace.x)]
    low = min((min(trace.x) for trace in traces), default=1.0) - 0.03
    line = {"dash": "dot", "color": grey}
    ideal = go.Scatter(name="perfect calibration", x=[0, 1], y=[0, 1], mode="lines", hoverinfo="skip", line=line)
    x, y = axis("mean confidence", range=[max(0, low), 1.02]), axis("share correct", range=[-0.02, 1.03])
    return figure([ideal, *traces], x, y, showlegend=True) if traces else None


def calibration_rows(bins: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the calibration bins that contain windows, and a 95 % interval of the share of correct predictions in each bin.

    The interval is that of Wilson (1927). This interval stays between 0 and 1 and assumes that the windows are independent.

    Args:
        bins: rows as in ``results.json``, with the mean ``confidence``, the share ``right`` of correct predictions, and the
            number ``n`` of windows.
    """
    rows = []
    for each in bins:
        n, share = each["n"], each["right"]
        if n:
            interval = binomtest(min(n, round(share * n)), n).proportion_ci(0.95, method="wilson")
            rows.append((each["confidence"], share, n, min(interval.low, share), max(interval.high, share)))
    return pd.DataFrame(rows, columns=["confidence", "right", "n", "low", "high"])


def _bins(name: str, rows: pd.DataFrame, colour: str, symbol: str = "circle", **style: Any) -> Any:
    """Return one trace of the calibration chart that shows the bins of a model."""
    shares = (100 * rows[["right", "low", "high"]]).round(1).astype(str)
    texts = name + ": correct in " + shares.right + " % of " + rows.n.astype(str) + " windows"
    bar = {
        "symmetric": False,
        "array": (rows.high - rows.right).to_numpy(),
        "color": colour,
        "thickness": 1,
        "width": 3,
    }
    return go.Scatter(
        name=name,
        x=rows.confidence.to_numpy(),
        y=rows.right.to_numpy(),
        line={"color": colour, "width": 1.5},
        marker={"color": colour, "size": np.minimum(16, 4 + 1.3 * np.log2(rows.n)).tolist(), "symbol": symbol},
        error_y={**bar, "arrayminus": (rows.right - rows.low).to_numpy()},
        hovertext=(texts + " (" + shares.low + " to " + shares.high + " %)").tolist(),
        hoverinfo="text",
        **{"mode": "lines+markers", **style},
    )
