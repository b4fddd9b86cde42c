"""The application that the commands join."""

from cyclopts import App

app = App(
    name="cnn-lstm-hyperopt",
    help=(
        "Finds CNN+LSTM models for time series: a search over three objectives at once (validation accuracy, training time,"
        " model size) with early pruning, then the best models retrained and tested once.\n\n"
        "Start with: cnn-lstm-hyperopt run --config configs/hyperopt/small.yaml --use-real-data --target volatility"
        " --n-trials 20 --retrain-best (small.yaml is a corner of the search space that fits a CPU)"
    ),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version_flags=["--version"],
)
