"""The report at the end of a run."""

import logging
import shlex
from pathlib import Path

from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.search.storage_recovery import first_line

log = logging.getLogger(__name__)


class ReportPage(RunEvents):
    """Writes ``report.html`` and ``figures/``. An error there is shown as a warning, and costs nothing else.

    Args:
        terminal: where the place of the report is shown, or why there is none.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._written: Path | None = None

    def on_report_due(self, save_dir: Path) -> None:
        from cnn_lstm_hyperopt.reporting.html import write_report  # matplotlib and plotly come with it

        try:
            self._written = write_report(save_dir, running=False)  # the run that is at work ends with it
        except Exception as error:
            log.debug("no report", exc_info=True)
            self._terminal.warn(
                f"the report can't be written: {first_line(error)}; once that is mended: cnn-lstm-hyperopt report --save-dir"
                f" {shlex.quote(str(save_dir))}"
            )

    def on_finished(self) -> None:
        if self._written is not None:
            place = f"Report: {self._written} (one page that needs no network; open it in a browser)"
            self._terminal.say(place, style="bold")
            self._written = None
