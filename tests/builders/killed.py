"""Processes that are killed before a statement of a database."""

import os
from collections.abc import Callable

import sqlalchemy


def killed_before(statement: int, prepare: Callable[[], Callable[[], object]]) -> bool:
    """Call a function in a child process that ends before its first, second, … statement or commit.

    Args:
        statement: number of the statement, from 1.
        prepare: function that is called in the child and returns the function whose statements are counted.

    Returns:
        Whether the child was killed, because the function has that many statements.
    """
    child = os.fork()
    if child == 0:
        act, executed = prepare(), 0

        def count(*_: object) -> None:
            nonlocal executed
            executed += 1
            if executed == statement:
                os._exit(9)

        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
        sqlalchemy.event.listen(sqlalchemy.Engine, "commit", count)
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
