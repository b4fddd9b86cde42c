"""First trials of a study, read from a file that the user chooses: a list, a ``results.json`` or an earlier study's front."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnn_lstm_hyperopt.config import Fixed, Params, SearchSpace, load_settings, readable
from cnn_lstm_hyperopt.config.yaml_reader import read_tree
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
from cnn_lstm_hyperopt.models.inputs import GROUPS, is_own_flag
from cnn_lstm_hyperopt.run_dir.paths import CONFIG_FILE, STUDY_FILE
from cnn_lstm_hyperopt.search import (
    Database,
    InitialTrial,
    SkillThreshold,
    StudyPlan,
    StudyStorage,
    TrialRecord,
    database_in,
    read_description,
    reported_front,
    study_space,
)
from cnn_lstm_hyperopt.search.samplers.random import draw
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.space.values import SpaceError
from cnn_lstm_hyperopt.utils.rng import stream
from cnn_lstm_hyperopt.utils.text import did_you_mean, listed, printable, shown

FLAG = "--enqueue"
ORIGIN = "enqueued"
MAX_ENTRIES = 10_000
DRAWS = 100
"""Maximum number of random draws of an entry's missing parameters to find a valid configuration within the limits."""


@dataclass(frozen=True)
class Enqueued:
    """First trials read from a file or an earlier study.

    Attributes:
        starts: full configurations, in the order of the file or of the earlier study's front.
        warnings: sentences about entries that were skipped, one sentence for each reason.
    """

    starts: tuple[InitialTrial, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """Configurations as read from a source, before they are checked.

    Attributes:
        entries: pairs of a label (``entry 2``, ``rank 1``) and a configuration.
        written: True if a person wrote the configurations for this study. A value outside the search space is then an error.
    """

    entries: Sequence[tuple[str, Any]]
    written: bool


def read_enqueued(path: Path, plan: StudyPlan) -> Enqueued:
    """Read the first trials of a study.

    Missing parameters are drawn at random. The draws depend only on the study's seed and the entry's position in the list.

    Args:
        path: a YAML or JSON file with a list of configurations, a ``results.json`` (``best_trials`` are used) or the directory of
            a study (its front is used). Names are flat (``lstm.hidden_dim``) or grouped as in ``search_space``.
        plan: plan of the study.

    Raises:
        ConfigError: the file can't be read, or entries of the list are invalid; the text has one line for each error.
    """
    source = _study_front(path) if path.is_dir() else _file(path)
    if len(source.entries) > MAX_ENTRIES:
        count = len(source.entries)
        raise _wrong(path, f" holds {count} configurations; keep at most {MAX_ENTRIES}", "too-many-entries")
    taken: dict[frozenset[tuple[str, Scalar]], Params] = {}
    outside, beyond, same = list[str](), list[str](), list[str]()
    faults: list[tuple[str, ConfigError]] = []
    for index, (name, raw) in enumerate(source.entries):
        found = _completed(raw if source.written else _without_dropped(raw, plan.space), plan, index)
        if isinstance(found, list):
            outside.append(name)
            faults += [(name, fault) for fault in found]
        elif not plan.allows(found):
            beyond.append(name)
        elif (key := frozenset(found.items())) in taken:
            same.append(name)
        else:
            taken[key] = found
    lines = [f"{name}: {fault}" for name, fault in faults]
    if source.written and faults:
        head = f"{FLAG} {printable(str(path))}: "
        raise ConfigError(
            head + lines[0] if len(lines) == 1 else listed(f"{head}{len(lines)} errors:", lines),
            violations=[violation for _, fault in faults for violation in fault.violations],
        )
    warnings = []
    if outside:
        skipped = f"{len(outside)} of {len(source.entries)} configurations"
        warnings.append(f"{skipped} are outside the search space and are skipped; the first error is {lines[0]}")
    if beyond:
        warnings.append(f"{_some(beyond)} skipped: predicted to exceed the limits of a trial")
    if same:
        warnings.append(f"{_some(same)} skipped: the same as an earlier one")
    starts = tuple(InitialTrial(params, ORIGIN) for params in taken.values())
    return Enqueued(starts, tuple(f"{FLAG} {path}: {warning}" for warning in warnings))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _wrong(path: Path, text: str, code: str) -> ConfigError:
    return ConfigError(f"{FLAG} {printable(str(path))}{text}", field="study.enqueue", code=code)


def _file(path: Path) -> _Source:
    tree = read_tree(path, FLAG)
    if isinstance(tree, Mapping) and "best_trials" in tree:
        return _best_trials(path, tree["best_trials"])
    if not isinstance(tree, list) or not tree:
        what = "an empty list" if tree == [] else "nothing" if tree is None else type(tree).__name__
        example = "[{cnn.num_filters: 64, lstm.hidden_dim: 128}]"
        raise _wrong(
            path,
            f" must hold a list of configurations, such as {example}, or be a results.json, but holds {what}",
            "not-configurations",
        )
    return _Source([(f"entry {number}", raw) for number, raw in enumerate(tree, start=1)], written=True)


def _best_trials(path: Path, trials: Any) -> _Source:
    if not isinstance(trials, list) or not all(isinstance(trial, Mapping) and "params" in trial for trial in trials):
        raise _wrong(path, ": best_trials must be a list of trials with params, as in a results.json", "not-trials")
    if not trials:
        raise _wrong(path, f" has no best_trials, so there is nothing to enqueue; remove {FLAG}", "no-best-trials")
    return _Source([(f"rank {rank}", trial["params"]) for rank, trial in enumerate(trials, start=1)], written=False)


def _study_front(save_dir: Path) -> _Source:
    database = database_in(save_dir)
    if not database.exists() or not (save_dir / CONFIG_FILE).is_file():
        raise _wrong(
            save_dir,
            f" is a directory without {STUDY_FILE} and {CONFIG_FILE}; name one with a study, or a file",
            "no-study",
        )
    try:
        front = _front_of(database)
    except SaveDirError as error:
        text = str(error).replace("choose another --save-dir", f"name another study, or remove {FLAG}")
        raise _wrong(save_dir, f": {text}", error.code) from error
    if not front:
        raise _wrong(
            save_dir,
            f": no trial of that study is complete and feasible, so there is nothing to enqueue; remove {FLAG}",
            "no-complete-trial",
        )
    space = study_space(load_settings(save_dir / CONFIG_FILE, environment={}), read_description(save_dir))
    entries = [(f"rank {rank}", _full(space, record.params)) for rank, record in enumerate(front, start=1)]
    return _Source(entries, written=False)


def _front_of(database: Database) -> Sequence[TrialRecord]:
    with contextlib.closing(StudyStorage(database)) as storage:
        stored = storage.attribute("skill_gate")
        return reported_front(storage.records(), SkillThreshold.from_stored(stored, database.shown))


def _full(space: SearchSpace, searched: Params) -> dict[str, Any]:
    """Return a trial's parameters and the fixed parameters of its study, in the form of a configuration file."""
    fixed = {name: domain.value for name, domain in space.domains.items() if isinstance(domain, Fixed)}
    params = {**fixed, **searched}
    return readable({name: params[name] for name in space.active(params) if name in params})


def _completed(raw: Any, plan: StudyPlan, index: int) -> dict[str, Scalar] | list[ConfigError]:
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


def _without_dropped(raw: Any, space: SearchSpace) -> Any:
    """Return a configuration (``raw``) without the parameters that have no effect if the data have only one task.

    The parameters are removed if the new study fixes them, or if ``raw`` contains the values at which studies of one task fix
    these parameters. Parameters that the earlier version of a study did not have are added. Flags of groups of inputs that are
    off are removed if the new study fixes them; flags of the user's inputs that are on, if the new study has none.
    """
    if isinstance(raw, Mapping):
        groups = {name for name in map("inputs.{}".format, GROUPS) if isinstance(space.domains[name], Fixed)}
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
