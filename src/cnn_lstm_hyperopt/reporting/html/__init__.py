"""Writer of ``report.html``, a page that shows results, costs and reliability of a search and opens offline."""

from cnn_lstm_hyperopt.reporting.html.page import write_report

__all__ = ["write_report"]
