"""Writer of lines, warnings and tables to the terminal and to ``run.log``."""

import io
import logging
from typing import IO, cast

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.reporting.console.screen import LastingOutput
from cnn_lstm_hyperopt.utils.processes import program

log = logging.getLogger(__name__)

PIPED_WIDTH = 80
"""Width of tables in files and pipes, in characters."""


class Terminal:
    """Writer that prints on standard output and writes all lines to ``run.log``.

    Args:
        quiet: print nothing; write only to the log.
        verbose: also print the details. If false, details are only in the log.

    Raises:
        ConfigError: both ``quiet`` and ``verbose`` are set.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        if quiet and verbose:
            raise ConfigError(
                "quiet and verbose contradict each other. Remove one.", field="verbose", code="quiet-and-verbose"
            )
        self.verbose = verbose
        self.console = Console(file=cast(IO[str], LastingOutput()), quiet=quiet, highlight=False, soft_wrap=True)
        if not self.console.is_terminal:
            self.console.width = PIPED_WIDTH

    def say(self, text: str, style: str = "") -> None:
        """Print and log one line."""
        self.show(text, style)
        log.info("%s", text)

    def detail(self, text: str) -> None:
        """Write one line of detail to the log. In verbose mode, also print the line."""
        if self.verbose:
            self.show(text, "dim")
        log.info("%s", text)

    def warn(self, text: str, *, hidden: bool = False) -> None:
        """Write a warning to the log; unless ``hidden``, also print the warning."""
        if not hidden:
            self.show(f"Warning: {text}", "yellow")
        log.warning("%s", text)

    def show(self, text: str, style: str = "") -> None:
        """Print a line. Wrap it between words, unless it contains a command that the user may copy."""
        commands = (
            f"{program()} ",
            "mlflow ui ",
            "tensorboard --logdir ",
            "wandb sync ",
            "CNNLSTMHyperparameterOptimizer(",
        )
        whole = not self.console.is_terminal or any(command in text for command in commands)
        self.console.print(Text(text, style=style), soft_wrap=whole)

    def table(self, table: Table, *, hidden: bool = False) -> None:
        """Write a table as text to the log; unless ``hidden``, also print the table."""
        if not hidden:
            self.console.print(table)
        # In a notebook, rich displays all printed text even if the console writes to a file. ``force_jupyter`` switches this off.
        plain = Console(file=io.StringIO(), width=self.console.width, no_color=True, force_jupyter=False)
        plain.print(table)
        text = plain.file.getvalue() if isinstance(plain.file, io.StringIO) else ""
        log.info("\n%s", text.rstrip())
