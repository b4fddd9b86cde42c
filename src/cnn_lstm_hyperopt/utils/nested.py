"""Conversion of nested mappings to flat mappings."""

from collections.abc import Mapping
from typing import Any


def flattened(tree: Mapping[str, Any], prefix: str = "", levels: int = 40) -> dict[str, Any]:
    """Return the values of nested mappings by dotted names, such as ``study.seed``; an empty mapping counts as a value.

    Args:
        tree: mapping of names to values or mappings.
        prefix: text before each name, including the dot.
        levels: maximum depth of nesting; mappings at a greater depth count as values.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        inner = isinstance(value, Mapping) and value and levels > 1
        flat |= flattened(value, f"{prefix}{key}.", levels - 1) if inner else {f"{prefix}{key}": value}
    return flat


def put(tree: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, such as ``study.n_trials``, in nested dicts."""
    *sections, name = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[name] = value
