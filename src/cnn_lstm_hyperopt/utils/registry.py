"""Functions that find the members of a family: the classes that the files of a package define."""

import ast
import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def members(package: str, base: type[T]) -> dict[str, type[T]]:
    """Import all modules of a package and return the concrete subclasses of ``base`` that they define.

    Args:
        package: full name of the package; modules of its subpackages are included.
        base: base class of the family. Each member has a ``name`` and a ``place``, which is its position in the family.

    Returns:
        Classes by name, sorted by place, then by name.
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


class Members(Mapping[str, type[T]]):
    """The same as :func:`members`, but the modules are imported only when the mapping is used, since they may need libraries."""

    def __init__(self, package: str, base: type[T]) -> None:
        self._package, self._base = package, base
        self._found: dict[str, type[T]] | None = None

    @property
    def _members(self) -> dict[str, type[T]]:
        if self._found is None:
            self._found = members(self._package, self._base)
        return self._found

    def __getitem__(self, name: str) -> type[T]:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def declared(folder: str) -> dict[str, dict[str, Any]]:
    """Read the literal attributes of a family's members without importing them, so that ``--help`` loads no library.

    Args:
        folder: folder of the family's package, relative to this package, such as ``search/samplers``.

    Returns:
        For each member, by name and in the order of :func:`members`: the class attributes whose values are literals. The source
        of a member's class must contain a line that begins with ``name, place``.
    """
    found: list[dict[str, Any]] = []
    for path in sorted((Path(__file__).parents[1] / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        classes = ast.parse(text).body if "name, place" in text else ()  # parsing takes milliseconds
        facts_of = (_literals(node) for node in classes if isinstance(node, ast.ClassDef))
        found += [facts for facts in facts_of if {"name", "place"} <= facts.keys()]
    return {facts["name"]: facts for facts in sorted(found, key=lambda facts: (facts["place"], facts["name"]))}


def described(members: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the names of the members in :func:`declared` with their descriptions, such as ``tpe (…), random (…)``."""
    return ", ".join(f"{name} ({facts['description']})" for name, facts in members.items())


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
