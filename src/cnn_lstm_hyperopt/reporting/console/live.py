"""Live view of a search on the terminal: a progress bar, counts of trials, and a line for each worker."""

from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from cnn_lstm_hyperopt.run_dir.activity import Activity

MAX_WORKERS = 8
"""Maximum number of workers that have a line in the live view."""


class LiveSearch:
    """Live view of a search, drawn below the printed lines. The view disappears when the search ends."""

    def __init__(self, console: Console, *, total: int, done: int, status: str, left: str) -> None:
        self._bar = Progress(
            TextColumn("Search"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", style="cyan"),
            TextColumn("elapsed", style="dim"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("search", total=total, completed=done, left=left)
        self._status = status
        self._activities: Sequence[Activity] = ()
        self._live = Live(get_renderable=self._view, console=console, refresh_per_second=2, transient=True)

    def start(self) -> None:
        """Start drawing the live view of the search."""
        self._live.start()

    def stop(self) -> None:
        """Remove the live view from the terminal."""
        self._live.stop()

    def update(self, *, done: int, status: str, left: str) -> None:
        """Show the counts of trials in the live view."""
        self._bar.update(self._task, completed=done, left=left)
        self._status = status

    def show(self, activities: Sequence[Activity]) -> None:
        """Show the current activity of each process in the live view."""
        self._activities = activities

    def _view(self) -> Group:
        memory = sum(each.memory_mb for each in self._activities)
        status = f"{self._status} · memory {memory:,.0f} MB" if memory else self._status
        lines = [
            f"{each}, {each.memory_mb:,.0f} MB" if each.memory_mb else str(each)
            for each in self._activities[:MAX_WORKERS]
        ]
        if (more := len(self._activities) - MAX_WORKERS) > 0:
            lines.append(f"… and {more} more")
        return Group(self._bar, _line(f"  {status}", ""), *(_line(f"  {line}", "dim") for line in lines))


def _line(text: str, style: str) -> Text:
    """Return a line that is cut on a narrow terminal. A wrapped line would change the number of lines, which rich must know."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")
