"""Loader of settings from flags, environment variables, a file and defaults. All errors are reported together."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cnn_lstm_hyperopt.config.environment import environment_settings, is_section
from cnn_lstm_hyperopt.config.messages import BrokenRule, explain, holds
from cnn_lstm_hyperopt.config.profiles import config_path
from cnn_lstm_hyperopt.config.schema import Settings
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.config.yaml_reader import dump_yaml, read_yaml
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import listed, printable, shown


def load_settings(
    base: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """Load the settings of a run.

    Overrides (flags and arguments) take precedence over environment variables, these over the file, and the file over the
    defaults.

    Args:
        base: path of a YAML file, name of a profile such as ``small``, or a mapping with the same content; None: the defaults.
        overrides: nested dict with the highest precedence, such as ``{"study": {"n_trials": 40}}``.
        environment: environment variables such as ``CNN_LSTM_HYPEROPT__STUDY__N_TRIALS=40``; None: those of the process.
        file: file from which ``base`` was read, if ``base`` is not a path. The text of an error starts with the file's name.
        flags: flags by the path of their setting, such as ``{"study.n_trials": "--n-trials"}``. The text of an error starts
            with the flag.

    Raises:
        ConfigError: the file can't be read or a setting is wrong; the text lists every error with its field.
    """
    if isinstance(base, (str, os.PathLike)) and os.fspath(base):
        file = base = config_path(base, "--config")
    raw = read_settings(base, "base")
    for name, given in (("overrides", overrides), ("environment", environment)):
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"{name} must be a mapping, but got {shown(given)}", field=name, code="not-a-mapping")
    tree, variables = environment_settings(os.environ if environment is None else environment)
    with_variables = merge(raw, tree)
    merged = merge(with_variables, overrides or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        given = {path: flag for path, flag in (flags or {}).items() if holds(overrides or {}, path)}
        in_file, in_variables = _problems_of(raw), _problems_of(with_variables)
        above_file = merge(tree, overrides or {})
        problems, origins = _problems(error), []
        for problem in problems:
            names = {} if problem in in_file else variables if problem in in_variables else given
            path = problem.text.partition(" ")[0].rstrip(":")
            origin = _origin(problem.text, path, names)
            if file is not None and (problem in in_file or not (origin or holds(above_file, path))):
                origin = printable(str(file))
            origins.append(f"{origin}: " if origin else "")
        text = _report([problem.text for problem in problems], origins)
        raise ConfigError(text, violations=[problem.violation for problem in problems]) from None  # the text has all


def _report(lines: Sequence[str], origins: Sequence[str]) -> str:
    """Return the text of an error with a line for each problem.

    A line begins with the flag, variable or file that has the problem.

    If all problems have the same origin (flag, variable or file), the origin is named only once.
    """
    if len(lines) == 1:
        return origins[0] + lines[0]
    head = f"{len(lines)} settings are wrong:"
    if len(set(origins)) == 1:
        return listed(origins[0] + head, lines)
    return listed(head, [origin + line for origin, line in zip(origins, lines, strict=True)])


def read_settings(given: str | os.PathLike[str] | Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    """Return the settings that an argument gives: the content of a YAML file, a mapping, or no settings.

    Args:
        given: path of a YAML file, name of a profile, a mapping of settings, or None.
        name: name of the argument, for the text of the error.

    Raises:
        ConfigError: the argument has another type, or the file can't be read.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, (str, os.PathLike)):
        if not os.fspath(given):
            text = f"{name} must be a YAML file or a mapping of settings, but is an empty text; leave it out"
            raise ConfigError(text, field=name, code="empty-path")
        return read_yaml(config_path(given, name))
    raise ConfigError(
        f"{name} must be a YAML file or a mapping of settings, but got {shown(given)}", field=name, code="not-settings"
    )


def _problems(error: ValidationError) -> list[BrokenRule]:
    return explain(error.errors(include_url=False), Settings, _all_names())


def _problems_of(raw: Mapping[str, Any]) -> list[BrokenRule]:
    """Return the problems of settings that have one origin, such as the file, when they are checked alone."""
    try:
        Settings.model_validate(raw)
    except ValidationError as error:
        return _problems(error)
    return []


def _origin(line: str, path: str, names: Mapping[str, str]) -> str:
    """Return the flags or variables that set the value at ``path`` and that a line of an error is about.

    ``names`` has the flags or variables by the path of their setting.
    """
    exact = [name for place, name in names.items() if f"{path}.".startswith(f"{place}.")]
    within = {place: name for place, name in names.items() if place.startswith(f"{path}.")}
    if not exact and len(within) > 1:
        within = {place: name for place, name in within.items() if re.search(rf"\b{place.split('.')[-1]}\b", line)}
    return " and ".join(exact or within.values())


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any], path: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a copy of ``base`` in which ``overrides`` replace single values of nested mappings.

    A parameter's long form, such as ``{fixed: 64}``, replaces the value of ``base`` completely. If a section of ``base`` is
    not a mapping, it is kept and later reported as an error. If an override of a section is None, the section stays
    unchanged. ``path`` is the path of both mappings in the settings.
    """
    merged = dict(base)
    for key, value in overrides.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and not _is_domain(below) and value is None:
            continue
        if not isinstance(value, Mapping):
            merged[key] = value
        elif isinstance(below, Mapping) and not _is_domain(value):
            merged[key] = merge(below, value, (*path, key))
        elif below is None or isinstance(below, Mapping) or not is_section((*path, key)):
            merged[key] = value
    return merged


def _is_domain(value: Mapping[str, Any]) -> bool:
    return bool(value) and set(value) <= {"fixed", "choices", "low", "high", "log"}


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Return the resolved settings as plain values. The values include the whole search space and no passwords."""
    plain: dict[str, Any] = json.loads(settings.model_dump_json())
    if (uri := plain["mlflow"]["tracking_uri"]) is not None:
        plain["mlflow"]["tracking_uri"] = masked(uri)
    return plain


def dump_settings(settings: Settings) -> str:
    """Return :func:`plain_settings` as YAML.

    :func:`load_settings` reads the same settings from this YAML. Only a password in MLflow's URI differs, because it is masked.
    """
    return dump_yaml(plain_settings(settings), width=110)


def _all_names() -> Iterator[str]:
    """Yield the path of every setting and every parameter, for suggestions in error texts."""
    for section, field in Settings.model_fields.items():
        for name in getattr(field.annotation, "model_fields", ()):
            yield f"{section}.{name}"
    for name in PARAMETERS:
        yield f"search_space.{name}"
