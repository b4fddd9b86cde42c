"""Reader of settings in environment variables, such as ``CNN_LSTM_HYPEROPT__STUDY__N_TRIALS=40``."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnn_lstm_hyperopt.config.schema import Settings
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.config.yaml_reader import parse_yaml
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.text import printable, shown

ENVIRONMENT_PREFIX = "CNN_LSTM_HYPEROPT__"


def environment_settings(variables: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the settings that environment variables set. The value of each variable is read as YAML.

    Returns:
        The settings as a nested dict, and for messages a dict from the path of each setting to the name of its variable.

    Raises:
        ConfigError: a variable names no setting, its value is not valid YAML, or it contradicts another variable.
    """
    tree: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name in sorted(variables, key=lambda name: (name.count("__"), name)):  # a section before its settings
        shown_name = f"the variable {printable(name, 100)}"
        if not name.startswith(ENVIRONMENT_PREFIX):
            _require_both_underscores(name, shown_name)
            continue
        path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if not all(path):
            text = f"{shown_name} names no setting; write {ENVIRONMENT_PREFIX}STUDY__N_TRIALS, for example"
            raise ConfigError(text, field=name, code="no-setting")
        if ".".join(path) in names:
            text = f"{names['.'.join(path)]} and {shown_name} name the same setting; unset one of them"
            raise ConfigError(text, field=name, code="duplicate-variable")
        names[".".join(path)] = shown_name
        try:
            value = parse_yaml(variables[name])
        except ValueError as error:
            raise ConfigError(f"{shown_name} is not valid YAML: {error}", field=name, code="not-yaml") from error
        if value is None and is_section(path):
            text = (
                f"{shown_name} is empty, but {'.'.join(path)} is a section; unset it, or name settings: {{name: value}}"
            )
            raise ConfigError(text, field=name, code="empty-section")
        *sections, key = path
        place = tree
        for section in sections:
            below = place.setdefault(section, {})
            if not isinstance(below, dict):
                text = f"{shown_name} belongs to {section}, which another variable sets to {shown(below)}"
                raise ConfigError(text, field=name, code="variables-contradict")
            place = below
        place[key] = value
    return tree, names


def _require_both_underscores(name: str, shown_name: str) -> None:
    """Raise an error for a variable with one underscore after the prefix instead of two, because it would set nothing."""
    start = ENVIRONMENT_PREFIX.removesuffix("_")
    if name.startswith(start) and "__" in name.removeprefix(start):
        meant = printable(ENVIRONMENT_PREFIX + name.removeprefix(start), 100)
        text = f"{shown_name} must have two underscores after CNN_LSTM_HYPEROPT; did you mean {meant}?"
        raise ConfigError(text, field=name, code="one-underscore")


def is_section(path: Sequence[Any]) -> bool:
    """Return True if a path names a section of the settings, or a group of the search space."""
    if path[0] == "search_space":
        return len(path) == 1 or (len(path) == 2 and any(name.startswith(f"{path[1]}.") for name in PARAMETERS))
    return (
        len(path) == 1
        and path[0] in Settings.model_fields
        and hasattr(Settings.model_fields[path[0]].annotation, "model_fields")
    )
