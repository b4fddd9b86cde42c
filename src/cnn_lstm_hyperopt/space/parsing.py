"""Functions that read a search space from YAML and check configurations. These functions report all errors together."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cnn_lstm_hyperopt.space.domains import Domain, Scalar
from cnn_lstm_hyperopt.space.parameters import Specs
from cnn_lstm_hyperopt.space.search_space import ARCHITECTURE, ARCHITECTURES, FAMILY, SearchSpace, values_of
from cnn_lstm_hyperopt.space.values import SpaceError, parse_domain, parse_value
from cnn_lstm_hyperopt.utils.text import did_you_mean, printable, shown


def plain(raw: Any, levels: int = 8) -> Any:
    """Convert tuples, NumPy arrays and NumPy numbers to lists and Python numbers.

    Args:
        raw: a search space as passed by a Python program.
        levels: number of nested levels that are converted; deeper values stay unchanged.
    """
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    if levels and isinstance(raw, Mapping):
        return {key: plain(value, levels - 1) for key, value in raw.items()}
    if levels and isinstance(raw, (list, tuple)):
        return [plain(value, levels - 1) for value in raw]
    return raw


def parse_space(raw: Mapping[str, Any] | None, specs: Specs) -> tuple[SearchSpace, list[SpaceError]]:
    """Return the search space in a YAML mapping; parameters that the mapping does not contain keep their default domains.

    The key ``architecture`` selects the default domains.

    Returns:
        The space, and a list of all errors, which is empty if the space is valid.
    """
    given = dict(raw or {})
    architecture = given.pop(ARCHITECTURE, ARCHITECTURES[0])
    errors: list[SpaceError] = []
    if architecture not in ARCHITECTURES:
        field, options = f"search_space.{ARCHITECTURE}", ", ".join(ARCHITECTURES)
        text = f"{field} must be one of {options}, but got {shown(architecture)}{did_you_mean(architecture, ARCHITECTURES)}"
        errors.append(SpaceError(text, "unknown-architecture", field))
        architecture = ARCHITECTURES[0]
    domains: dict[str, Domain] = {name: spec.domain(architecture) for name, spec in specs.items()}
    groups = sorted({name.split(".")[0] for name in specs})
    for group, keys in given.items():
        field = f"search_space.{printable(str(group), 80)}"
        if group not in groups:
            known = [ARCHITECTURE, FAMILY, *groups]
            text = f"{field} is not a group; choose from {', '.join(known)}{did_you_mean(group, known, specs)}"
            errors.append(SpaceError(text, "unknown-group", field))
        elif not isinstance(keys, Mapping):
            text = f"{field} must hold parameter names, but got {shown(keys)}"
            errors.append(SpaceError(text, "not-a-mapping", field))
        else:
            for key, value in keys.items():
                name = f"{group}.{key}"
                if name not in specs:
                    known = [n.split(".")[1] for n in specs if n.startswith(f"{group}.")]
                    errors.append(_unknown(f"search_space.{printable(name, 80)}", group, key, known, specs))
                    continue
                try:
                    domains[name] = parse_domain(specs[name], value)
                except SpaceError as error:
                    errors.append(error.at(f"search_space.{name}"))
    space = SearchSpace(domains, specs, architecture)
    return space, errors or list(_head_errors(space))


def _unknown(field: str, group: str, key: Any, known: list[str], specs: Specs) -> SpaceError:
    text = f"{field} is not a parameter; {group} has {', '.join(known)}{did_you_mean(key, known, specs)}"
    return SpaceError(text, "unknown-parameter", field)


def _head_errors(space: SearchSpace) -> Iterator[SpaceError]:
    """Yield an error for each number of attention heads if the space contains a width that none of its values divides."""
    for name, spec in space.specs.items():
        if spec.divides is None or not space.possible(name):
            continue
        heads = [int(value) for value in values_of(space.domains[name])]
        if 1 in heads:
            continue
        parents = spec.divides.parameters
        for values in itertools.product(*(values_of(space.domains[parent]) for parent in parents)):
            combination = dict(zip(parents, values, strict=True))
            width = space.width(name, combination)
            if width is not None and all(width % head for head in heads):
                setting = ", ".join(f"{k}={v}" for k, v in combination.items())
                field = f"search_space.{name}"
                yield SpaceError(
                    f"{field} must divide the width {width} of {setting}, but none of {shown(heads)} does;"
                    f" add a head count that does, for example 1",
                    "head-count-divides-no-width",
                    field,
                )
                break


def params_errors(params: Mapping[str, Any], needed: Collection[str], specs: Specs) -> list[SpaceError]:
    """Return the errors of a configuration whose values have the form of YAML files.

    Args:
        params: the configuration; each value must be legal, and numbers of attention heads must divide their widths.
        needed: names of parameters that must be present if they are active, unless earlier versions lack them; other parameters
            are optional.
        specs: specifications of all parameters.
    """
    found: dict[str, Scalar] = {}
    errors: list[SpaceError] = []
    for name, raw in params.items():
        if name not in specs:
            field = printable(str(name), 80)
            text = f"{field} is not a parameter{did_you_mean(name, specs)}"
            errors.append(SpaceError(text, "unknown-parameter", field))
            continue
        try:
            found[name] = parse_value(specs[name], raw)
        except SpaceError as error:
            errors.append(error.at(name))
    space = SearchSpace.of(specs)
    needed = [name for name in space.active(found) if name in needed]
    missing = [name for name in needed if name not in params and specs[name].earlier is None]
    errors += [SpaceError(f"{name} is missing", "missing-parameter", name) for name in missing]
    if not errors:
        for name in needed:
            width = space.width(name, found)
            if width is not None and width % int(found[name]):
                text = f"{name} must divide the width {width} of its branch, but got {found[name]}"
                errors.append(SpaceError(text, "head-count-divides-not", name))
    return errors
