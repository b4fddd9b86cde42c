"""The cyclopts application object. Each command of the command line registers with this object."""

import re

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


def help_text(docstring: str) -> str:
    """Return the help of a command: one line per paragraph, which the terminal wraps, and one line per item and example.

    In a docstring, items of a list begin with ``- ``, and examples are a paragraph ``Examples: FIRST; SECOND.``
    """
    return "\n\n".join(map(_paragraph, re.split(r"\n\s*\n", docstring.strip())))


def _paragraph(text: str) -> str:
    lines = re.sub(r"\s*\n\s*(?!\s|- )", " ", text.strip())
    found = re.fullmatch(r"Examples?: (.*)", lines)
    if found is None:
        return re.sub(r"\n\s+", "\n", lines)
    return "\n  ".join(["For example:", *(each.strip() for each in found[1].rstrip(".").split(";"))])
