"""Formatting of tables and wrapped text for the terminal."""

import textwrap
from collections.abc import Callable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table


def plain_table(title: str) -> Table:
    """Return an empty table without a frame and with a title that is aligned left."""
    return Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)


def widest(make: Callable[[Sequence[str]], Table], headers: Sequence[str], width: int) -> Table:
    """Return the widest table that fits into ``width`` characters.

    Optional columns are removed from the right until the table fits.
    """
    for kept in range(len(headers), 0, -1):
        table = make(headers[:kept])
        if Console(width=10 * width).measure(table).maximum <= width:
            return table
    return make([])


def fitting_texts(texts: Sequence[str], n_lines: int, width: int = 80) -> list[str]:
    """Return the first texts that fit into ``n_lines`` wrapped lines.

    If some texts do not fit, one line stays free for the number of omitted texts.
    """
    sizes = [len(textwrap.wrap(text, width)) for text in texts]
    left = n_lines if sum(sizes) <= n_lines else n_lines - 1
    fitting = []
    for text, size in zip(texts, sizes, strict=True):
        if size <= left:
            left -= size
            fitting.append(text)
    return fitting
