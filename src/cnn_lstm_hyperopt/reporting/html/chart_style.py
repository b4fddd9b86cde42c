"""Colours, template, axes and traces that all charts of the page share."""

import math
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import pandas as pd
import plotly.graph_objects as go
from matplotlib.ticker import LogLocator, MaxNLocator

MAX_DRAWN = 1000
"""Maximum number of points in a chart's trace. With more points an SVG is slow and shows no additional detail."""

_STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
COLOURS: dict[str, str] = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", _STYLE.partition("}")[0]))
"""Colours of the light theme in ``page.css``, by name. The page's script replaces each colour by that of the current theme."""
CYCLE = [COLOURS[name] for name in ("accent", "orange", "good", "open", "bad", "soft")]
STATE_COLOURS = {
    "COMPLETE": COLOURS["accent"],
    "PRUNED": COLOURS["grey"],
    "FAIL": COLOURS["orange"],
    "RUNNING": COLOURS["good"],
    "WAITING": COLOURS["open"],
}
BAR = {"thickness": 12, "outlinewidth": 0}
"""Plotly properties of all colour bars."""

_AXIS = {
    "gridcolor": COLOURS["line"],
    "linecolor": COLOURS["line"],
    "zeroline": False,
    "automargin": True,
    "title": {"standoff": 8},
}
TEMPLATE = {
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"color": COLOURS["text"], "family": "system-ui, sans-serif", "size": 13},
    "colorway": CYCLE,
    "colorscale": dict.fromkeys(("sequential", "sequentialminus", "diverging"), "Viridis"),
    "margin": {"l": 58, "r": 16, "t": 24, "b": 48},
    "hoverlabel": {"bgcolor": COLOURS["card"], "bordercolor": COLOURS["line"], "font": {"color": COLOURS["text"]}},
    # Below the plot, because the toolbar covers what is above it.
    "legend": {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom", "x": 0, "itemsizing": "constant"},
    "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": COLOURS["soft"], "activecolor": COLOURS["text"]},
    "hovermode": "closest",
    "xaxis": _AXIS,
    "yaxis": _AXIS,
}
"""Plotly layout of all figures. The page contains this layout only once."""


def figure(traces: Iterable[Any], x: dict[str, Any], y: dict[str, Any], **layout: Any) -> go.Figure | None:
    """Return a figure with the traces that have points, or None if no trace has points."""
    drawn = [trace for trace in traces if trace.x is not None and len(trace.x) > 0]
    return go.Figure(drawn, {"xaxis": x, "yaxis": y, "template": "none", **layout}) if drawn else None


def axis(title: str, values: Any = None, **more: Any) -> dict[str, Any]:
    """Return the Plotly properties of an axis. The axis is logarithmic if at least one of ``values`` is positive.

    With a tick format, Plotly writes full values at the ticks of a log axis. With ``nticks`` 3, an axis of up to two decades
    has ticks at 1, 2 and 5 times each power of ten. A longer axis has ticks only at powers of ten.
    """
    positive = [] if values is None else [math.log10(value) for value in values if value > 0]
    decades = math.ceil(1.12 * (max(positive) - min(positive))) if positive else 0  # Plotly leaves room at both ends
    log = {"type": "log", "tickformat": "~g", "nticks": max(3, min(8, decades))}
    return {"title": {"text": escape(title)}, **(log if positive else {}), **more}


def points(name: str, trials: pd.DataFrame, x: Any, y: Any, *, max_drawn: int = MAX_DRAWN, **marker: Any) -> Any:
    """Return a trace with a marker for each trial. If there are too many trials, the trace has an evenly spread sample of them.

    Args:
        name: name in the legend; the number of drawn trials is added if some are not drawn.
        trials: one row for each trial, with the trial number as index.
        x: name of a column of ``trials``, or a series of values by trial number.
        y: name of a column of ``trials``, or a series of values by trial number.
        max_drawn: maximum number of markers.
        marker: properties of the markers.
    """
    drawn = spread(trials, max_drawn)
    count = f" ({len(drawn):,} of {len(trials):,} drawn)" if len(drawn) < len(trials) else ""
    across, up = ((trials[each] if isinstance(each, str) else each)[drawn.index] for each in (x, y))
    return go.Scatter(
        name=name + count,
        x=small(across),
        y=small(up),
        customdata=drawn.index.tolist(),
        mode="markers",
        marker=marker,
        opacity=marker.pop("opacity", None),
    )


def spread(trials: pd.DataFrame, max_drawn: int = MAX_DRAWN) -> pd.DataFrame:
    """Return a sample of at most ``max_drawn`` trials whose positions in the order of trial numbers have equal distances."""
    if len(trials) <= max_drawn:
        return trials
    return trials.iloc[[k * len(trials) // max_drawn for k in range(max_drawn)]]


def small(values: Any) -> Any:
    """Return numbers as 32-bit floats, which need half as many characters in the page. Unknown numbers become NaN."""
    return pd.Series(values, dtype="float32").to_numpy()


def log_bar(values: Iterable[float]) -> dict[str, Any]:
    """Return a colour bar for colours on a log scale.

    The ticks of the bar fit the decimal logarithms of ``values``, which are all above 0.
    """
    known = list(values)
    low, high = min(known), max(known)
    ticks = log_ticks(low, high) if high > low else [low]
    return {
        "tickvals": [float(f"{math.log10(tick):.6g}") for tick in ticks],
        "ticktext": [f"{tick:.4g}" for tick in ticks],
    }


def log_ticks(low: float, high: float, max_ticks: int = 8) -> list[float]:
    """Return the ticks of a log axis: powers of ten, and also 2 and 5 times each power of ten if these ticks fit.

    Within one decade the ticks are finer.

    Args:
        low, high: lowest and highest value of the axis, both above 0.
        max_ticks: maximum number of ticks.
    """
    short = high / low < 10
    sets = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5)) if short else ((1, 2, 5), (1, 3), (1,))
    for digits in sets:
        found = _within(LogLocator(subs=digits, numticks=99).tick_values(low, high), low, high)
        if (4 if short else 3) <= len(found) <= max_ticks:
            return found
    locator = MaxNLocator(min(max_ticks, 5)) if short else LogLocator(numticks=max_ticks)
    return _within(locator.tick_values(low, high), low, high)


def _within(ticks: Sequence[float], low: float, high: float) -> list[float]:
    rounded = [float(f"{tick:.10g}") for tick in ticks]
    return [tick for tick in rounded if tick > 0 and low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def infeasible(trials: pd.DataFrame) -> list[Any]:
    """Return a trace with a cross for each trial that breaks a constraint; an empty list without such trials."""
    if trials.empty:
        return []
    style: dict[str, Any] = {"symbol": "x-thin-open", "size": 7, "color": COLOURS["orange"], "opacity": 0.7}
    return [points("infeasible: breaks a constraint", trials, "seconds", "score", **style)]
