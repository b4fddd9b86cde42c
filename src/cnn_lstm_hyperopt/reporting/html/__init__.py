"""Writer of ``report.html``, an offline page about the results, the costs and the reliability of a search."""

from cnn_lstm_hyperopt.reporting.html.page import write_report

__all__ = ["write_report"]
