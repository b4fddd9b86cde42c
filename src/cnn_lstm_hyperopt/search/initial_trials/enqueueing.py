"""Configurations that a user begins a study with: a list in a file, a ``results.json``, or an earlier study's front."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.config import Fixed, Params, SearchSpace, load_settings, readable
from cnn_lstm_hyperopt.config.yaml_reader import read_tree
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, STUDY_FILE
from cnn_lstm_hyperopt.search import (
    SkillThreshold,
    Start,
    StudyPlan,
    StudyStorage,
    TrialRecord,
    read_description,
    reported_front,
    study_space,
)
from cnn_lstm_hyperopt.search.samplers.random import draw
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.utils.rng import stream
from cnn_lstm_hyperopt.utils.text import did_you_mean, listed, printable, shown

FLAG = "--enqueue"
ORIGIN = "enqueued"
MOST_ENTRIES = 10_000
DRAWS = 100
"""How often what an entry leaves open is drawn at most, until the whole is legal and keeps the limits."""


@dataclass(frozen=True)
class Enqueued:
    """What a file or an earlier study gives to begin with.

    Attributes:
        starts: complete configurations, in its order.
        warnings: what was left out of it and why, a sentence each.
    """

    starts: tuple[Start, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """Configurations as they were found.

    Attributes:
        entries: what to call each (``entry 2``, ``rank 1``), and what it holds.
        written: whether a person wrote them for this study: then a value outside its space is a mistake.
    """

    entries: Sequence[tuple[str, Any]]
    written: bool


def read_enqueued(path: Path, plan: StudyPlan) -> Enqueued:
    """Reads configurations for a study; what one leaves open is drawn, the same each time for a seed and a place in the list.

    Args:
        path: a YAML or JSON file with a list of configurations, each flat (``lstm.hidden_dim: 64``) or in groups like those of
            the ``search_space`` section; a ``results.json``, whose ``best_trials`` are taken; or the directory of a study, whose
            front is taken by rank.
        plan: of the study.

    Raises:
        ConfigError: it can't be read, or entries of a list are wrong; the text has a line for every fault.
    """
    source = _study_front(path) if path.is_dir() else _file(path)
    if len(source.entries) > MOST_ENTRIES:
        raise ConfigError(
            f"{FLAG} {printable(str(path))} holds {len(source.entries)} configurations; leave {MOST_ENTRIES} at most"
        )
    taken: dict[frozenset[tuple[str, Scalar]], Params] = {}
    outside: list[str] = []
    beyond: list[str] = []
    same: list[str] = []
    faults: list[str] = []
    for index, (name, raw) in enumerate(source.entries):
        found = _completed(raw if source.written else _without_dropped(raw, plan.space), plan, index)
        if isinstance(found, list):
            outside.append(name)
            faults += [f"{name}: {fault}" for fault in found]
        elif not plan.allows(found):
            beyond.append(name)
        elif (key := frozenset(found.items())) in taken:
            same.append(name)
        else:
            taken[key] = found
    if source.written and faults:
        head = f"{FLAG} {printable(str(path))}: "
        raise ConfigError(head + faults[0] if len(faults) == 1 else listed(f"{head}{len(faults)} faults:", faults))
    warnings = [
        f"{FLAG} {path}: {text}"
        for names, text in (
            (
                outside,
                f"{len(outside)} of {len(source.entries)} configurations lie outside the search space and are left out; the"
                f" first fault is {faults[0] if faults else ''}",
            ),
            (beyond, f"{_some(beyond)} left out: predicted to exceed the limits of a trial"),
            (same, f"{_some(same)} left out: the same as an earlier one"),
        )
        if names
    ]
    return Enqueued(tuple(Start(params, ORIGIN) for params in taken.values()), tuple(warnings))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


# ---------------------------------------------------------------------- what is there


def _file(path: Path) -> _Source:
    tree = read_tree(path, FLAG)
    if isinstance(tree, Mapping) and "best_trials" in tree:
        return _best_trials(path, tree["best_trials"])
    if not isinstance(tree, list) or not tree:
        what = "an empty list" if tree == [] else "nothing" if tree is None else type(tree).__name__
        raise ConfigError(
            f"{FLAG} {printable(str(path))} must hold"
            " a list of configurations, such as [{cnn.num_filters: 64, lstm.hidden_dim: 128}], or be a"
            f" results.json, but holds {what}"
        )
    return _Source([(f"entry {number}", raw) for number, raw in enumerate(tree, start=1)], written=True)


def _best_trials(path: Path, trials: Any) -> _Source:
    if not isinstance(trials, list) or not all(isinstance(trial, Mapping) and "params" in trial for trial in trials):
        raise ConfigError(f"{FLAG} {path}: best_trials must be a list of trials with params, as a results.json has it")
    if not trials:
        raise ConfigError(f"{FLAG} {path} has no best_trials, so there is nothing to begin with; leave out {FLAG}")
    return _Source([(f"rank {rank}", trial["params"]) for rank, trial in enumerate(trials, start=1)], written=False)


def _study_front(save_dir: Path) -> _Source:
    if not (save_dir / STUDY_FILE).is_file() or not (save_dir / CONFIG_FILE).is_file():
        raise ConfigError(
            f"{FLAG} {save_dir} is a directory without {STUDY_FILE} and {CONFIG_FILE}; name one with a study, or a file"
        )
    try:
        front = _front_of(save_dir / STUDY_FILE)
    except SaveDirError as error:
        text = str(error).replace("choose another --save-dir", f"name another study, or leave out {FLAG}")
        raise ConfigError(f"{FLAG} {save_dir}: {text}") from error
    if not front:
        raise ConfigError(
            f"{FLAG} {save_dir}: no trial of that study is complete, so there is nothing to begin with; leave out {FLAG}"
        )
    space = study_space(load_settings(save_dir / CONFIG_FILE, environment={}), read_description(save_dir))
    entries = [(f"rank {rank}", _whole(space, record.params)) for rank, record in enumerate(front, start=1)]
    return _Source(entries, written=False)


def _front_of(path: Path) -> Sequence[TrialRecord]:
    storage = StudyStorage(path)
    try:
        skill = SkillThreshold(**storage.attribute("skill_gate"))
        _ = skill.passes(0.0), skill.score_range  # of a known metric, with numbers
        return reported_front(storage.records(), skill)
    except (TypeError, ValueError, LookupError) as error:
        raise SaveDirError(
            f"{path} is damaged: its skill_gate tells no score to beat; choose another --save-dir"
        ) from error
    finally:
        storage.close()


def _whole(space: SearchSpace, searched: Params) -> dict[str, Any]:
    """A trial's parameters with those that its study had fixed, as people write them."""
    fixed = {name: domain.value for name, domain in space.domains.items() if isinstance(domain, Fixed)}
    params = {**fixed, **searched}
    return readable({name: params[name] for name in space.active(params) if name in params})


# ---------------------------------------------------------------------- one entry


def _completed(raw: Any, plan: StudyPlan, index: int) -> dict[str, Scalar] | list[str]:
    """The active, searched parameters of an entry; or all that is wrong with it."""
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
            break  # nothing was drawn, so that drawing again is no use
    return faults if legal is None else legal


def _without_idle_switches(given: Params, space: SearchSpace) -> dict[str, Scalar]:
    """Return an entry without switches that are off and do not exist in it, since off is what counts there anyway.

    An entry of a trial of an earlier version has ``lstm.skip_connections: false`` beside a single layer, for example.
    """
    return {
        name: value
        for name, value in given.items()
        if value is not False
        or all(parent not in given or given[parent] in values for parent, values in space.specs[name].when.items())
    }


def _without_dropped(raw: Any, space: SearchSpace) -> Any:
    """Return an entry without the parameters that its own study or the new one drops because its data have one task."""
    dropped = {name: spec.one_task for name, spec in space.specs.items() if spec.one_task is not None}
    of_new = all(space.domains[name] == Fixed(value) for name, value in dropped.items())
    if not isinstance(raw, Mapping) or not (of_new or all(raw.get(name) == value for name, value in dropped.items())):
        return raw
    return {name: value for name, value in raw.items() if name not in dropped}


def _given(raw: Any, space: SearchSpace) -> tuple[dict[str, Scalar], list[str]]:
    """The values that an entry names, as they are stored, and what is wrong with the others."""
    if not isinstance(raw, Mapping) or not raw:
        return {}, [f"must hold parameters, such as lstm.hidden_dim: 128, but got {shown(raw)}"]
    given: dict[str, Scalar] = {}
    faults: list[str] = []
    seen: set[str] = set()
    for name, value in _named_values(raw, space):
        if name in seen:
            faults.append(f"{printable(name, 80)} is given twice, flat and in its group; leave one of them out")
        elif name in space.domains:
            try:
                given[name] = space.value(name, value)
            except ValueError as fault:
                faults.append(f"{name} {fault}")
        elif name in _groups(space):
            faults.append(f"{name} must hold parameter names, but got {shown(value)}")
        else:
            faults.append(f"{printable(name, 80)} is not a parameter; {_suggestion(name, space)}")
        seen.add(name)
    return given, faults


def _named_values(raw: Mapping[Any, Any], space: SearchSpace) -> Iterator[tuple[str, Any]]:
    """Names and values, those of groups with the group's name before them."""
    for key, value in raw.items():
        if isinstance(value, Mapping) and key not in space.domains:
            for inner, below in value.items():
                yield f"{key}.{inner}", below
        else:
            yield str(key), value


def _parents_of(given: Params, space: SearchSpace) -> tuple[dict[str, list[Scalar]], list[str]]:
    """For parents that are not given: the values with which all that is given exists; and where there are none, why."""
    open_values: dict[str, list[Scalar]] = {}
    faults: list[str] = []
    for name in reversed(list(space.domains)):  # a child before its parents
        if name not in given and name not in open_values:
            continue
        for parent, values in space.specs[name].when.items():
            needed = f"{name} is a parameter only where {parent} is {_any_of(values)}"
            if parent in given:
                if given[parent] not in values:
                    faults.append(f"{needed}, but got {parent}={_shown(given[parent])}; change one of them")
                continue
            fitting = [v for v in open_values.get(parent, values) if v in values and space.domains[parent].contains(v)]
            if not fitting:
                faults.append(f"{needed}, which the search space does not have; leave it out")
            open_values[parent] = fitting
    return open_values, faults[::-1]


def _drawn(
    given: Params, parents: Mapping[str, Sequence[Scalar]], space: SearchSpace, generator: np.random.Generator
) -> dict[str, Scalar]:
    """A whole configuration with what is given; the rest as random search draws it."""
    params: dict[str, Scalar] = {}
    for name in space.active(params):
        if name in given:
            params[name] = given[name]
        elif name in parents:
            params[name] = parents[name][int(generator.integers(len(parents[name])))]
        else:
            params[name] = space.legal(name, draw(space.domains[name], generator), params)
    return params


def _head_faults(given: Params, params: Params, space: SearchSpace) -> list[str]:
    """Head counts that are given and do not divide their width in this configuration."""
    return [
        f"{name} must divide the width {space.width(name, params)} of its branch, but got {given[name]}; change it, or leave it"
        " out"
        for name in given
        if space.specs[name].divides is not None and space.legal(name, given[name], params) != given[name]
    ]


def _suggestion(name: str, space: SearchSpace) -> str:
    """What may have been meant by a name that is none."""
    group, _, key = name.rpartition(".")
    keys: dict[str, list[str]] = {}  # names by what stands behind their group
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
    """``True``, ``'fixed' or 'dynamic'``, and of many numbers ``2 to 16``."""
    return f"{values[0]} to {values[-1]}" if len(values) > 3 else " or ".join(map(_shown, values))


def _shown(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
