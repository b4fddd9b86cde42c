"""The cyclopts application object. Each command of the command line registers with this object."""

from cyclopts import App

app = App(
    name="cnn-lstm-hyperopt",
    help=(
        "Finds CNN+LSTM models for time series. Searches over three objectives at once (validation accuracy, training time,"
        " model size) with early pruning, then retrains the best models and tests them once.\n\n"
        "Start with: cnn-lstm-hyperopt run --demo (real bars in the package, a few minutes). Then use your own bars:"
        " cnn-lstm-hyperopt run --data-dir bars/ --config small --target volatility --retrain-best"
    ),
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
    version_flags=["--version"],
)
