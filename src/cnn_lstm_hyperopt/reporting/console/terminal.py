"""Lines, warnings and tables on the terminal, and all of them in ``run.log``."""

import io
import logging
from typing import IO, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnn_lstm_hyperopt.reporting.console.screen import LastingOutput

log = logging.getLogger(__name__)

PIPED_WIDTH = 120
COMMANDS = ("cnn-lstm-hyperopt ", "mlflow ui ")
"""A line with one of them is not broken into several, so that it can be copied."""


class Terminal:
    """Writes to standard output, and to the log of the run.

    Args:
        quiet: write to the log alone.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.console = Console(file=cast(IO[str], LastingOutput()), quiet=quiet, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = PIPED_WIDTH

    def say(self, text: str, style: str = "") -> None:
        """One line, on the screen and in the log."""
        self.show(text, style)
        log.info("%s", text)

    def warn(self, text: str) -> None:
        """A warning."""
        self.show(f"Warning: {text}", "yellow")
        log.warning("%s", text)

    def show(self, text: str, style: str = "") -> None:
        """A line on the screen alone, broken between words on a terminal; elsewhere a line stays a line."""
        whole = not self.console.is_terminal or any(command in text for command in COMMANDS)
        self.console.print(Text(text, style=style), soft_wrap=whole)

    def table(self, table: Table) -> None:
        """A table, on the screen and, as text, in the log."""
        self.console.print(table)
        # In a notebook a console displays what it prints, whatever its file is, unless its settings say otherwise.
        plain = Console(file=io.StringIO(), width=PIPED_WIDTH, no_color=True, force_jupyter=False)
        plain.print(table)
        text = plain.file.getvalue() if isinstance(plain.file, io.StringIO) else ""
        log.info("\n%s", text.rstrip())
