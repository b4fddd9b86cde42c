"""Reads settings: flags over the YAML file over the defaults, all faults of a file shown together."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cnn_lstm_hyperopt.config.settings import Settings
from cnn_lstm_hyperopt.exceptions import ConfigError

ENVIRONMENT_PREFIX = "CNN_LSTM_HYPEROPT__"


def load_settings(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a run: overrides (flags) over environment over file over defaults.

    Args:
        path: a YAML file; None: the defaults.
        overrides: nested dict that wins over all else, such as ``{"study": {"n_trials": 40}}``.
        environment: variables such as ``CNN_LSTM_HYPEROPT__STUDY__N_TRIALS=40``; None: those of the process.

    Raises:
        ConfigError: the file can't be read or any setting is wrong; the text lists every fault with its field.
    """
    raw = read_yaml(path) if path is not None else {}
    variables = os.environ if environment is None else environment
    merged = merge(merge(raw, _from_environment(variables)), overrides or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        lines = [line for fault in error.errors() for line in _explain(fault)]
        where = f"{path}: " if path is not None else ""
        head = f"{where}{len(lines)} settings are wrong:\n  " if len(lines) > 1 else where
        raise ConfigError(head + "\n  ".join(lines)) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is no YAML, or holds something else.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--config {path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--config {path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"--config {path} is no valid YAML: {reason}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(
            f"--config {path} must hold sections such as study: and data:, but holds {type(raw).__name__}"
        )
    return raw


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``overrides`` laid over it, mapping by mapping; neither is changed.

    A parameter's long form, such as ``{fixed: 64}``, replaces the other one whole. A value of the base that should be a
    mapping and is none stays, so that it is reported.
    """
    merged = dict(base)
    for key, value in overrides.items():
        below = merged.get(key)
        if not isinstance(value, Mapping) or _is_domain(value) or below is None:
            merged[key] = value
        elif isinstance(below, Mapping):
            merged[key] = merge(below, value)
    return merged


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Settings from variables; their values are read as YAML."""
    tree: dict[str, Any] = {}
    for name, text in variables.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            try:
                value = yaml.safe_load(text)
            except yaml.YAMLError as error:
                raise ConfigError(f"the variable {name} is no valid YAML: {' '.join(str(error).split())}") from error
            for part in reversed(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")):
                value = {part: value}
            tree = merge(tree, value)
    return tree


def _is_domain(value: Mapping[str, Any]) -> bool:
    return bool(value) and set(value) <= {"fixed", "choices", "low", "high", "log"}


def dump_settings(settings: Settings) -> str:
    """The resolved settings as YAML, with the whole search space; :func:`load_settings` reads it back unchanged."""
    plain = json.loads(settings.model_dump_json())
    plain["search_space"] = settings.space.as_dict()
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)


def _explain(fault: Any) -> list[str]:
    """One pydantic fault as lines that name field, rule and value."""
    field = ".".join(str(part) for part in fault["loc"] if not _is_union_branch(part))
    value = fault.get("input")
    kind = fault["type"]
    if kind == "value_error":
        text = str(fault["ctx"]["error"])
        if not field or text.startswith(field):
            return text.split("\n")
        return [f"{field} {text}" if text.startswith(("must", "names")) else f"{field}: {text}"]
    if kind == "extra_forbidden":
        known = _known_keys(fault["loc"])
        return [f"{field} is not a setting; {'.'.join(map(str, fault['loc'][:-1])) or 'the file'} has {known}"]
    rule = fault["msg"][0].lower() + fault["msg"][1:]
    shown = "nothing" if value is None else repr(value)
    return [f"{field}: {rule}, but got {shown}"]


def _is_union_branch(part: Any) -> bool:
    """Pydantic names the branch of a union that failed (``float``, ``literal['auto']``); users don't know it."""
    return isinstance(part, str) and (part in ("float", "int", "str") or part.startswith("literal["))


def _known_keys(location: tuple[Any, ...]) -> str:
    model: Any = Settings
    for part in location[:-1]:
        model = model.model_fields[part].annotation
    return ", ".join(model.model_fields)
