"""The one look of all tables on the terminal."""

from rich import box
from rich.table import Table


def plain_table(title: str) -> Table:
    """Without frame, title to the left."""
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
