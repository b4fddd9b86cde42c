"""Writer of ``figures/*.png``, the main charts for papers and slides, drawn with matplotlib."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from cnn_lstm_hyperopt.reporting.html import charts
from cnn_lstm_hyperopt.reporting.html.chart_style import COLOURS, log_ticks
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable
from cnn_lstm_hyperopt.run_dir.paths import FIGURES
from cnn_lstm_hyperopt.utils.atomic_io import written_beside

BLUE, GREY = COLOURS["accent"], COLOURS["grey"]
DOTS_PER_INCH = 200


def write_pictures(table: TrialTable) -> list[Path]:
    """Write the pictures for which there are data and return their paths. Delete old pictures that no longer have data."""
    folder = table.content.save_dir / FIGURES
    folder.mkdir(exist_ok=True)
    written = []
    for name, draw in PICTURES.items():
        path = folder / f"{name}.png"
        picture = Figure(
            figsize=(7, 4.3), layout="constrained"
        )  # not pyplot, which keeps figures until the process ends
        if draw(table, picture):
            buffer = io.BytesIO()
            picture.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
            with written_beside(path) as beside:
                beside.write_bytes(buffer.getvalue())
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written


def _axes(picture: Figure, title: str, x: str, y: str) -> Any:
    axes = picture.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def _log(axis: Axis) -> None:
    """Label each tick of a log axis with its value. Call this after drawing."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axis.set_minor_locator(NullLocator())


def _of(title: str, chart: Callable[[TrialTable], Any]) -> Callable[[TrialTable, Figure], bool]:
    """Return a function that draws a Plotly chart of the page with matplotlib. The chart may have only scatter traces."""

    def draw(table: TrialTable, picture: Figure) -> bool:
        figure = chart(table)
        if figure is None:
            return False
        layout = figure.layout
        axes = _axes(picture, title, layout.xaxis.title.text, layout.yaxis.title.text)
        for trace in figure.data:
            if trace.name != "chosen":  # the page's ring around the chosen trial
                _trace(trace, picture, axes)
        for line, note in zip(layout.shapes, layout.annotations, strict=True):
            axes.axhline(line.y0, color=line.line.color, linestyle="--", linewidth=1, label=note.text)
        for name in ("xaxis", "yaxis"):
            if layout[name].type == "log":
                getattr(axes, f"set_{name[0]}scale")("log")
                _log(getattr(axes, name))
            if layout[name].rangemode == "tozero":
                getattr(axes, f"set_{name[0]}lim")(0)
        if layout.xaxis.dtick == 1:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if layout.showlegend is not False:
            picture.legend(frameon=False, loc="outside lower center", ncols=6 if len(figure.data) > 4 else 3)
        return True

    return draw


def _trace(trace: Any, picture: Figure, axes: Any) -> None:
    style = {"alpha": trace.opacity or 1, "label": trace.name}
    if "lines" in trace.mode:
        line = {"color": trace.line.color, "linewidth": trace.line.width, **style}
        axes.plot(trace.x, trace.y, drawstyle="steps-post" if trace.line.shape == "hv" else "default", **line)
    elif trace.marker.showscale:
        marks = axes.scatter(trace.x, trace.y, c=trace.marker.color, s=55, cmap="viridis", edgecolors="white", **style)
        bar = trace.marker.colorbar
        picture.colorbar(marks, label=bar.title.text).set_ticks(bar.tickvals, labels=bar.ticktext)
    else:
        axes.scatter(trace.x, trace.y, color=trace.marker.color, s=2 * trace.marker.size, linewidths=0, **style)


def _importance(table: TrialTable, picture: Figure) -> bool:
    content = table.content
    shares = list((content.importances.get("score") or {}).items())[11::-1]
    if not any(share for _, share in shares):
        return False
    title = f"Parameter importance for {content.skill.words}"
    axes = _axes(picture, title, "importance (PED-ANOVA)", "")
    bars = axes.barh([name for name, _ in shares], [share for _, share in shares], color=BLUE)
    axes.bar_label(bars, labels=[f"{share:.0%}" for _, share in shares], padding=3)
    axes.set_xlim(0, 1.12 * max(share for _, share in shares))
    return True


def _test_period(table: TrialTable, picture: Figure) -> bool:
    content: Content = table.content
    ensemble = content.results.get("ensemble")
    entries = [
        *((f"model {each['model_rank']}", each["test_metrics"], BLUE) for each in content.models),
        *([("ensemble", ensemble["test_metrics"], BLUE)] if ensemble else []),
        *((each["name"], each["test_metrics"], GREY) for each in content.results.get("baselines") or []),
    ]
    rows = [row for row in reversed(entries) if row[1].get("test_class_acc") is not None]
    if not rows:
        return False
    axes = _axes(picture, "Test period", "accuracy, 95 % interval", "")
    for place, (_, metrics, color) in enumerate(rows):
        if interval := metrics.get("test_class_acc_interval"):
            axes.plot(interval, [place, place], color=color, linewidth=3, alpha=0.5, solid_capstyle="round")
        axes.plot(metrics["test_class_acc"], place, "o", color=color)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    return True


PICTURES: dict[str, Callable[[TrialTable, Figure], bool]] = {
    "pareto_front": _of("Pareto front", charts.front),
    "hypervolume": _of("Progress of the search", lambda table: charts.hypervolume(table, "trials")),
    "learning_curves": _of("Learning curves", charts.curves),
    "importance": _importance,
    "test_period": _test_period,
    "model_size": _of("Model size", charts.size),
}
"""Functions that draw the pictures, by file name. Each function draws into a figure and returns False if there are no data."""
