"""Renders the page: its text by Jinja, which escapes all that a user named; its charts by Plotly, whose script is put into it."""

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from cnn_lstm_hyperopt.reporting.html.figures import write_figures
from cnn_lstm_hyperopt.reporting.html.payload import payload
from cnn_lstm_hyperopt.reporting.html.study_files import Content, read_content
from cnn_lstm_hyperopt.reporting.html.view import view
from cnn_lstm_hyperopt.run_dir.paths import REPORT_FILE
from cnn_lstm_hyperopt.utils.atomic_io import write_text

STYLES = ("page.css", "page.trial.css", "page.phone.css", "page.print.css")
SCRIPTS = ("page.base.js", "page.charts.js", "page.search.js", "page.drawing.js", "page.trials.js")
"""In this order: each uses names of those before it."""


def write_report(
    save_dir: Path, *, running: bool | None = None, warn: Callable[[str], None] = lambda line: None
) -> Path:
    """Writes ``report.html`` and ``figures/*.png`` from what ``save_dir`` holds now; returns the path of the page.

    Args:
        save_dir: of the study.
        running: whether a run is at work on it; None: that is looked up.
        warn: shows a warning, such as of trials that are skipped.

    Raises:
        SaveDirError: there is no study, or a file of it is damaged.
        OSError: they can't be written.
    """
    content = read_content(save_dir, running=running)
    for line in content.outside:
        warn(line)
    path = save_dir / REPORT_FILE
    write_text(path, render(content), make_folder=False)
    write_figures(content)
    return path


def render(content: Content) -> str:
    """The page as text, with all that it needs in it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    page = environment.get_template("page.html.j2")
    return page.render(
        **view(content),
        payload=_for_script(payload(content)),
        style="".join(_part(name) for name in STYLES),
        script=_script(),
        plotly=get_plotlyjs(),
    )


def breakable(name: str) -> Markup:
    """The name of a parameter as HTML that a narrow column breaks after a dot or an underscore, not within a word."""
    return Markup(re.sub(r"([._])", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped


def _script() -> str:
    """The parts of the page's own script as one function, which keeps their names out of the page's global scope."""
    parts = "\n".join(_part(name) for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}\n}})();'


def _part(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _for_script(value: Any) -> str:
    """JSON that can stand in a ``<script>``: no name that a user gave can end it, or begin a comment."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
