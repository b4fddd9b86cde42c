"""Families whose members are the files of one folder: a new member is a new file."""

import ast
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def described_members(family: str, *, first: str) -> dict[str, str]:
    """Return the members of a family and what they are; nothing is imported, so that settings and ``--help`` load fast.

    Args:
        family: folder in the package, such as ``data/sources``. Each module but ``base`` is a member.
        first: the member that comes before all others, which follow by name: the default.

    Returns:
        Name of the module → first line of its docstring, without the full stop.
    """
    modules = [path for path in (_PACKAGE / family).glob("*.py") if path.stem not in ("__init__", "base")]
    modules.sort(key=lambda path: (path.stem != first, path.stem))
    return {path.stem: _first_line(path.read_text(encoding="utf-8")) for path in modules}


def _first_line(code: str) -> str:
    return (ast.get_docstring(ast.parse(code)) or "").partition("\n")[0].removesuffix(".")
