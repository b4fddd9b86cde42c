"""Turns the errors of pydantic into lines: the field, the rule, the value and a suggestion."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, get_args

from pydantic import BaseModel

from cnn_lstm_hyperopt.utils.text import did_you_mean, printable, shown

_OURS = ("value_error", "extra_forbidden")
_RULES = {
    "dict_type": "be a mapping of names to values",
    "tuple_type": "be a list",
    "list_type": "be a list",
    "path_type": "be a path",
    "string_type": "be text",
    "string_unicode": "be text without halves of characters",
    "int_parsing_size": "be a whole number of a sensible size",
    "invalid_key": "be text, as the name of a setting is",
    "recursion_loop": "not hold itself",
}
"""Rules in place of pydantic's words for Python's types, by the type of the error."""


def explain(faults: Sequence[Any], model: type[BaseModel], elsewhere: Iterable[str] = ()) -> list[str]:
    """Return a line for each error; the branches of a union that failed for one field are one line.

    Args:
        faults: ``ValidationError.errors()``.
        model: the validated one.
        elsewhere: dotted names that a setting in the wrong place may have meant.
    """
    lines: list[str] = []
    by_field: dict[str, list[Any]] = {}
    for fault in faults:
        by_field.setdefault(_field(fault), []).append(fault)
    for field, same in by_field.items():
        plain = [fault for fault in same if fault["type"] not in _OURS]
        for fault in same:
            if fault not in plain:
                lines += _explain_ours(fault, model, elsewhere)
        if plain:
            lines.append(_explain_plain(field, plain, model))
    return list(dict.fromkeys(lines))


def _explain_plain(field: str, plain: Sequence[Any], model: type[BaseModel]) -> str:
    first = plain[0]
    value = first.get("input")
    if first["type"] == "missing":
        if not isinstance(value, (list, tuple)):
            return f"{field} is missing"
        *place, name, _ = (part for part in first["loc"] if not is_union_branch(part))
        count = len(get_args(_model_at(place, model).model_fields[name].annotation))
        return f"{field.rpartition('.')[0]} must be a list of {count} values, but got {shown(value)}"
    rules = list(dict.fromkeys(_rule(fault, model) for fault in plain))
    text = f"{field} must {' or '.join(rules)}, but got {shown(value)}"
    if first["type"] == "string_type" and isinstance(value, (int, float, date)):
        return f"{text}; put it in quotes"
    options = [option for fault in plain for option in re.findall(r"'([^']*)'", str(fault["msg"]))]
    return text + did_you_mean(value, options) if first["type"] == "literal_error" else text


def _rule(fault: Any, model: type[BaseModel]) -> str:
    """Return the rule, to stand behind "must"."""
    kind = fault["type"]
    if kind in ("model_type", "model_attributes_type"):
        return f"hold settings ({', '.join(_model_at(fault['loc'], model).model_fields)})"
    if kind.startswith("date"):
        return "be a date such as 2001-02-03"
    text = str(fault["msg"]).partition(", ")[0] if kind.endswith(("_parsing", "_from_float")) else str(fault["msg"])
    text = re.sub(r"^\w+ should ", "", text)
    return _RULES.get(kind, text)


def _explain_ours(fault: Any, model: type[BaseModel], elsewhere: Iterable[str]) -> list[str]:
    """Explain an error of our own validators, or an unknown setting."""
    field = _field(fault)
    if fault["type"] == "extra_forbidden":
        *sections, name = fault["loc"]
        known = list(_model_at(sections, model).model_fields)
        place = ".".join(map(str, sections)) or "the file"
        same = "" if field.isascii() else f" ({ascii(name)[1:-1][:100]})"
        return [f"{field}{same} is not a setting; {place} has {', '.join(known)}{did_you_mean(name, known, elsewhere)}"]
    text = str(fault["ctx"]["error"])
    if not field or text.startswith(field):
        return text.split("\n")
    return [f"{field} {text}" if text.startswith(("must", "names", "is ")) else f"{field}: {text}"]


def _model_at(location: Sequence[Any], model: type[BaseModel]) -> Any:
    """Return the model of the section at a location."""
    found: Any = model
    for part in location:
        kinds = found.model_fields[part].annotation
        found = next((kind for kind in get_args(kinds) if hasattr(kind, "model_fields")), kinds)  # section | None
    return found


def _field(fault: Any) -> str:
    parts = [part for part in fault["loc"] if not is_union_branch(part) and part != "[key]"]
    if fault["type"] == "invalid_key":
        parts[-1:] = ["null" if fault["input"] is None else fault["input"]]
    return ".".join(printable(str(part), 80) for part in parts)


def is_union_branch(part: Any) -> bool:
    """Return whether a part of a location is pydantic's name of a union's branch (``float``, ``literal['auto']``)."""
    return isinstance(part, str) and (part in ("float", "int", "str") or part.startswith(("literal[", "constrained-")))


def holds(raw: Mapping[str, Any], location: tuple[Any, ...]) -> bool:
    """Return whether a mapping has a value at this location."""
    place: Any = raw
    for part in location:
        if is_union_branch(part):
            continue
        in_list = isinstance(place, list) and isinstance(part, int) and part < len(place)
        if not in_list and not (isinstance(place, Mapping) and part in place):
            return False
        place = place[part]
    return True
