"""Reads settings: flags over the YAML file over the defaults, all faults of a file shown together."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cnn_lstm_hyperopt.config.settings import Settings
from cnn_lstm_hyperopt.exceptions import ConfigError

ENVIRONMENT_PREFIX = "CNN_LSTM_HYPEROPT__"


def load_settings(
    base: Path | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a run: overrides (flags, arguments) over environment over file over defaults.

    Args:
        base: a YAML file, or what one would hold; None: the defaults.
        overrides: nested dict that wins over all else, such as ``{"study": {"n_trials": 40}}``.
        environment: variables such as ``CNN_LSTM_HYPEROPT__STUDY__N_TRIALS=40``; None: those of the process.

    Raises:
        ConfigError: the file can't be read or any setting is wrong; the text lists every fault with its field.
    """
    raw = read_yaml(base) if isinstance(base, Path) else dict(base or {})
    variables = os.environ if environment is None else environment
    merged = merge(merge(raw, _from_environment(variables)), overrides or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        faults = error.errors()
        lines = _explain_all(faults)
        in_file = isinstance(base, Path) and any(_holds(raw, fault["loc"]) for fault in faults)
        where = f"{base}: " if in_file else ""
        head = f"{where}{len(lines)} settings are wrong:\n  " if len(lines) > 1 else where
        raise ConfigError(head + "\n  ".join(lines)) from error


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises:
        ConfigError: the file is missing, is no YAML, or holds something else.
    """
    raw = read_tree(path, "--config")
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(
            f"--config {path} must hold sections such as study: and data:, but holds {type(raw).__name__}"
        )
    return raw


def read_tree(path: Path, flag: str) -> Any:
    """What a YAML file holds, or, by its name, a JSON file; plain values only.

    Raises:
        ConfigError: the file can't be read or is no such file; the text begins with the flag that named it.
    """
    language = "JSON" if path.suffix.lower() == ".json" else "YAML"
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text) if language == "JSON" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{flag} {path} can't be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{flag} {path} is no UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2001-13-01 is a ValueError
        raise ConfigError(f"{flag} {path} is no valid {language}: {' '.join(str(error).split())}") from error


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
        if not name.startswith(ENVIRONMENT_PREFIX):
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if not all([*sections, key]):
            raise ConfigError(
                f"the variable {name} names no setting; write {ENVIRONMENT_PREFIX}STUDY__N_TRIALS, for example"
            )
        place = tree
        for section in sections:
            below = place.setdefault(section, {})
            if not isinstance(below, dict):
                raise ConfigError(f"the variable {name} goes into {section}, which another variable sets to {below!r}")
            place = below
        try:
            place[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"the variable {name} is no valid YAML: {' '.join(str(error).split())}") from error
    return tree


def _is_domain(value: Mapping[str, Any]) -> bool:
    return bool(value) and set(value) <= {"fixed", "choices", "low", "high", "log"}


def dump_settings(settings: Settings) -> str:
    """The resolved settings as YAML, with the whole search space; :func:`load_settings` reads it back unchanged."""
    plain = json.loads(settings.model_dump_json())
    plain["search_space"] = settings.space.as_dict()
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)


def _explain_all(faults: Sequence[Any]) -> list[str]:
    """A line for each fault; the branches of a union that failed for one field are one line."""
    lines: list[str] = []
    by_field: dict[str, list[Any]] = {}
    for fault in faults:
        by_field.setdefault(_field(fault), []).append(fault)
    for same in by_field.values():
        plain = [fault for fault in same if fault["type"] not in ("value_error", "extra_forbidden")]
        for fault in same:
            if fault not in plain:
                lines += _explain(fault)
        if plain:
            rules = " or ".join(fault["msg"][0].lower() + fault["msg"][1:] for fault in plain)
            value = plain[0].get("input")
            lines.append(f"{_field(plain[0])}: {rules}, but got {'nothing' if value is None else repr(value)}")
    return lines


def _explain(fault: Any) -> list[str]:
    """A fault that a rule of ours found, or a setting that is not there."""
    field = _field(fault)
    if fault["type"] == "extra_forbidden":
        known = _known_keys(fault["loc"])
        return [f"{field} is not a setting; {'.'.join(map(str, fault['loc'][:-1])) or 'the file'} has {known}"]
    text = str(fault["ctx"]["error"])
    if not field or text.startswith(field):
        return text.split("\n")
    return [f"{field} {text}" if text.startswith(("must", "names")) else f"{field}: {text}"]


def _field(fault: Any) -> str:
    return ".".join(str(part) for part in fault["loc"] if not _is_union_branch(part))


def _is_union_branch(part: Any) -> bool:
    """Pydantic names the branch of a union that failed (``float``, ``literal['auto']``); users don't know it."""
    return isinstance(part, str) and (part in ("float", "int", "str") or part.startswith(("literal[", "constrained-")))


def _holds(raw: Mapping[str, Any], location: tuple[Any, ...]) -> bool:
    """Whether the file itself says something at this place."""
    place: Any = raw
    for part in location:
        if _is_union_branch(part):
            continue
        if not isinstance(place, Mapping) or part not in place:
            return False
        place = place[part]
    return True


def _known_keys(location: tuple[Any, ...]) -> str:
    model: Any = Settings
    for part in location[:-1]:
        model = model.model_fields[part].annotation
    return ", ".join(model.model_fields)
