"""Reads settings: flags over the YAML file over the defaults, all faults of a file shown together."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cnn_lstm_hyperopt.config.messages import explain, holds
from cnn_lstm_hyperopt.config.schema import Settings
from cnn_lstm_hyperopt.config.search_space import PARAMETERS
from cnn_lstm_hyperopt.config.yaml_reader import dump_yaml, parse_yaml, read_yaml
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.utils.secrets import masked
from cnn_lstm_hyperopt.utils.text import listed, printable, shown

ENVIRONMENT_PREFIX = "CNN_LSTM_HYPEROPT__"


def load_settings(
    base: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    overrides: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    file: Path | None = None,
    flags: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a run: overrides (flags, arguments) over environment over file over defaults.

    Args:
        base: path of a YAML file, or a mapping with the same content; None: the defaults.
        overrides: nested dict that wins over all else, such as ``{"study": {"n_trials": 40}}``.
        environment: variables such as ``CNN_LSTM_HYPEROPT__STUDY__N_TRIALS=40``; None: those of the process.
        file: that ``base`` was read from, if it is no path itself; what is wrong in it is told with its name.
        flags: what overrides are called, such as ``{"study.n_trials": "--n-trials"}``; what is wrong in them is told with it.

    Raises:
        ConfigError: the file can't be read or any setting is wrong; the text lists every fault with its field.
    """
    if isinstance(base, (str, os.PathLike)):
        file = Path(base)
    raw = read_settings(base, "base")
    for name, given in (("overrides", overrides), ("environment", environment)):
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"{name} must be a mapping, but got {shown(given)}")
    tree, variables = _from_environment(os.environ if environment is None else environment)
    with_variables = merge(raw, tree)
    merged = merge(with_variables, overrides or {})
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        given = {path: flag for path, flag in (flags or {}).items() if holds(overrides or {}, tuple(path.split(".")))}
        laid_over = merge(tree, overrides or {})
        in_file, in_variables = _faults(raw), _faults(with_variables)
        lines = _lines(error)
        culprits = []
        for line in lines:
            names = {} if line in in_file else variables if line in in_variables else given
            path = line.partition(" ")[0].rstrip(":")
            culprit = _culprit(line, path, names)
            if file is not None and (line in in_file or not (culprit or holds(laid_over, tuple(path.split("."))))):
                culprit = printable(str(file))
            culprits.append(f"{culprit}: " if culprit else "")
        if len(lines) == 1:
            raise ConfigError(culprits[0] + lines[0]) from error
        head = f"{len(lines)} settings are wrong:"
        if len(set(culprits)) == 1:
            raise ConfigError(listed(culprits[0] + head, lines)) from error
        raise ConfigError(
            listed(head, [culprit + line for culprit, line in zip(culprits, lines, strict=True)])
        ) from error


def read_settings(given: str | os.PathLike[str] | Mapping[str, Any] | None, name: str) -> dict[str, Any]:
    """Return the settings that an argument gives: the content of a YAML file, a mapping, or nothing.

    Args:
        given: path of a YAML file, a mapping of settings, or None.
        name: of the argument, for the error.

    Raises:
        ConfigError: it is neither, or the file can't be read.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, (str, os.PathLike)):
        if not os.fspath(given):
            raise ConfigError(
                f"{name} must be a YAML file or a mapping of settings, but is an empty text; leave it out"
            )
        return read_yaml(Path(given))
    raise ConfigError(f"{name} must be a YAML file or a mapping of settings, but got {shown(given)}")


def _lines(error: ValidationError) -> list[str]:
    return explain(error.errors(include_url=False), Settings, _all_names())


def _faults(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong already without what was laid over it."""
    try:
        Settings.model_validate(raw)
    except ValidationError as error:
        return _lines(error)
    return []


def _culprit(line: str, path: str, names: Mapping[str, str]) -> str:
    """Which of the names (by path) have to do with what is wrong at this path: of several, those of whose setting it tells."""
    exact = [name for place, name in names.items() if f"{path}.".startswith(f"{place}.")]
    within = {place: name for place, name in names.items() if place.startswith(f"{path}.")}
    if not exact and len(within) > 1:
        within = {place: name for place, name in within.items() if re.search(rf"\b{place.split('.')[-1]}\b", line)}
    return " and ".join(exact or within.values())


def merge(base: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``overrides`` laid over it, mapping by mapping; neither is changed.

    A parameter's long form, such as ``{fixed: 64}``, replaces the other one whole. A value of the base that should be a
    mapping and is none stays, so that it is reported; and None leaves the settings of a section as they are.
    """
    merged = dict(base)
    for key, value in overrides.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and not _is_domain(below) and value is None:
            continue
        if not isinstance(value, Mapping) or _is_domain(value) or below is None:
            merged[key] = value
        elif isinstance(below, Mapping):
            merged[key] = merge(below, value)
    return merged


def _from_environment(variables: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings from variables, whose values are read as YAML; and which variable says what, by its path."""
    tree: dict[str, Any] = {}
    names: dict[str, str] = {}
    for name in sorted(variables, key=lambda name: (name.count("__"), name)):  # a section before what is in it
        shown_name = f"the variable {printable(name, 100)}"
        if not name.startswith(ENVIRONMENT_PREFIX):
            _require_both_underscores(name, shown_name)
            continue
        path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        if not all(path):
            raise ConfigError(f"{shown_name} names no setting; write {ENVIRONMENT_PREFIX}STUDY__N_TRIALS, for example")
        if ".".join(path) in names:
            raise ConfigError(f"{names['.'.join(path)]} and {shown_name} name the same setting; unset one of them")
        names[".".join(path)] = shown_name
        try:
            value = parse_yaml(variables[name])
        except ValueError as error:
            raise ConfigError(f"{shown_name} is no valid YAML: {error}") from error
        if value is None and _is_section(path):
            raise ConfigError(
                f"{shown_name} holds nothing, but {'.'.join(path)} is a section; unset it, or name settings, such as"
                " {name: value}"
            )
        *sections, key = path
        place = tree
        for section in sections:
            below = place.setdefault(section, {})
            if not isinstance(below, dict):
                raise ConfigError(f"{shown_name} goes into {section}, which another variable sets to {shown(below)}")
            place = below
        place[key] = value
    return tree, names


def _require_both_underscores(name: str, shown_name: str) -> None:
    """With one underscore it would set nothing, and nobody would notice; names of other variables have one at most."""
    start = ENVIRONMENT_PREFIX.removesuffix("_")
    if name.startswith(start) and "__" in name.removeprefix(start):
        meant = printable(ENVIRONMENT_PREFIX + name.removeprefix(start), 100)
        raise ConfigError(f"{shown_name} must have two underscores behind CNN_LSTM_HYPEROPT; did you mean {meant}?")


def _is_section(path: Sequence[str]) -> bool:
    if path[0] == "search_space":
        return len(path) == 1 or (len(path) == 2 and any(name.startswith(f"{path[1]}.") for name in PARAMETERS))
    return (
        len(path) == 1
        and path[0] in Settings.model_fields
        and hasattr(Settings.model_fields[path[0]].annotation, "model_fields")
    )


def _is_domain(value: Mapping[str, Any]) -> bool:
    return bool(value) and set(value) <= {"fixed", "choices", "low", "high", "log"}


def plain_settings(settings: Settings) -> dict[str, Any]:
    """Return the resolved settings as plain values, with the whole search space and without passwords."""
    plain: dict[str, Any] = json.loads(settings.model_dump_json())
    if (uri := plain["mlflow"]["tracking_uri"]) is not None:
        plain["mlflow"]["tracking_uri"] = masked(uri)
    plain["search_space"] = settings.space.as_dict()
    return plain


def dump_settings(settings: Settings) -> str:
    """Return :func:`plain_settings` as YAML.

    :func:`load_settings` reads it back unchanged, except for a password in MLflow's URI, which is masked.
    """
    return dump_yaml(plain_settings(settings), width=110)


def _all_names() -> Iterator[str]:
    """Every setting and every parameter, by its path; for what was written in the wrong place."""
    for section, field in Settings.model_fields.items():
        for name in getattr(field.annotation, "model_fields", ()):
            yield f"{section}.{name}"
    for name in PARAMETERS:
        yield f"search_space.{name}"
