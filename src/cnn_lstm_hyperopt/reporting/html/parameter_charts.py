"""Charts of parameters: slices, contours and parallel coordinates.

Each choice in the selection lists above a chart has a figure of its own.
"""

from html import escape
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from cnn_lstm_hyperopt.reporting.html.chart_style import BAR, COLOURS, axis, figure, log_bar, points, small, spread
from cnn_lstm_hyperopt.reporting.html.charts import objective_axis, objectives
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable

Variants = dict[tuple[str, ...], go.Figure | None]
"""Figures of a chart. The keys are the choices in the selection lists above the chart."""
FEW_DRAWN = 400
"""Maximum number of points in each slice and each contour figure, because there are many such figures."""
PAIR_PARAMETERS = 10
"""Number of parameters with contours. Half of them are the most important parameters; the others have the most values."""
MAX_AXES = 8
"""Maximum number of parameters in the parallel coordinates."""
NARROW_AXES = 4
"""Number of parameters that the parallel coordinates show at first on a phone."""
GRID = 24
"""Number of grid points of a contour along each axis."""
MIN_WEIGHT = 1.5
"""Minimum sum of the weights of the trials near a grid point. The contour is empty at grid points with a lower sum."""
MAX_LETTERS = 24
"""Maximum number of characters of a choice in the labels of an axis."""
FIFTHS = (("grey", 0.3), ("grey", 0.45), ("accent", 0.35), ("accent", 0.6), ("orange", 0.9))
"""Colour and opacity of the lines in the parallel coordinates for each fifth of the scores, the lowest fifth first."""


class Scale:
    """Positions of the values of a parameter on an axis.

    The positions are the numbers, their logarithms or, for choices and a few different numbers, points at equal distances.

    Attributes:
        discrete: True if the positions have equal distances (for choices, or for a few different numbers).
        at: position of each completed trial that has a value, by trial number.
        share: the positions ``at``, scaled so that the lowest is 0 and the highest is 1.
        grid, grid_share: grid points of a contour, in the units of ``at`` and of ``share``.
        labels: labels of the axis with their positions from 0 to 1. There is a label for every choice, or for the lowest and
            the highest number.
        axis: properties of the axis for Plotly.
    """

    def __init__(self, name: str, table: TrialTable) -> None:
        self.name = name
        values = table.params.loc[table.complete.index, name].dropna()
        distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        self.discrete = len(distinct) <= 6 or any(isinstance(value, (bool, str)) for value in distinct)
        if self.discrete:
            self.at = values.map(distinct.index).astype(float)
            top, texts = max(len(distinct) - 1, 1), [_text(value) for value in distinct]
            self.share, self.grid = self.at / top, np.arange(len(distinct), dtype=float)
            self.grid_share = self.grid / top
            self.labels = list(zip(texts, self.grid_share.tolist(), strict=True))
            self.axis = axis(name, tickvals=self.grid.tolist(), ticktext=texts, range=[-0.5, len(distinct) - 0.5])
        else:
            self.at = values.astype(float)
            log = distinct[0] > 0 and distinct[-1] / distinct[0] > 50
            line = np.log10(self.at) if log else self.at
            low, span = line.min(), line.max() - line.min()
            self.share, self.grid_share = (line - low) / span, np.linspace(0, 1, GRID)
            self.grid = 10 ** (low + span * self.grid_share) if log else low + span * self.grid_share
            self.labels = [(f"{distinct[0]:.3g}", 0.0), (f"{distinct[-1]:.3g}", 1.0)]
            self.axis = axis(name, self.at if log else None)
        self.axis["fixedrange"] = True

    def weights(self, numbers: Any, width: float) -> Any:
        """Return the weight of each trial at each grid point.

        The weight is a Gaussian of the distance between trial and grid point. For discrete values it is 1 at equal values,
        else 0.
        """
        distance = self.grid_share[:, None] - self.share[numbers].to_numpy()
        return (distance == 0).astype(float) if self.discrete else np.exp(-0.5 * (distance / width) ** 2)

    def shifted(self, share: float, turn: float = 0.618034) -> Any:
        """Return the positions of the trials on the axis. Small fixed shifts separate trials with equal discrete values."""
        return self.at + share * ((self.at.index * turn) % 1 - 0.5) if self.discrete else self.at


def varied(table: TrialTable) -> list[str]:
    """Return the parameters that vary in the completed trials: first the important, then the continuous parameters."""
    scales = {name: Scale(name, table) for name in table.params}
    names = [name for name, scale in scales.items() if len(set(scale.at)) > 1]
    measured = [name for name in names if not scales[name].discrete]
    return list(dict.fromkeys([*(name for name in important(table) if name in names), *measured, *names]))


def important(table: TrialTable) -> list[str]:
    """Return the most important parameters for the score. If their importances are unknown, use another objective."""
    return list(next((shares for shares in table.content.importances.values() if shares), {}))


def slices(table: TrialTable) -> Variants:
    """Return slice figures: each objective against each parameter. The keys are objective and parameter."""
    drawn: Variants = {}
    for name in varied(table):
        scale = Scale(name, table)
        trials = table.complete.loc[scale.at.index]
        shades = {"color": small(spread(trials, FEW_DRAWN).index), "showscale": True}
        shades |= {"colorbar": {"title": {"text": "trial"}, **BAR}, "line": {"color": COLOURS["soft"], "width": 0.5}}
        for which in objectives(table):
            x = scale.shifted(0.5)
            dots = points("completed trials", trials, x, which, max_drawn=FEW_DRAWN, size=7, opacity=0.8, **shades)
            many = len(trials) > FEW_DRAWN
            drawn[which, name] = figure([dots], scale.axis, objective_axis(table, which), showlegend=many)
    return drawn


def contours(table: TrialTable) -> Variants:
    """Return contour figures of each objective over two parameters. The keys are the objective and the two parameters."""
    scales = [Scale(name, table) for name in varied(table)]
    half = PAIR_PARAMETERS // 2
    scales = [*scales[:half], *sorted(scales[half:], key=lambda scale: scale.discrete)][:PAIR_PARAMETERS]
    return {
        (which, f"{across.name} × {up.name}"): _contour(table, which, across, up)
        for across, up in combinations(scales, 2)
        for which in objectives(table)
    }


def _contour(table: TrialTable, which: str, across: Scale, up: Scale) -> go.Figure | None:
    """Return the contour of a weighted mean of nearby trials' values (Nadaraya 1964, Watson 1964).

    The contour is empty if there are too few trials.
    """
    trials = table.complete.loc[across.at.index.intersection(up.at.index)]
    values = trials[which] if which == "score" else np.log10(trials[which])
    width = min(0.25, 0.3 * max(len(trials), 1) ** (-1 / 6))
    rows, columns = (scale.weights(trials.index, width) for scale in (up, across))
    total = rows @ columns.T
    enough = total >= (1 if across.discrete and up.discrete else MIN_WEIGHT)
    field = np.where(enough, (rows * values.to_numpy()) @ columns.T / np.maximum(total, 1e-12), np.nan)
    ticks = log_bar(10 ** field[enough]) if which != "score" and enough.any() else {}
    style: dict[str, Any] = {
        "x": small(across.grid),
        "y": small(up.grid),
        "z": field.astype(np.float32),
        "autocolorscale": True,
        "reversescale": which != "score",
        "hoverinfo": "skip",
        "colorbar": {"title": {"text": objectives(table)[which], "side": "right"}, **BAR, **ticks},
    }
    if across.discrete or up.discrete:
        shape = go.Heatmap(xgap=1, ygap=1, **style)
    else:
        line = {"width": 0.5, "color": "rgba(255,255,255,.5)"}
        shape = go.Contour(contours={"coloring": "heatmap"}, line=line, connectgaps=False, **style)
    x, y = across.shifted(0.6), up.shifted(0.6, 0.7548777)
    marks = points(
        "trials", trials, x, y, max_drawn=FEW_DRAWN, size=5, color="white", line={"color": "black", "width": 1}
    )
    return figure([shape, marks], across.axis, up.axis, showlegend=len(trials) > FEW_DRAWN)


def parallel(table: TrialTable) -> Variants:
    """Return figures of parallel coordinates: for all trials, for the best tenth of the feasible trials and for the Pareto front.

    The axes are the most important parameters.
    """
    complete = table.complete
    best = table.feasible.sort_values("score", ascending=False, kind="stable")
    best = best.head(max(1, -(-len(best) // 10)))
    scales = [Scale(name, table) for name in important(table)[:MAX_AXES] if name in table.params]
    fifth = (
        (complete.score.rank(method="first", pct=True) * 5).sub(1e-9).astype(int) if len(complete) else complete.score
    )
    chosen = {"all completed trials": spread(complete), "the best tenth": best, "the front": table.front}
    return {(which,): _parallel(trials, scales, fifth, 2 - which.startswith("all")) for which, trials in chosen.items()}


def _parallel(trials: pd.DataFrame, scales: list[Scale], fifth: pd.Series, width: int) -> go.Figure | None:
    places = pd.DataFrame({k: scale.share for k, scale in enumerate(scales)}, index=trials.index)
    places[len(scales)] = np.nan  # a gap before the next line
    traces = []
    for k, (colour, opacity) in enumerate(FIFTHS):
        own = places[fifth[trials.index] == k]
        x, y = [*range(len(scales)), np.nan] * len(own), own.to_numpy().ravel()
        line = {"color": COLOURS[colour], "width": width}
        name = {0: "lowest fifth", 4: "highest fifth"}.get(k, "")
        trace = go.Scatter(name=name, x=small(x), y=small(y), mode="lines", line=line, opacity=opacity)
        traces.append(trace.update(hoverinfo="skip", showlegend=bool(name)))
    label = {"showarrow": False, "xanchor": "left", "xshift": 4, "bgcolor": COLOURS["card"], "font": {"size": 10.5}}
    stroke = {"type": "line", "y0": 0, "y1": 1, "line": {"color": COLOURS["soft"], "width": 1}}
    names = [escape(scale.name).replace(".", ".<br>").replace("_", "_<br>") for scale in scales]
    ticks: dict[str, Any] = {"tickvals": list(range(len(scales))), "ticktext": names}
    return figure(
        traces,
        axis("", **ticks, range=[-0.1, len(scales) - 0.45], showgrid=False, fixedrange=True),
        axis("", visible=False, range=[-0.04, 1.06], fixedrange=True),
        shapes=[{**stroke, "x0": k, "x1": k} for k in range(len(scales))],
        annotations=[
            {**label, "x": k, "y": y, "text": text} for k, each in enumerate(scales) for text, y in each.labels
        ],
        meta={"narrow": {"range": [-0.35, min(NARROW_AXES, len(scales)) - 0.45]}},  # range of the x axis on a phone
    )


def _text(value: Any) -> str:
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    text = f"{value:.4g}" if isinstance(value, float) else text
    return escape(text if len(text) <= MAX_LETTERS else f"{text[: MAX_LETTERS - 1]}…")
