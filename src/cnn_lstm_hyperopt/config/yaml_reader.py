"""Reads YAML and JSON files that may hold anything: plain values only, within limits that are checked before values are made."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from cnn_lstm_hyperopt.config.messages import listed, printable
from cnn_lstm_hyperopt.errors import ConfigError

MOST_YAML_BYTES = 1_000_000
MOST_JSON_BYTES = 20_000_000
MOST_LEVELS = 40
MOST_VALUES = 50_000
"""In a YAML file, with what its aliases repeat."""
MOST_DIGITS = 400
"""Of a whole number; every float has fewer."""


def read_yaml(path: Path) -> dict[str, Any]:
    """A file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is no YAML (or JSON), or holds something else.
    """
    raw = read_tree(path, "--config")
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(
            f"--config {printable(str(path))} must hold sections such as study: and data:, but holds {type(raw).__name__}"
        )
    return raw


def read_tree(path: Path, flag: str) -> Any:
    """What a YAML file holds, or, by its name, a JSON file; plain values only.

    Raises:
        ConfigError: the file can't be read or is no such file; the text begins with the flag that named it.
    """
    name = f"{flag} {printable(str(path))}"
    is_json = path.suffix.lower() == ".json"
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{name} must begin with the directory of a user whom there is") from error
    try:
        text = read_text(path, MOST_JSON_BYTES if is_json else MOST_YAML_BYTES)
    except ValueError as error:
        raise ConfigError(f"{name} {error}") from error
    try:
        return parse_json(text) if is_json else parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{name} is no valid {'JSON' if is_json else 'YAML'}: {error}") from error


def read_text(path: Path, most: int) -> str:
    """A file of UTF-8 text; no more of it is read than it may have, and nothing is waited for.

    Raises:
        ValueError: it can't be read, is larger than ``most`` bytes or is no text; to stand behind the file's name.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _NoFileError
            content = file.read(most + 1) or b""
    except _NoFileError as error:
        raise ValueError("is no file, but a pipe or a device; write what it holds into a file and name that") from error
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError("can't be read: no file has such a name") from error
    if len(content) > most:
        raise ValueError(
            f"is larger than {most:,} bytes; a file of this kind has a few thousand, so is it the right one?"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is no UTF-8 text (line {line}, byte {error.start}); save it as UTF-8") from error


class _NoFileError(Exception):
    """A pipe, a device or a socket: reading it may never end."""


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe that nobody writes into, too."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def parse_json(text: str) -> Any:
    """Strict JSON: no NaN, no key twice, no number of thousands of digits.

    Raises:
        ValueError: it is none; the text says why.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_yaml(text: str) -> Any:
    """What one YAML document holds: texts, numbers, switches, dates, lists and mappings.

    Raises:
        ValueError: it is none, has a key twice, or repeats itself by aliases beyond all measure; the text names the line.
    """
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reasons = [part for part in (error.context, error.problem) if part]
        raise ValueError(f"{where}{printable(', '.join(reasons))}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: the character #x{error.character:04x} is not allowed") from error


# ---------------------------------------------------------------------- JSON


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{printable(key, 80)} stands twice; leave one of them out")
        found[key] = value
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"the number {digits[:20]}… has {len(digits)} digits; {MOST_DIGITS} at most")
    return int(digits)


# ---------------------------------------------------------------------- YAML


_PREFIX = "tag:yaml.org,2002:"
_MERGE = f"{_PREFIX}merge"


class _Loader(yaml.SafeLoader):
    """SafeLoader without binary data, sets and pairs; with limits, and without numbers that are easily misread."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._level = self._count = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Counts levels and values before anything is made of them."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._level += 1
        self._count += 1
        if self._level > MOST_LEVELS:
            raise ConstructorError(None, None, f"nested deeper than {MOST_LEVELS} levels", mark)
        if self._count > MOST_VALUES:
            raise ConstructorError(None, None, f"more than {MOST_VALUES:,} values", mark)
        node = super().compose_node(parent, index)
        self._level -= 1
        return node

    def get_single_node(self) -> Node | None:
        """The document; what its aliases repeat is counted, and keys that stand twice are found."""
        node: Node | None = super().get_single_node()
        if node is not None:
            _size(node, {})
            doubled = list(_doubled(node, "", set()))
            if len(doubled) == 1:
                raise ValueError(f"{doubled[0]}; leave one of them out")
            if doubled:
                raise ValueError(listed(f"{len(doubled)} keys stand twice; leave one of each out:", doubled))
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Every fault of a value names its line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
            # A date such as 2001-13-01, or a tag that its value does not fit, such as !!int x.
            kind = node.tag.removeprefix(_PREFIX)
            reason = f" ({error})" if isinstance(error, ValueError) else ""
            raise ConstructorError(None, None, f"{_text(node)} is no {kind}{reason}", node.start_mark) from error

    def construct_number(self, node: ScalarNode) -> int | float:
        """As YAML 1.1 has it, but 010 and 1:30 are no numbers to anybody who does not know that by heart."""
        digits = node.value.lstrip("+-").replace("_", "")
        if ":" in digits:
            raise ConstructorError(
                None, None, f"{_text(node)} would be a number to the base 60; put it in quotes", node.start_mark
            )
        if node.tag.endswith(":float"):
            return float(self.construct_yaml_float(node))
        if len(digits) > MOST_DIGITS:
            raise ConstructorError(None, None, f"{_text(node)} has more than {MOST_DIGITS} digits", node.start_mark)
        if digits[:1] == "0" and digits[1:].isdigit():
            raise ConstructorError(
                None, None, f"{_text(node)} would be an octal number; leave out the zero before it", node.start_mark
            )
        return int(self.construct_yaml_int(node))

    def refuse(self, node: Node) -> NoReturn:
        """No tag makes anything but plain values."""
        tag = node.tag.replace(_PREFIX, "!!", 1)
        raise ConstructorError(None, None, f"the tag {printable(tag, 80)} is not read; leave it out", node.start_mark)


for _kind in ("binary", "omap", "pairs", "set"):
    _Loader.add_constructor(_PREFIX + _kind, _Loader.refuse)
for _kind in ("int", "float"):
    _Loader.add_constructor(_PREFIX + _kind, _Loader.construct_number)
_Loader.add_constructor(None, _Loader.refuse)


def _text(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        return "a list or mapping"
    return printable(node.value, 40) or "nothing"


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif not isinstance(node, ScalarNode):
        yield from node.value


def _size(node: Node, sizes: dict[int, int]) -> int:
    """Values in it, those of aliases counted wherever they stand. What an alias repeats stands before it, so this is no deeper
    than the document."""
    known = sizes.setdefault(id(node), 0)
    if known:
        return known
    total = 1
    for child in _children(node):
        if sizes.get(id(child)) == 0:
            raise ConstructorError(None, None, "an alias (*) stands in what it repeats", child.start_mark)
        total += _size(child, sizes)
        if total > MOST_VALUES:
            raise ConstructorError(None, None, f"aliases (*) repeat more than {MOST_VALUES:,} values", node.start_mark)
    sizes[id(node)] = total
    return total


def _doubled(node: Node, path: str, seen: set[int]) -> Iterator[str]:
    """Keys that stand twice in one mapping, by their path, and where."""
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, MappingNode):
        lines: dict[str, list[int]] = {}
        for key, value in node.value:
            name = f"{path}{_text(key)}"
            if isinstance(key, ScalarNode) and key.tag != _MERGE:
                lines.setdefault(name, []).append(key.start_mark.line + 1)
            yield from _doubled(value, f"{name}.", seen)
        for name, places in lines.items():
            if len(places) > 1:
                yield f"{name} stands twice (lines {places[0]} and {places[1]})"
    else:
        for child in _children(node):
            yield from _doubled(child, path, seen)
