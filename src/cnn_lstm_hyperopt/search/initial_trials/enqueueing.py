"""First trials of a study, read from a file that the user chooses: a list, a ``results.json`` or an earlier study's front."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnn_lstm_hyperopt.config import Params, load_settings
from cnn_lstm_hyperopt.config.yaml_reader import read_tree
from cnn_lstm_hyperopt.errors import ConfigError, SaveDirError
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
from cnn_lstm_hyperopt.search.initial_trials.entries import ORIGIN, completed, full_configuration, without_dropped
from cnn_lstm_hyperopt.space.domains import Scalar
from cnn_lstm_hyperopt.utils.text import listed, printable

FLAG = "--enqueue"
MAX_ENTRIES = 10_000


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
        found = completed(raw if source.written else without_dropped(raw, plan.space), plan, index)
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
    entries = [(f"rank {rank}", full_configuration(space, record.params)) for rank, record in enumerate(front, start=1)]
    return _Source(entries, written=False)


def _front_of(database: Database) -> Sequence[TrialRecord]:
    with contextlib.closing(StudyStorage(database)) as storage:
        stored = storage.attribute("skill_gate")
        return reported_front(storage.records(), SkillThreshold.from_stored(stored, database.shown))
