"""Live view of a search in a notebook: a progress bar, counts of trials, and a line for each worker."""

from collections.abc import Sequence
from html import escape
from typing import Any

from cnn_lstm_hyperopt.reporting.console.live import MAX_WORKERS
from cnn_lstm_hyperopt.run_dir.activity import Activity


class NotebookSearch:
    """Live view of a search in the output of a cell. It stays when the search ends, without the lines of workers."""

    def __init__(self, *, total: int, done: int, status: str, left: str) -> None:
        self._total, self._done, self._status, self._left = total, done, status, left
        self._activities: Sequence[Activity] = ()
        self._display: Any = None

    def start(self) -> None:
        """Show the live view of the search."""
        from IPython.display import display

        self._display = display(self, display_id=True)

    def stop(self) -> None:
        """Remove the lines of workers and the remaining time."""
        self._left = ""
        self.show(())

    def update(self, *, done: int, status: str, left: str) -> None:
        """Show the counts of trials."""
        self._done, self._status, self._left = done, status, left
        self._redraw()

    def show(self, activities: Sequence[Activity]) -> None:
        """Show the current activity of each process."""
        self._activities = activities
        self._redraw()

    def _redraw(self) -> None:
        if self._display is not None:
            self._display.update(self)

    def _repr_html_(self) -> str:
        lines = [str(each) for each in self._activities[:MAX_WORKERS]]
        if (more := len(self._activities) - MAX_WORKERS) > 0:
            lines.append(f"… and {more} more")
        below = "".join(f"<br><small>{escape(line)}</small>" for line in (self._status, *lines))
        return (
            f'<div>Search <progress value="{self._done}" max="{max(1, self._total)}"></progress>'
            f" {escape(self._counts())}{below}</div>"
        )

    def __repr__(self) -> str:
        """Return the view as one line, for front ends without HTML."""
        return f"Search {self._counts()} · {self._status}"

    def _counts(self) -> str:
        return f"{self._done}/{self._total}" + (f" · {self._left}" if self._left else "")
