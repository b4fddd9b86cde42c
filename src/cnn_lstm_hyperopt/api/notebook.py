"""What a notebook shows of a study: its verdict, front and models as HTML, and its report."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.errors import HyperoptError
from cnn_lstm_hyperopt.metrics import METRICS
from cnn_lstm_hyperopt.pipeline.results.stored_results import read_results
from cnn_lstm_hyperopt.run_dir.paths import REPORT_FILE, RESULTS_FILE
from cnn_lstm_hyperopt.utils.text import counted

MAX_ROWS = 10
"""Maximum number of trials of the front in the view of a notebook."""
_COLOURS = {"red": "#c62828", "orange": "#ef6c00", "blue": "#1565c0", "green": "#2e7d32"}
"""Colours of the grades of a verdict. White text on them is legible."""


class Results(dict[str, Any]):
    """Results of a study: the content of ``results.json`` or a part of it, shown in a notebook as verdict and tables.

    Attributes:
        save_dir: directory of the study.
    """

    def __init__(self, content: Mapping[str, Any], save_dir: Path) -> None:
        super().__init__(content)
        self.save_dir = save_dir

    def show_report(self, height: int = 800) -> Any:
        """Show the study's report page in the output of a notebook's cell.

        Args:
            height: height of the page in pixels.

        Raises:
            HyperoptError: there is no report page, or IPython is not installed.
        """
        return report_frame(self.save_dir, height)

    def _repr_html_(self) -> str:
        return results_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show a summary in IPython instead of the whole dict, which ``print`` shows."""
        sentence = (self.get("verdict") or {}).get("sentence")
        printer.text(f"{_heading(self)}{'' if sentence is None else ' ' + sentence}")


def study_html(name: str, save_dir: Path) -> str:
    """Return the view of a study from its ``results.json``, or a line if it has no results yet."""
    try:
        results = read_results(save_dir / RESULTS_FILE)
    except ValueError:  # a resumed run reports damaged results
        results = None
    if results is None:
        return f"<p>Study <b>{escape(name)}</b> in {escape(str(save_dir))}: no results yet</p>"
    return results_html(results)


def report_frame(save_dir: Path, height: int) -> Any:
    """Return the report page as a frame for a notebook. The page is part of the frame, so it needs no server.

    Raises:
        HyperoptError: there is no report page, or IPython is not installed.
    """
    page = save_dir / REPORT_FILE
    if not page.is_file():
        text = f"{page} does not exist; write it with: cnn-lstm-hyperopt report --save-dir {save_dir}"
        raise HyperoptError(text, field="report", code="no-report")
    try:
        from IPython.display import HTML
    except ImportError as error:
        text = f"show_report() needs IPython, which every notebook has; open {page} in a browser instead"
        raise HyperoptError(text, field="report", code="no-notebook") from error
    source = escape(page.read_text(encoding="utf-8"))
    frame = f'<div><iframe sandbox="allow-scripts" srcdoc="{source}" width="100%" height="{int(height)}"'
    return HTML(f'{frame} style="border:1px solid #ccc"></iframe></div>')


def results_html(results: Mapping[str, Any]) -> str:
    """Return the heading, the verdict and the tables of a study as HTML. All texts are escaped."""
    parts = [f"<p>{escape(_heading(results))}</p>", _verdict(results.get("verdict") or {})]
    parts += [_front(results), _models(results.get("retrained_models") or ())]
    return f"<div>{''.join(parts)}</div>"


def _heading(results: Mapping[str, Any]) -> str:
    trials = counted(int(results["n_trials_completed"]), "finished trial")
    return f"Study {results['study_name']}: {trials}, {len(results['best_trials'])} on the front."


def _verdict(verdict: Mapping[str, Any]) -> str:
    if "sentence" not in verdict:
        return ""
    colour = _COLOURS.get(str(verdict.get("colour")), "#555")
    style = f"background:{colour};color:#fff;padding:2px 8px;border-radius:4px"
    grade = str(verdict.get("grade", "")).capitalize()
    badge = f'<span style="{style}">{escape(grade)}</span> ' if grade else ""
    return f"<p>{badge}{escape(str(verdict['sentence']))}</p>"


def _front(results: Mapping[str, Any]) -> str:
    trials = results["best_trials"]
    metric = METRICS.get(results.get("metric") or "")
    picks: dict[int, list[str]] = {}
    for name, number in (results.get("picks") or {}).items():
        picks.setdefault(number, []).append(name.replace("_", " "))
    rows = []
    for trial in trials[:MAX_ROWS]:
        score, seconds, size_mb = trial["values"]
        shown = score if metric is None else metric.shown(score)
        costs = (f"{shown:.4f}", f"{seconds:.1f}", f"{size_mb:.3f}")
        rows.append((trial["rank"], trial["trial_number"], *costs, ", ".join(picks.get(trial["trial_number"], ()))))
    label = "score" if metric is None else metric.label
    table = _table(("rank", "trial", f"validation {label}", "seconds", "MB", "pick"), rows)
    more = len(trials) - MAX_ROWS
    return table + (f"<p>… and {more} more in best_trials</p>" if more > 0 else "")


def _models(models: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            entry["model_rank"],
            entry["trial_number"],
            f"{entry['test_metrics']['test_class_acc']:.4f}",
            entry["model_path"],
        )
        for entry in models
        if (entry.get("test_metrics") or {}).get("test_class_acc") is not None
    ]
    return _table(("model", "of trial", "test accuracy", "folder"), rows) if rows else ""


def _table(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
