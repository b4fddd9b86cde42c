"""A whole search space as YAML has it, and a configuration as people write it; all faults are told together."""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cnn_lstm_hyperopt.space.domains import Domain, Scalar
from cnn_lstm_hyperopt.space.parameters import Specs
from cnn_lstm_hyperopt.space.search_space import SearchSpace, values_of
from cnn_lstm_hyperopt.space.values import parse_domain, parse_value
from cnn_lstm_hyperopt.utils.text import did_you_mean, printable, shown


def plain(raw: Any, levels: int = 8) -> Any:
    """Mappings, lists and Python's own numbers for what a Python program may hand over: tuples, NumPy's arrays and numbers.

    Args:
        raw: of a search space.
        levels: how deep; what lies deeper is none of a search space and stays.
    """
    if hasattr(raw, "tolist"):
        raw = raw.tolist()
    if levels and isinstance(raw, Mapping):
        return {key: plain(value, levels - 1) for key, value in raw.items()}
    if levels and isinstance(raw, (list, tuple)):
        return [plain(value, levels - 1) for value in raw]
    return raw


def parse_space(raw: Mapping[str, Any] | None, specs: Specs) -> tuple[SearchSpace, list[str]]:
    """Reads a YAML search space; what it does not mention keeps its default.

    Returns:
        The space, and every fault found (empty when the space is good).
    """
    domains: dict[str, Domain] = {name: spec.default for name, spec in specs.items()}
    faults: list[str] = []
    groups = sorted({name.split(".")[0] for name in specs})
    for group, keys in (raw or {}).items():
        if group not in groups:
            faults.append(
                f"search_space.{printable(str(group), 80)} is not a group; choose from {', '.join(groups)}"
                + did_you_mean(group, groups, specs)
            )
        elif not isinstance(keys, Mapping):
            faults.append(f"search_space.{group} must hold parameter names, but got {shown(keys)}")
        else:
            for key, value in keys.items():
                name = f"{group}.{key}"
                if name not in specs:
                    known = [n.split(".")[1] for n in specs if n.startswith(f"{group}.")]
                    faults.append(
                        f"search_space.{printable(name, 80)} is not a parameter; {group} has {', '.join(known)}"
                        + did_you_mean(key, known, specs)
                    )
                    continue
                try:
                    domains[name] = parse_domain(specs[name], value)
                except ValueError as fault:
                    faults.append(f"search_space.{name} {fault}")
    space = SearchSpace(domains, specs)
    return space, faults or list(_head_faults(space))


def _head_faults(space: SearchSpace) -> Iterator[str]:
    """Every width that a head count may meet needs at least one head count that divides it."""
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
                yield (
                    f"search_space.{name} must divide the width {width} of {setting}, but none of {shown(heads)} does;"
                    f" add a head count that does, for example 1"
                )
                break


def params_faults(params: Mapping[str, Any], needed: Collection[str], specs: Specs) -> list[str]:
    """What is wrong with a configuration as people write it.

    Args:
        params: each value must make sense at all, and head counts must divide their widths.
        needed: names of parameters that must be there as far as they exist; others may.
        specs: of all that there are.
    """
    found: dict[str, Scalar] = {}
    faults: list[str] = []
    for name, raw in params.items():
        if name not in specs:
            faults.append(f"{printable(str(name), 80)} is not a parameter{did_you_mean(name, specs)}")
            continue
        try:
            found[name] = parse_value(specs[name], raw)
        except ValueError as fault:
            faults.append(f"{name} {fault}")
    space = SearchSpace.of(specs)
    needed = [name for name in space.active(found) if name in needed]
    faults += [f"{name} is missing" for name in needed if name not in params]
    if not faults:
        for name in needed:
            width = space.width(name, found)
            if width is not None and width % int(found[name]):
                faults.append(f"{name} must divide the width {width} of its branch, but got {found[name]}")
    return faults
