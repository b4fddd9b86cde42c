"""Reader and writer of YAML 1.2 with plain values. The reader checks limits of size before it constructs values."""

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLWarning
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event, ScalarEvent
from ruamel.yaml.nodes import Node
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.reading import MAX_DIGITS, MAX_JSON_BYTES, parse_json, read_text
from cnn_lstm_hyperopt.utils.text import printable

MAX_YAML_BYTES = 1_000_000
MAX_LEVELS = 40
MAX_VALUES = 50_000
"""Maximum number of values in a YAML file. Values that an alias repeats count each time."""
_TEXT_TAGS = (None, "!", "tag:yaml.org,2002:str")


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML or JSON file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is not valid YAML (or JSON), or does not contain a mapping.
    """
    raw = read_tree(path, "--config")
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        name, kind = f"--config {printable(str(path))}", type(raw).__name__
        text = f"{name} must contain sections such as study: and data:, but contains {kind}"
        raise ConfigError(text, field="--config", code="not-a-mapping")
    return raw


def read_tree(path: Path, flag: str) -> Any:
    """Return the plain values in a YAML file, or in a JSON file (suffix ``.json``).

    Raises:
        ConfigError: the file can't be read or is not valid. The text of the error begins with ``flag``.
    """
    name = f"{flag} {printable(str(path))}"
    is_json = path.suffix.lower() == ".json"
    try:
        path = path.expanduser()
    except RuntimeError as error:
        text = f"{name} must begin with the home directory of an existing user"
        raise ConfigError(text, field=flag, code="no-such-user") from error
    try:
        text = read_text(path, MAX_JSON_BYTES if is_json else MAX_YAML_BYTES)
    except ValueError as error:
        raise ConfigError(f"{name} {error}", field=flag, code="unreadable") from error
    try:
        return parse_json(text) if is_json else parse_yaml(text)
    except ValueError as error:
        text = f"{name} is not valid {'JSON' if is_json else 'YAML'}: {error}"
        raise ConfigError(text, field=flag, code="not-json" if is_json else "not-yaml") from error


def parse_yaml(text: str) -> Any:
    """Return the content of one YAML document: text, numbers, booleans, dates, lists and mappings.

    Raises:
        ValueError: the text is not valid, has a duplicate key or a tag, or exceeds a limit. The message has the line and the
            column.
    """
    reader = YAML(typ="safe", pure=True)
    reader.Constructor = _Constructor
    try:
        with warnings.catch_warnings(action="ignore", category=YAMLWarning):
            _check_events(reader.parse(text))
            return reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = str(error.problem).partition(" with value ")[0]  # the value of a duplicate key may be a secret
        raise ValueError(where + printable(", ".join(filter(None, (error.context, problem))))) from error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ValueError(f"line {line}: the character #x{error.character:04x} is not allowed") from error


def dump_yaml(tree: Any, width: int) -> str:
    """Return plain values as YAML text that has the same meaning in YAML 1.1 and 1.2."""
    reader = YAML(typ="safe", pure=True)
    reader.Representer = _Representer
    reader.default_flow_style, reader.allow_unicode, reader.width = False, True, width
    stream = io.StringIO()
    reader.dump(tree, stream)
    return stream.getvalue()


def _check_events(events: Iterator[Event]) -> None:
    """Check the tags, the numbers, the depth of nesting and the number of values before values are constructed.

    Raises:
        MarkedYAMLError: the nesting is too deep, there are too many values, a value has a tag, or a number is ambiguous.
    """
    around: list[tuple[str | None, int]] = []  # anchor of each enclosing list or mapping, and the count at its start
    sizes: dict[str | None, int] = {}
    total = 0
    for event in events:
        if isinstance(event, CollectionEndEvent):
            anchor, began = around.pop()
            sizes[anchor] = total - began
        elif isinstance(event, AliasEvent):
            if any(event.anchor == anchor for anchor, _ in around):
                _refuse(event, "an alias (*) is inside the value that it repeats")
            total += sizes.get(event.anchor, 0)  # construction reports an alias without an anchor
            if total > MAX_VALUES:
                _refuse(event, f"aliases (*) repeat more than {MAX_VALUES:,} values")
        elif isinstance(event, (ScalarEvent, CollectionStartEvent)):
            total += 1
            sizes[event.anchor] = 1
            if isinstance(event, CollectionStartEvent):
                around.append((event.anchor, total - 1))
            if len(around) > MAX_LEVELS:
                _refuse(event, f"nested deeper than {MAX_LEVELS} levels")
            if total > MAX_VALUES:
                _refuse(event, f"more than {MAX_VALUES:,} values")
            _check_value(event)


def _check_value(event: ScalarEvent | CollectionStartEvent) -> None:
    if event.tag not in _TEXT_TAGS:
        tag = event.tag.replace("tag:yaml.org,2002:", "!!")
        _refuse(event, f"the tag {printable(tag, 80)} is not read; remove it")
    if not isinstance(event, ScalarEvent) or event.style or event.tag is not None:
        return
    if re.fullmatch(r"[-+]?0[0-9]+", event.value):
        _refuse(event, f"{printable(event.value, 40)} may be an octal number; remove the leading zero")
    if len(event.value) > MAX_DIGITS and re.fullmatch(r"[-+]?[0-9][0-9a-fA-Fox_]*", event.value):
        _refuse(event, f"{printable(event.value, 40)} has more than {MAX_DIGITS} digits")


def _refuse(event: Event, problem: str) -> None:
    raise MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


class _Constructor(SafeConstructor):
    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Construct a value. If the value is invalid, such as the date 2001-13-01, the error contains the line."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError) as error:
            problem = f"{printable(str(node.value), 40)} is not valid ({error})"
            raise MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error


class _Representer(SafeRepresenter):
    def represent_dict(self, data: dict[str, Any]) -> Any:
        """Represent a dict in YAML with its keys in their order."""
        return self.represent_mapping("tag:yaml.org,2002:map", list(data.items()))

    def represent_str(self, data: str) -> Any:
        """Represent a text in YAML. Quote text that YAML 1.1 reads as a boolean or a number, such as ``no`` and ``1:30``."""
        style = "'" if re.fullmatch(r"(?i:y|n|yes|no|on|off)|[-+.0-9][-+.0-9:_e]*", data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    def represent_float(self, data: float) -> Any:
        """Represent a float in YAML with a dot before the exponent, because YAML 1.1 reads 1e-05 as text."""
        text = re.sub(r"^(-?\d+)e", r"\1.0e", repr(data))
        if not text[-1].isdigit():
            return super().represent_float(data)
        return self.represent_scalar("tag:yaml.org,2002:float", text)


_Representer.add_representer(dict, _Representer.represent_dict)
_Representer.add_representer(str, _Representer.represent_str)
_Representer.add_representer(float, _Representer.represent_float)
