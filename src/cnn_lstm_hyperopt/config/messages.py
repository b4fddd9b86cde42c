"""Translation of pydantic's errors into lines with the field, the rule, the value and a suggestion."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, get_args

from pydantic import BaseModel

from cnn_lstm_hyperopt.errors import Violation
from cnn_lstm_hyperopt.utils.text import did_you_mean, printable, shown


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """Rule that a setting violates, with the line of text for the error."""

    text: str
    violation: Violation


_OURS = ("value_error", "extra_forbidden")
_RULES = {
    "dict_type": "be a mapping of names to values",
    "tuple_type": "be a list",
    "list_type": "be a list",
    "path_type": "be a path",
    "string_type": "be text",
    "string_unicode": "be valid Unicode text",
    "int_parsing_size": "be a whole number with fewer digits",
    "invalid_key": "be text, because it is the name of a setting",
    "recursion_loop": "not contain itself",
}
"""Texts of rules for users, by pydantic's type of error. These texts replace pydantic's texts, which name Python types."""


def explain(errors: Sequence[Any], model: type[BaseModel], elsewhere: Iterable[str] = ()) -> list[BrokenRule]:
    """Return the violated rules of a pydantic error. All failed branches of a union count as one violated rule.

    Args:
        errors: ``ValidationError.errors()``.
        model: pydantic model that was validated.
        elsewhere: dotted names of settings in other sections, which the text of an error may suggest.
    """
    problems: list[BrokenRule] = []
    by_field: dict[str, list[Any]] = {}
    for error in errors:
        by_field.setdefault(_field(error), []).append(error)
    for field, same in by_field.items():
        plain = [error for error in same if error["type"] not in _OURS]
        for error in same:
            if error["type"] == "extra_forbidden":
                problems.append(_unknown_setting(error, model, elsewhere))
            elif error not in plain:
                problems += _own_rules(error)
        inner_is_wrong = any(other.startswith(f"{field}.") for other in by_field)
        if plain and not (inner_is_wrong and isinstance(plain[0].get("input"), Mapping)):
            problems.append(_explain_plain(field, plain, model))
    return list(dict.fromkeys(problems))


def _explain_plain(field: str, plain: Sequence[Any], model: type[BaseModel]) -> BrokenRule:
    first = plain[0]
    value, code = first.get("input"), first["type"].replace("_", "-")
    if code == "missing" and isinstance(value, (list, tuple)):
        *place, name, _ = (part for part in first["loc"] if not _is_union_branch(part))
        count = len(get_args(_model_at(place, model).model_fields[name].annotation))
        parent = field.rpartition(".")[0]
        text = f"{parent} must be a list of {count} values, but got {shown(value)}"
        return BrokenRule(text, Violation(parent, "wrong-length"))
    if code == "missing":
        return BrokenRule(f"{field} is missing", Violation(field, code))
    text = f"{field} must {' or '.join(dict.fromkeys(_rule(error, model) for error in plain))}, but got {shown(value)}"
    if code == "string-type" and isinstance(value, (int, float, date)):
        text += "; put it in quotes"
    if code == "literal-error":
        options = [option for error in plain for option in re.findall(r"'([^']*)'", str(error["msg"]))]
        text += did_you_mean(value, options)
    return BrokenRule(text, Violation(field, code))


def _rule(error: Any, model: type[BaseModel]) -> str:
    """Return the text of a violated rule. In the error, this text follows the word "must"."""
    kind = error["type"]
    if kind in ("model_type", "model_attributes_type"):
        return f"hold settings ({', '.join(_model_at(error['loc'], model).model_fields)})"
    if kind.startswith("date"):
        return "be a date such as 2001-02-03"
    text = str(error["msg"]).partition(", ")[0] if kind.endswith(("_parsing", "_from_float")) else str(error["msg"])
    text = re.sub(r"^\w+ should ", "", text)
    return _RULES.get(kind, text)


def _unknown_setting(error: Any, model: type[BaseModel], elsewhere: Iterable[str]) -> BrokenRule:
    field = _field(error)
    *sections, name = error["loc"]
    known = list(_model_at(sections, model).model_fields)
    place = ".".join(map(str, sections)) or "the file"
    same = "" if field.isascii() else f" ({ascii(name)[1:-1][:100]})"
    text = f"{field}{same} is not a setting; {place} has {', '.join(known)}{did_you_mean(name, known, elsewhere)}"
    return BrokenRule(text, Violation(field, "unknown-setting"))


def _own_rules(error: Any) -> list[BrokenRule]:
    """Return the problems of an error that a validator of this package raised.

    Errors of the search space already name the field.
    """
    field, cause = _field(error), error["ctx"]["error"]
    violations = getattr(cause, "violations", (Violation(code="value-error"),))
    text = str(cause)
    if not field or text.startswith(f"{field}."):
        lines = text.split("\n")
        if len(lines) != len(violations):
            violations = [Violation(line.partition(" ")[0], violations[0].code) for line in lines]
        return [BrokenRule(*each) for each in zip(lines, violations, strict=True)]
    text = f"{field} {text}" if text.startswith(("must", "names", "is ")) else f"{field}: {text}"
    at = ".".join(filter(None, (field, violations[0].field)))
    return [BrokenRule(text, Violation(at, violations[0].code))]


def _model_at(location: Sequence[Any], model: type[BaseModel]) -> Any:
    """Return the pydantic model of the section that contains the field at a location."""
    found: Any = model
    for part in location:
        kinds = found.model_fields[part].annotation
        found = next((kind for kind in get_args(kinds) if hasattr(kind, "model_fields")), kinds)  # section | None
    return found


def _field(error: Any) -> str:
    parts = [part for part in error["loc"] if not _is_union_branch(part) and part != "[key]"]
    if error["type"] == "invalid_key":
        parts[-1:] = ["null" if error["input"] is None else error["input"]]
    return ".".join(printable(str(part), 80) for part in parts)


def _is_union_branch(part: Any) -> bool:
    """Return True if a part of a location is pydantic's name for a branch of a union.

    Examples are ``float`` and ``literal['auto']``.
    """
    return isinstance(part, str) and (
        part in ("float", "int", "str") or part.startswith(("literal[", "constrained-", "dict["))
    )


def holds(raw: Mapping[str, Any], path: str) -> bool:
    """Return True if nested mappings have a value at a dotted path."""
    place: Any = raw
    for part in path.split("."):
        if not (isinstance(place, Mapping) and part in place):
            return False
        place = place[part]
    return True
