"""Progress of a replay of updates: a progress bar on a terminal, or a line per period in a file or pipe."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cnn_lstm_hyperopt.utils.text import printable

Handler = Callable[[int, FrameType | None], Any] | int
"""Type of a signal's handler that Python has set."""


class ReplayProgress:
    """Context that shows the progress of a replay. In the context, Ctrl-C raises KeyboardInterrupt.

    A handler that ends the process at once would leave the terminal without its cursor, which the progress bar hides.

    Args:
        stream: stream that receives the progress bar or the lines.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, soft_wrap=True, markup=False)
        self._bar = Progress(
            TextColumn("{task.fields[policy]}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("periods", style="dim"),
            TimeElapsedColumn(),
            TextColumn("{task.description}", style="dim", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._handler: Handler | None = None
        self._task = self._bar.add_task("Reading the bars", total=None, policy="Replay")

    def __enter__(self) -> "ReplayProgress":
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if self._handler is not None:
            signal.signal(signal.SIGINT, self._handler)

    def on_period(self, policy: str, number: int, of: int) -> None:
        """Show that a policy begins a period."""
        self._bar.update(
            self._task, completed=number - 1, total=of, policy=f"Replay of {policy}", description="Predicting"
        )
        if not self._console.is_terminal:
            self._console.print(f"{policy}: period {number} of {of}")

    def on_news(self, text: str) -> None:
        """Show that a training begins. Without a terminal, nothing is shown."""
        self._bar.update(self._task, description=text.partition(":")[0])

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._console.print(f"Warning: {printable(text, 1_000)}")
