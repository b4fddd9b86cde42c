"""Reads settings: flags over the YAML file over the defaults, all faults of a file shown together."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from cnn_lstm_hyperopt.config.faults import explain, holds, listed, printable, shown
from cnn_lstm_hyperopt.config.reading import parse_yaml, read_yaml
from cnn_lstm_hyperopt.config.settings import Settings
from cnn_lstm_hyperopt.config.space import PARAMETERS
from cnn_lstm_hyperopt.exceptions import ConfigError

ENVIRONMENT_PREFIX = "CNN_LSTM_HYPEROPT__"


def load_settings(
    base: Path | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
) -> Settings:
    """The settings of a run: overrides (flags, arguments) over environment over file over defaults.

    Args:
        base: a YAML file, or what one would hold; None: the defaults.
        overrides: nested dict that wins over all else, such as ``{"study": {"n_trials": 40}}``.
        environment: variables such as ``CNN_LSTM_HYPEROPT__STUDY__N_TRIALS=40``; None: those of the process.
        file: that ``base`` was read from, if it is no path itself; what is wrong in it is told with its name.

    Raises:
        ConfigError: the file can't be read or any setting is wrong; the text lists every fault with its field.
    """
    file = base if isinstance(base, Path) else file
    raw = read_yaml(base) if isinstance(base, Path) else dict(base or {})
    variables = os.environ if environment is None else environment
    merged = merge(merge(raw, _from_environment(variables)), overrides or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        lines = explain(faults, Settings, _all_names())
        in_file = file is not None and any(holds(raw, fault["loc"]) for fault in faults)
        where = f"{printable(str(file))}: " if in_file else ""
        if len(lines) == 1:
            raise ConfigError(where + lines[0]) from error
        raise ConfigError(listed(f"{where}{len(lines)} settings are wrong:", lines)) from error


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
        shown_name = printable(name, 100)
        if not all([*sections, key]):
            raise ConfigError(
                f"the variable {shown_name} names no setting; write {ENVIRONMENT_PREFIX}STUDY__N_TRIALS, for example"
            )
        place = tree
        for section in sections:
            below = place.setdefault(section, {})
            if not isinstance(below, dict):
                raise ConfigError(
                    f"the variable {shown_name} goes into {section}, which another variable sets to {shown(below)}"
                )
            place = below
        try:
            place[key] = parse_yaml(text)
        except ValueError as error:
            raise ConfigError(f"the variable {shown_name} is no valid YAML: {error}") from error
    return tree


def _is_domain(value: Mapping[str, Any]) -> bool:
    return bool(value) and set(value) <= {"fixed", "choices", "low", "high", "log"}


def dump_settings(settings: Settings) -> str:
    """The resolved settings as YAML, with the whole search space; :func:`load_settings` reads it back unchanged."""
    plain = json.loads(settings.model_dump_json())
    plain["search_space"] = settings.space.as_dict()
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=110)


def _all_names() -> Iterator[str]:
    """Every setting and every parameter, by its path; for what was written in the wrong place."""
    for section, field in Settings.model_fields.items():
        for name in getattr(field.annotation, "model_fields", ()):
            yield f"{section}.{name}"
    for name in PARAMETERS:
        yield f"search_space.{name}"
