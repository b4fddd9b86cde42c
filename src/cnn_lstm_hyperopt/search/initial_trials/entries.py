"""Configurations of a list or of another study, converted to the search space of a study."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.config import Fixed, Params, SearchSpace
from cnn_lstm_hyperopt.errors import ConfigError
from cnn_lstm_hyperopt.models.inputs import GROUPS, STANDARDISE, is_own_flag
from cnn_lstm_hyperopt.search import StudyPlan
from cnn_lstm_hyperopt.search.samplers.random import draw
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.space.values import SpaceError
from cnn_lstm_hyperopt.utils.rng import stream
from cnn_lstm_hyperopt.utils.text import did_you_mean, printable, shown

ORIGIN = "enqueued"
DRAWS = 100
"""Maximum number of random draws of an entry's missing parameters to find a valid configuration within the limits."""


def in_space(params: Params, plan: StudyPlan, index: int) -> dict[str, Scalar] | None:
    """Return the active, searched parameters of a configuration of another study; None if a value is outside the search space.

    Args:
        params: full configuration of the other study.
        plan: plan of this study.
        index: number from which the random values of missing parameters are drawn.
    """
    found = completed(without_dropped(params, plan.space), plan, index)
    return None if isinstance(found, list) else found


def full_configuration(space: SearchSpace, searched: Params) -> dict[str, Any]:
    """Return a trial's parameters and the fixed parameters of its study, in the form of a configuration file."""
    fixed = {name: domain.value for name, domain in space.domains.items() if isinstance(domain, Fixed)}
    params = {**fixed, **searched}
    return {
        name: params[name] if is_own_flag(name) else space.specs[name].readable(params[name])
        for name in space.active(params)
        if name in params
    }


def completed(raw: Any, plan: StudyPlan, index: int) -> dict[str, Scalar] | list[ConfigError]:
    """Return an entry's active, searched parameters, with random values for missing parameters; or the errors of the entry."""
    space = plan.space
    given, faults = _given(raw, space)
    given = _without_idle_switches(given, space)
    parents, impossible = _parents_of(given, space)
    if faults or impossible:
        return faults + impossible
    searched = space.searched()
    legal: dict[str, Scalar] | None = None
    for attempt in range(DRAWS):
        params = _drawn(given, parents, space, stream(plan.seed, index, f"{ORIGIN} {attempt}"))
        found = {name: value for name, value in params.items() if name in searched}
        faults = _head_faults(given, params, space)
        if not faults:
            legal = found
            if plan.allows(found):
                break
        if all(name in given for name in found):
            break  # nothing was drawn, so another draw gives the same
    return faults if legal is None else legal


def _without_idle_switches(given: Params, space: SearchSpace) -> dict[str, Scalar]:
    """Remove inactive switches that are off from a configuration, since an inactive switch is off without being listed.

    For example, trials of earlier versions list ``lstm.skip_connections: false`` also for a single LSTM layer.
    """
    return {
        name: value
        for name, value in given.items()
        if value is not False
        or all(parent not in given or given[parent] in values for parent, values in space.specs[name].when.items())
    }


def without_dropped(raw: Any, space: SearchSpace) -> Any:
    """Return a configuration (``raw``) without the parameters that have no effect if the data have only one task.

    The parameters are removed if the new study fixes them, or if ``raw`` contains the values at which studies of one task fix
    these parameters. Parameters that the earlier version of a study did not have are added. Flags of groups of inputs that are
    off are removed if the new study fixes them; flags of the user's inputs that are on, if the new study has none. The flag for
    standardised windows, which the data decide, is removed if the new study fixes it.
    """
    if isinstance(raw, Mapping):
        raw = {n: value for n, value in raw.items() if n != STANDARDISE or not isinstance(space.domains.get(n), Fixed)}
        groups = {name for name in map("inputs.{}".format, GROUPS) if isinstance(space.domains.get(name), Fixed)}
        own = {name for name, on in raw.items() if is_own_flag(str(name)) and name not in space.domains and on is True}
        raw = space.with_earlier({n: value for n, value in raw.items() if n not in own and (n not in groups or value)})
    dropped = {name: spec.one_task for name, spec in space.specs.items() if spec.one_task is not None}
    of_new = all(space.domains[name] == Fixed(value) for name, value in dropped.items())
    if not isinstance(raw, Mapping) or not (of_new or all(raw.get(name) == value for name, value in dropped.items())):
        return raw
    return {name: value for name, value in raw.items() if name not in dropped}


def _given(raw: Any, space: SearchSpace) -> tuple[dict[str, Scalar], list[ConfigError]]:
    """Return the valid values of an entry as they are stored in a study, and the errors of the invalid values."""
    if not isinstance(raw, Mapping) or not raw:
        text = f"must hold parameters, such as lstm.hidden_dim: 128, but got {shown(raw)}"
        return {}, [ConfigError(text, field="", code="not-parameters")]
    given: dict[str, Scalar] = {}
    faults: list[ConfigError] = []
    seen: set[str] = set()
    for name, value in _named_values(raw, space):
        named = printable(name, 80)
        if name in seen:
            text = f"{named} is a duplicate: it is given both flat and in its group; remove one"
            faults.append(ConfigError(text, field=named, code="duplicate-parameter"))
        elif name in space.domains:
            try:
                given[name] = space.value(name, value)
            except SpaceError as error:
                faults.append(ConfigError(f"{name} {error}", field=name, code=error.violations[0].code))
        elif name in _groups(space):
            text = f"{name} must hold parameter names, but got {shown(value)}"
            faults.append(ConfigError(text, field=name, code="not-parameters"))
        else:
            text = f"{named} is not a parameter; {_suggestion(name, space)}"
            faults.append(ConfigError(text, field=named, code="unknown-parameter"))
        seen.add(name)
    return given, faults


def _named_values(raw: Mapping[Any, Any], space: SearchSpace) -> Iterator[tuple[str, Any]]:
    """Yield the flat parameter names (``lstm.hidden_dim``) of an entry with their values."""
    for key, value in raw.items():
        if isinstance(value, Mapping) and key not in space.domains:
            for inner, below in value.items():
                yield f"{key}.{inner}", below
        else:
            yield str(key), value


def _parents_of(given: Params, space: SearchSpace) -> tuple[dict[str, list[Scalar]], list[ConfigError]]:
    """Return, for each missing parent parameter, the values with which all given parameters are active, and a list of errors."""
    open_values: dict[str, list[Scalar]] = {}
    faults: list[ConfigError] = []
    for name in reversed(list(space.domains)):  # a child before its parents
        if name not in given and name not in open_values:
            continue
        for parent, values in space.specs[name].when.items():
            needed = f"{name} is a parameter only where {parent} is {_any_of(values)}"
            if parent in given:
                if given[parent] not in values:
                    text = f"{needed}, but got {parent}={_shown(given[parent])}; change one of them"
                    faults.append(ConfigError(text, field=name, code="inactive-parameter"))
                continue
            fitting = [v for v in open_values.get(parent, values) if v in values and space.domains[parent].contains(v)]
            if not fitting:
                text = f"{needed}, which the search space excludes; remove it"
                faults.append(ConfigError(text, field=name, code="inactive-parameter"))
            open_values[parent] = fitting
    return open_values, faults[::-1]


def _drawn(
    given: Params, parents: Mapping[str, Sequence[Scalar]], space: SearchSpace, generator: np.random.Generator
) -> dict[str, Scalar]:
    """Return a full configuration: the given parameters, and random values of all other parameters (as in random search)."""
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        if name in given:
            params[name] = given[name]
        elif name in parents:
            params[name] = parents[name][int(generator.integers(len(parents[name])))]
        else:
            params[name] = space.legal(name, draw(space.domains[name], generator), params)
    return params


def _head_faults(given: Params, params: Params, space: SearchSpace) -> list[ConfigError]:
    """Return an error for each given number of attention heads that does not divide the width of its branch."""
    faults = []
    for name in given:
        if space.specs[name].divides is not None and space.legal(name, given[name], params) != given[name]:
            width = space.width(name, params)
            text = f"{name} must divide the width {width} of its branch, but got {given[name]}; change or remove it"
            faults.append(ConfigError(text, field=name, code="heads-do-not-divide-width"))
    return faults


def _suggestion(name: str, space: SearchSpace) -> str:
    """Return a text that suggests a known parameter name instead of an unknown parameter name."""
    group, _, key = name.rpartition(".")
    keys: dict[str, list[str]] = {}  # full names by the part after the group
    for known in space.domains:
        if group not in _groups(space) or known.startswith(f"{group}."):
            keys.setdefault(known.split(".")[1], []).append(known)
    meant = did_you_mean(key, (), (name for names in keys.values() for name in names))
    if meant:
        return meant.removeprefix("; ")
    if group in _groups(space):
        return f"{group} has {', '.join(keys)}"
    return f"its name begins with one of {', '.join(f'{each}.' for each in _groups(space))}"


def _groups(space: SearchSpace) -> list[str]:
    return list(dict.fromkeys(name.split(".")[0] for name in space.domains))


def _any_of(values: Sequence[Scalar]) -> str:
    """Return values as text, such as ``True``, ``'fixed' or 'dynamic'``, or ``2 to 16`` for many numbers."""
    return f"{values[0]} to {values[-1]}" if len(values) > 3 else " or ".join(map(_shown, values))


def _shown(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
