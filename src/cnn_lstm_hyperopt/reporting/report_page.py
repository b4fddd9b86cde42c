"""Subscriber that writes the HTML report at the end of a run."""

import logging
from pathlib import Path

from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.run_dir.paths import command
from cnn_lstm_hyperopt.search.storage_recovery import first_line

log = logging.getLogger(__name__)


class ReportPage(RunEvents):
    """Subscriber that writes ``report.html`` and ``figures/``. If writing fails, a warning is shown and the run continues.

    Args:
        terminal: receives the warning if writing fails.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def on_report_due(self, save_dir: Path) -> None:
        from cnn_lstm_hyperopt.reporting.html import write_report  # imports matplotlib and plotly

        try:
            write_report(save_dir, running=False)  # this run is about to end
        except Exception as error:
            log.debug("no report", exc_info=True)
            again = command("report", "--save-dir", save_dir)
            self._terminal.warn(f"the report can't be written: {first_line(error)}. Fix it, then run: {again}")
