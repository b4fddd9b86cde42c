"""``figures/*.png``: the report's main charts for papers and slides."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from cnn_lstm_hyperopt.reporting.html.payload import score_of
from cnn_lstm_hyperopt.reporting.html.study_files import Content
from cnn_lstm_hyperopt.run_dir.paths import FIGURES
from cnn_lstm_hyperopt.search import hypervolume_history
from cnn_lstm_hyperopt.utils.atomic_io import written_beside

BLUE, GREY, ORANGE = "#3b5bdb", "#9aa4b2", "#e8590c"
DOTS_PER_INCH = 200


def write_figures(content: Content) -> list[Path]:
    """Writes those for which there is something to draw; returns their paths. Others of an earlier report go away."""
    folder = content.save_dir / FIGURES
    folder.mkdir(exist_ok=True)
    written = []
    for name, draw in DRAWINGS.items():
        path = folder / f"{name}.png"
        figure = Figure(figsize=(7, 4.3), layout="constrained")  # no pyplot: it keeps figures for the whole process
        if draw(content, figure):
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
            with written_beside(path) as beside:
                beside.write_bytes(buffer.getvalue())
            written.append(path)
        else:
            path.unlink(missing_ok=True)
    return written


def _axes(figure: Figure, title: str, x: str, y: str) -> Any:
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return axes


def log_ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Return ticks of a log axis: 1, 2 and 5 of each decade where there is room, else decades; more within a decade.

    Args:
        low, high: ends of the axis, above 0.
        most: ticks at most.
    """
    short = high / low < 10
    sets = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5)) if short else ((1, 2, 5), (1, 3), (1,))
    for digits in sets:
        found = _within(LogLocator(subs=digits, numticks=99).tick_values(low, high), low, high)
        if (4 if short else 3) <= len(found) <= most:
            return found
    locator = MaxNLocator(min(most, 5)) if short else LogLocator(numticks=most)
    return _within(locator.tick_values(low, high), low, high)


def _within(ticks: Iterable[float], low: float, high: float) -> list[float]:
    rounded = [float(f"{tick:.10g}") for tick in ticks]
    return [tick for tick in rounded if tick > 0 and low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def _log(axis: Axis) -> None:
    """Label each tick of a log axis with its whole value; call it when everything is drawn."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(FixedLocator(log_ticks(low, high)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axis.set_minor_locator(NullLocator())


def _front(content: Content, figure: Figure) -> bool:
    front = [record.values for record in content.front if record.values is not None]
    if not front:
        return False
    on_front = {record.number for record in content.front}
    others = [r.values for r in content.records if r.values is not None and r.number not in on_front]
    words = content.gate.words
    axes = _axes(figure, "Pareto front", "training time (s)", f"{words} on validation")
    axes.set_xscale("log")
    axes.scatter(
        [v.seconds for v in others], [v.score for v in others], s=12, color=GREY, alpha=0.5, label="other trials"
    )
    points = axes.scatter(
        [v.seconds for v in front],
        [v.score for v in front],
        c=[v.size_mb for v in front],
        s=55,
        cmap="viridis",
        norm="log",
        edgecolors="white",
        label="Pareto front",
    )
    axes.axhline(content.gate.threshold, color=ORANGE, linestyle="--", linewidth=1, label="better than chance")
    bar = figure.colorbar(points, label="size (MB)")
    _log(bar.ax.yaxis)
    _log(axes.xaxis)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return True


def _hypervolume(content: Content, figure: Figure) -> bool:
    history = hypervolume_history(content.records, content.gate)
    if not history:
        return False
    axes = _axes(figure, "Progress of the search", "finished trials", "hypervolume of the front")
    end = max(sum(record.finished for record in content.records), history[-1].trials)
    trials = [0, *(step.trials for step in history), end]
    values = [0.0, *(step.hypervolume for step in history), history[-1].hypervolume]
    axes.step(trials, values, where="post", color=BLUE, linewidth=2)
    axes.set_ylim(bottom=0)
    return True


def _curves(content: Content, figure: Figure) -> bool:
    chosen = content.front[:6]
    if not chosen:
        return False
    axes = _axes(figure, "Learning curves", "epoch", f"{content.gate.words} on validation")
    numbers = {record.number for record in chosen}
    for record in content.records:
        if record.number not in numbers and len(record.curve) > 1:
            axes.plot([p.epoch for p in record.curve], [p.score for p in record.curve], color=GREY, alpha=0.2, lw=0.8)
    for record in chosen:
        epochs, scores = [p.epoch for p in record.curve], [p.score for p in record.curve]
        axes.plot(epochs, scores, linewidth=2, label=f"trial {record.number}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(frameon=False, loc="outside lower center", ncols=6)
    return True


def _importance(content: Content, figure: Figure) -> bool:
    shares = list((content.importances.get("score") or {}).items())[:12]
    if not any(share for _, share in shares):
        return False
    words = content.gate.words
    axes = _axes(figure, f"What decides about {words}", "importance (PED-ANOVA)", "")
    bars = axes.barh([name for name, _ in reversed(shares)], [share for _, share in reversed(shares)], color=BLUE)
    axes.bar_label(bars, labels=[f"{share:.0%}" for _, share in reversed(shares)], padding=3)
    axes.set_xlim(0, 1.12 * max(share for _, share in shares))
    return True


def _test_period(content: Content, figure: Figure) -> bool:
    entries = [
        *((f"model {each['model_rank']}", each["test_metrics"], BLUE) for each in content.models),
        *((each["name"], each["test_metrics"], GREY) for each in content.results.get("baselines") or []),
    ]
    if ensemble := content.results.get("ensemble"):
        entries.insert(len(content.models), ("ensemble", ensemble["test_metrics"], BLUE))
    rows = [row for row in entries if row[1].get("test_class_acc") is not None]
    if not rows:
        return False
    axes = _axes(figure, "Test period", "accuracy, 95 % interval", "")
    for place, (_, metrics, color) in enumerate(reversed(rows)):
        if interval := metrics.get("test_class_acc_interval"):
            axes.plot(interval, [place, place], color=color, linewidth=3, alpha=0.5, solid_capstyle="round")
        axes.plot(metrics["test_class_acc"], place, "o", color=color)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in reversed(rows)])
    return True


def _sizes(content: Content, figure: Figure) -> bool:
    points = [(r.size_mb, score_of(r)) for r in content.records if r.values is not None]
    if not points:
        return False
    axes = _axes(figure, "Model size", "size (MB)", f"{content.gate.words} on validation")
    axes.set_xscale("log")
    axes.scatter([mb for mb, _ in points], [score for _, score in points], s=14, color=BLUE, alpha=0.6)
    _log(axes.xaxis)
    return True


DRAWINGS: dict[str, Callable[[Content, Figure], bool]] = {
    "pareto_front": _front,
    "hypervolume": _hypervolume,
    "learning_curves": _curves,
    "importance": _importance,
    "test_period": _test_period,
    "model_size": _sizes,
}
"""Each draws into the figure; False: there is nothing to draw yet."""
