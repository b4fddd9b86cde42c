"""Write ``report.html``: results, costs and reliability of a search, in one page that opens offline."""

from cnn_lstm_hyperopt.reporting.html.page import write_report

__all__ = ["write_report"]
