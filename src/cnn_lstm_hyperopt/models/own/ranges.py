"""Functions that read the ranges of a user's family from Python values."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.space.domains import Fixed
from cnn_lstm_hyperopt.space.parameters import Kind, ParameterSpec
from cnn_lstm_hyperopt.space.values import SpaceError, parse_domain
from cnn_lstm_hyperopt.utils.text import shown, shown_name

FIELD = "register_family"
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FORMS = "a range (low, high), choices [a, b, c], {'low': ..., 'high': ..., 'log': True}, or a value"


def family_error(text: str, code: str) -> ConfigError:
    """Return the error of a family that violates a rule; the text begins with the family."""
    return ConfigError(text, field=FIELD, code=code)


def read_ranges(name: str, parameters: Any) -> dict[str, ParameterSpec]:
    """Return the specifications of a family's parameters, by full name such as ``mlp.width``.

    A tuple ``(low, high)`` is a range, a list has choices, and another value is fixed. The dict
    ``{"low": 1e-4, "high": 1e-1, "log": True}`` is a range on a log scale. Numbers with a decimal point give real numbers.

    Raises:
        ConfigError: a name or a range violates a rule.
    """
    if not isinstance(parameters, Mapping) or not parameters:
        raise family_error(
            f"{FIELD}: parameters of {name} must map names to ranges, such as {{'width': [16, 64]}}, but got"
            f" {shown(parameters)}",
            "no-parameters",
        )
    found: dict[str, ParameterSpec] = {}
    for key, given in parameters.items():
        if not isinstance(key, str) or not NAME.fullmatch(key):
            raise family_error(
                f"{FIELD}: a parameter of {name} must have a name of small letters, digits and _, such as width, but got"
                f" {shown(key)}",
                "not-a-name",
            )
        try:
            found[f"{name}.{key}"] = _specification(given)
        except SpaceError as error:
            raise family_error(f"{FIELD}: {name}.{shown_name(key)} {error}", "not-a-range") from error
    return found


def _specification(given: Any) -> ParameterSpec:
    """Return the specification of one parameter; raise SpaceError if its range violates a rule."""
    if isinstance(given, tuple):
        if len(given) != 2:
            raise SpaceError(f"must be {_FORMS}, but got {shown(given)}", "not-a-range")
        given = {"low": given[0], "high": given[1]}
    elif isinstance(given, list):
        given = {"choices": given}
    elif not isinstance(given, Mapping):
        given = {"fixed": given}
    listed = given.get("choices")
    values = listed if isinstance(listed, list) else list(given.values())
    options = tuple(values) if values and all(isinstance(value, str) for value in values) else ()
    spec = ParameterSpec(_kind(given, values), Fixed(0), options=options)
    return replace(spec, default=parse_domain(spec, given))


def _kind(given: Mapping[str, Any], values: list[Any]) -> Kind:
    if values and all(isinstance(value, str) for value in values):
        return "choice"
    numbers = [value for key, value in given.items() if key != "log"] if "low" in given else values
    if numbers and all(isinstance(value, bool) for value in numbers):
        return "flag"
    if all(isinstance(value, int) for value in numbers):
        return "choice" if "choices" in given else "int"
    return "log_float" if given.get("log") else "float"
