"""All that shows or reports a run."""

from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.dashboard_notes import DashboardNotes
from cnn_lstm_hyperopt.reporting.report_page import ReportPage


def reporters(terminal: Terminal) -> list[RunEvents]:
    """Console, notes for optuna-dashboard, and the report page."""
    return [RunConsole(terminal), DashboardNotes(), ReportPage(terminal)]
