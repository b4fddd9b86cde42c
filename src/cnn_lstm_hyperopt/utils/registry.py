"""Finds the members of a family: the classes that the files of a package define. Adding a member is adding a file."""

import ast
import contextlib
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


def declared(folder: str) -> dict[str, dict[str, Any]]:
    """Read what the members of a family say of themselves, without importing them: settings and ``--help`` load no library.

    Args:
        folder: of the package, relative to this one, such as ``search/samplers``.

    Returns:
        By name, in the order of :func:`members`: the attributes of the class that are literals. A member has a line that begins
        with ``name, place``.
    """
    found: list[dict[str, Any]] = []
    for path in sorted((Path(__file__).parents[1] / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        classes = ast.parse(text).body if "name, place" in text else ()  # parsing takes milliseconds
        facts_of = (_literals(node) for node in classes if isinstance(node, ast.ClassDef))
        found += [facts for facts in facts_of if {"name", "place"} <= facts.keys()]
    return {facts["name"]: facts for facts in sorted(found, key=lambda facts: (facts["place"], facts["name"]))}


def _literals(node: ast.ClassDef) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for each in node.body:
        if isinstance(each, ast.Assign) and len(each.targets) == 1:
            with contextlib.suppress(ValueError):
                value, target = ast.literal_eval(each.value), each.targets[0]
                if isinstance(target, ast.Name):
                    facts[target.id] = value
                elif isinstance(target, ast.Tuple):
                    facts |= {
                        name.id: part
                        for name, part in zip(target.elts, value, strict=True)
                        if isinstance(name, ast.Name)
                    }
    return facts
