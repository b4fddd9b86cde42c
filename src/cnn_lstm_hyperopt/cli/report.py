"""The command ``report``."""

from pathlib import Path

from cnn_lstm_hyperopt.cli.application import app
from cnn_lstm_hyperopt.cli.options import Debug, SaveDir, Storage, directory


@app.command
def report(*, save_dir: SaveDir = Path("hyperopt_results"), storage: Storage = None, debug: Debug = False) -> None:
    """Write report.html and figures/*.png of a study again. This also works while the study is running.

    The page can be opened without network and server. Every run also writes the page at its end.
    """
    save_dir = directory(save_dir, storage)
    from cnn_lstm_hyperopt.reporting.html import write_report

    path = write_report(save_dir, warn=lambda line: print(f"Warning: {line}"))
    print(f"Written to {path}")
