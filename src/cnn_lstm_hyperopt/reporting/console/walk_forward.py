"""Table of the periods of a walk-forward test for the terminal."""

from rich.table import Table

from cnn_lstm_hyperopt.data.problems import date_text
from cnn_lstm_hyperopt.pipeline.test_evaluation import Verdict
from cnn_lstm_hyperopt.reporting.console.tables import plain_table


def walk_forward_table(verdict: Verdict) -> Table:
    """Return a table of the periods: dates, windows, and the scores of model 1 and of the best baseline."""
    first, best = verdict.finalists[0].name, verdict.judgement.best_baseline
    table = plain_table(f"Walk-forward test: {first} | {best}, trained again before each period")
    table.collapse_padding = True
    table.add_column("period", no_wrap=True)
    for name in ("windows", "trained on", "log loss", "accuracy"):
        table.add_column(name, justify="right", no_wrap=True)
    for each in verdict.periods:
        table.add_row(
            f"{date_text(each.first)} to {date_text(each.last)}",
            f"{each.windows:,}",
            f"{each.train_windows:,}",
            f"{each.log_loss[first]:.4f} | {each.log_loss[best]:.4f}",
            f"{each.accuracy[first]:.3f} | {each.accuracy[best]:.3f}",
        )
    return table
