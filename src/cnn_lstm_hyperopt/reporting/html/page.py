"""Rendering of ``report.html``. Jinja writes the text and escapes names that the user chose. Plotly draws the charts."""

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from cnn_lstm_hyperopt.reporting.html import charts
from cnn_lstm_hyperopt.reporting.html.chart_style import COLOURS, TEMPLATE
from cnn_lstm_hyperopt.reporting.html.charts import history, objectives
from cnn_lstm_hyperopt.reporting.html.parameter_charts import Variants, contours, parallel, slices
from cnn_lstm_hyperopt.reporting.html.pictures import write_pictures
from cnn_lstm_hyperopt.reporting.html.study_files import read_content
from cnn_lstm_hyperopt.reporting.html.trial_table import TrialTable
from cnn_lstm_hyperopt.reporting.html.view import FILTERS, view
from cnn_lstm_hyperopt.run_dir.paths import REPORT_FILE
from cnn_lstm_hyperopt.utils.atomic_io import write_text

STYLES = ("page.css", "page.trial.css", "page.phone.css", "page.print.css")
CHARTS: dict[str, Callable[[TrialTable], Any]] = {
    "front": charts.front,
    "states": charts.states,
    "volume-trials": lambda table: charts.hypervolume(table, "trials"),
    "volume-seconds": lambda table: charts.hypervolume(table, "seconds"),
    "timeline": charts.timeline,
    "curves": charts.curves,
    "efficiency": lambda table: charts.efficiency(table, "seconds"),
    "memory": lambda table: charts.efficiency(table, "memory"),
    "size": charts.size,
    "calibration": charts.calibration,
    "trial": charts.trial_curve,
}
"""Functions that draw the charts without selection lists, by the name of the chart in the page."""


def write_report(
    save_dir: Path, *, running: bool | None = None, warn: Callable[[str], None] = lambda line: None
) -> Path:
    """Write ``report.html`` and ``figures/*.png`` for the study in ``save_dir``. Return the path of the page.

    Args:
        save_dir: results directory of the study.
        running: True if a run is active; None: the lock file shows whether a run is active.
        warn: function that shows a warning, for example about skipped trials.

    Raises:
        SaveDirError: there is no study, or a file of the study is damaged.
        OSError: the files can't be written.
    """
    content = read_content(save_dir, running=running)
    for line in content.outside:
        warn(line)
    path, table = save_dir / REPORT_FILE, TrialTable(content)
    write_text(path, render(table), make_folder=False)
    write_pictures(table)
    return path


def render(table: TrialTable) -> str:
    """Return the text of ``report.html``. The page needs no other files."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS | {"breakable": breakable, "json": for_script}
    payload = {
        "objective": objectives(table)["score"],
        "front": table.front.index.tolist(),
        "trials": table.as_columns(),
        "template": TEMPLATE,
        "colours": {value: name for name, value in COLOURS.items()},
    }
    return environment.get_template("page.html.j2").render(
        **view(table),
        charts=_charts(table),
        states=list(table.trials.state.unique()),
        payload=payload,
        style="".join(_part(name) for name in STYLES),
        scripts=[get_plotlyjs(), _part("vendor/dataTables.min.js"), _part("page.js")],
    )


def _charts(table: TrialTable) -> dict[str, Any]:
    """Return the figures of each chart that has data, and the options of the selection lists above each chart."""
    drawn: dict[str, Variants] = {
        **{name: {(): draw(table)} for name, draw in CHARTS.items()},
        "history": {(which,): history(table, which) for which in objectives(table)},
        "slice": slices(table),
        "contour": contours(table),
        "parallel": parallel(table),
    }
    found = {}
    for name, variants in drawn.items():
        figures = {choice: shape.to_dict() for choice, shape in variants.items() if shape is not None}
        if figures:
            options = [dict.fromkeys(values) for values in zip(*figures, strict=True)]
            found[name] = {
                "selects": [[(value, objectives(table).get(value, value)) for value in each] for each in options],
                "figures": {
                    "|".join(choice): {"traces": shape["data"], "layout": {**shape["layout"], "template": None}}
                    for choice, shape in figures.items()
                },
            }
    return found


def breakable(name: str) -> Markup:
    """Return a parameter's name as HTML that browsers may break after dots and underscores, but not within words."""
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def for_script(value: Any) -> Markup:
    """Return JSON that is safe in a ``<script>`` element. No name that the user chose can end the script or begin a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704 - no tag is left
