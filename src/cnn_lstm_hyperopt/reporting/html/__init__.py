"""``report.html``: one page that opens offline and says what was found, what it costs and whether to believe it."""

from cnn_lstm_hyperopt.reporting.html.page import write_report

__all__ = ["write_report"]
