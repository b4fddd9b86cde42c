"""The application that the commands join."""

import shlex

from cyclopts import App

from cnn_lstm_hyperopt.config.shipped import shipped_config

app = App(
    name="cnn-lstm-hyperopt",
    help=(
        "Finds CNN+LSTM models for time series. Searches over three objectives at once (validation accuracy, training time,"
        " model size) with early pruning, then retrains the best models and tests them once.\n\n"
        f"Start with: cnn-lstm-hyperopt run --config {shlex.quote(shipped_config('small.yaml'))} --use-real-data"
        " --target volatility --n-trials 20 --retrain-best (small.yaml is a small part of the search space that fits a CPU)"
    ),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version_flags=["--version"],
)
