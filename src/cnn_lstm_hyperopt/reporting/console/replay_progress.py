"""Progress of a replay of updates: a progress bar on a terminal, or a line per period in a file or pipe."""

from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from cnn_lstm_hyperopt.utils.text import printable


class ReplayProgress:
    """Context that shows the progress of a replay.

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
        self._task = self._bar.add_task("reading the bars …", total=None, policy="Replay")

    def __enter__(self) -> "ReplayProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def on_period(self, policy: str, number: int, of: int) -> None:
        """Show that a policy begins a period."""
        self._bar.update(
            self._task, completed=number - 1, total=of, policy=f"Replay of {policy}", description="predicting …"
        )
        if not self._console.is_terminal:
            self._console.print(f"{policy}: period {number} of {of}")

    def on_news(self, text: str) -> None:
        """Show that a training begins. Without a terminal, nothing is shown."""
        self._bar.update(self._task, description=text)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self._console.print(f"Warning: {printable(text, 1_000)}")
