"""List of the subscribers that show the progress or write the reports of a run."""

from cnn_lstm_hyperopt.pipeline.advice import Interface
from cnn_lstm_hyperopt.pipeline.events import RunEvents
from cnn_lstm_hyperopt.reporting.console.input_selection import InputSelectionConsole
from cnn_lstm_hyperopt.reporting.console.refit import RefitConsole
from cnn_lstm_hyperopt.reporting.console.run_console import RunConsole
from cnn_lstm_hyperopt.reporting.console.terminal import Terminal
from cnn_lstm_hyperopt.reporting.dashboard_notes import DashboardNotes
from cnn_lstm_hyperopt.reporting.report_page import ReportPage


def reporters(terminal: Terminal, interface: Interface = Interface.COMMAND_LINE) -> list[RunEvents]:
    """Return new subscribers of a run: the notes for optuna-dashboard, the report page and the console."""
    return [
        DashboardNotes(),
        ReportPage(terminal),
        RunConsole(terminal, interface),
        InputSelectionConsole(terminal),
        RefitConsole(terminal),
    ]
