"""Finds the members of a family: the classes that the files of a package define. Adding a member is adding a file."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def members(package: str, base: type[T]) -> dict[str, type[T]]:
    """Import all modules of a package and return the concrete subclasses of ``base`` that they define.

    Args:
        package: full name; its subpackages belong to it.
        base: of the family. A member has a ``name`` and a ``place`` in the order of the family.

    Returns:
        Classes by name, in the order of their places, then of their names.
    """
    found: list[Any] = []
    for each in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        module = importlib.import_module(each.name)
        found += [
            kind
            for kind in vars(module).values()
            if inspect.isclass(kind)
            and issubclass(kind, base)
            and kind.__module__ == each.name
            and not inspect.isabstract(kind)
        ]
    return {kind.name: kind for kind in sorted(found, key=lambda kind: (kind.place, kind.name))}


def member_files(folder: str) -> tuple[str, ...]:
    """Return the names of the members of a family without importing them, for code that must not load what they need.

    Args:
        folder: of the family in this package; each file but ``base.py`` has the name of the member in it.
    """
    files = (Path(__file__).parents[1] / folder).glob("*.py")
    return tuple(sorted(file.stem for file in files if file.stem not in ("__init__", "base")))
