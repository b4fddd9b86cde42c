"""Start broad, then narrow: the part of the search space in which a study's good trials lie."""

import math
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cnn_lstm_hyperopt.config import (
    Choices,
    Domain,
    Fixed,
    FloatRange,
    IntRange,
    SearchSpace,
    Settings,
    dump_settings,
    load_settings,
)
from cnn_lstm_hyperopt.config.domains import Scalar, domain_text
from cnn_lstm_hyperopt.config.faults import printable
from cnn_lstm_hyperopt.config.settings import as_path
from cnn_lstm_hyperopt.exceptions import ConfigError, RunError, SaveDirError
from cnn_lstm_hyperopt.files import write_text
from cnn_lstm_hyperopt.folder import CONFIG_FILE, DATA_FILE, LOG_FILE, RESULTS_FILE, STUDY_FILE, TRIALS_FILE
from cnn_lstm_hyperopt.pareto import non_dominated_ranks
from cnn_lstm_hyperopt.search import SkillGate, StudyStorage, TrialRecord

GOOD_SHARE = 0.2
MIN_GOOD = 8
HEAD = "# Made by cnn-lstm-hyperopt narrow, which may replace it.\n"
"""Tells what was written here from everything else; nothing else is ever replaced."""
OWN_FILES = (STUDY_FILE, CONFIG_FILE, DATA_FILE, RESULTS_FILE, TRIALS_FILE, LOG_FILE)
MARGIN = 0.1
"""Share of the good trials' range that is added at each end."""


def good_trials(records: Sequence[TrialRecord], gate: SkillGate) -> list[TrialRecord]:
    """The best fifth (at least 8) of the completed trials above the gate: whole fronts, one after the other.

    Raises:
        RunError: fewer than 8 trials passed the gate.
    """
    skilled = [(record, record.values) for record in records if record.values and gate.passes(record.values.score)]
    if len(skilled) < MIN_GOOD:
        raise RunError(
            f"{len(skilled)} trials have learnt more than {gate.to_beat}, but {MIN_GOOD} are needed to narrow the space;"
            " run more trials first: cnn-lstm-hyperopt resume --n-trials N"
        )
    ranks = non_dominated_ranks([(-v.score, v.seconds, v.size_mb) for _, v in skilled])
    wanted = max(MIN_GOOD, math.ceil(GOOD_SHARE * len(skilled)))
    last_rank = sorted(ranks)[wanted - 1]
    return [record for (record, _), rank in zip(skilled, ranks, strict=True) if rank <= last_rank]


def narrowed(space: SearchSpace, good: Sequence[TrialRecord]) -> SearchSpace:
    """The space reduced to where ``good`` trials lie.

    Choices keep those that a good trial has; ranges keep the good trials' range and a tenth of it at each end (in the logarithm
    where the range has one), within the old bounds. A parameter that no good trial has keeps its domain, and so do head counts,
    of which one must divide every width.
    """
    domains: dict[str, Domain] = {}
    for name, domain in space.domains.items():
        values = [record.params[name] for record in good if name in record.params]
        keep = not values or space.specs[name].divides is not None
        domains[name] = domain if keep else _narrow(domain, values)
    return replace(space, domains=domains)


def _narrow(domain: Domain, values: Sequence[Scalar]) -> Domain:
    match domain:
        case Choices(choices):
            kept = tuple(choice for choice in choices if choice in values)
            return Choices(kept) if len(kept) > 1 else Fixed(kept[0])
        case IntRange(low, high, log):
            lowest, highest = _widened([float(value) for value in values], log=log)
            return IntRange(max(low, math.floor(lowest)), min(high, math.ceil(highest)), log)
        case FloatRange(low, high, log):
            lowest, highest = _widened([float(value) for value in values], log=log)
            return FloatRange(max(low, lowest), min(high, highest), log)
    return domain


def _widened(values: Sequence[float], *, log: bool) -> tuple[float, float]:
    if log:
        low, high = math.log(min(values)), math.log(max(values))
        return math.exp(low - MARGIN * (high - low)), math.exp(high + MARGIN * (high - low))
    low, high = min(values), max(values)
    return low - MARGIN * (high - low), high + MARGIN * (high - low)


def narrow_study(save_dir: Path, output: Path) -> tuple[Path, list[str]]:
    """Writes the study's settings with the narrowed space and a directory of their own to ``output``.

    Returns:
        The file, and a line for every parameter that was narrowed.

    Raises:
        SaveDirError: there is no study.
        ConfigError: ``output`` is no place for a file, one of the study's own, or there and not written by this before.
        RunError: too few trials have learnt anything.
    """
    output = _checked(save_dir, output)
    storage = StudyStorage(save_dir / STUDY_FILE)
    try:
        records, gate = storage.records(), _gate(storage, save_dir)
    finally:
        storage.close()
    settings = load_settings(save_dir / CONFIG_FILE, environment={})
    space = narrowed(settings.space, good_trials(records, gate))
    changed = [name for name, domain in space.domains.items() if domain != settings.space.domains[name]]
    new = settings.model_copy(
        update={
            "search_space": space.as_dict(),
            "save_dir": _beside(save_dir),
        }
    )
    text = HEAD + dump_settings(Settings.model_validate(new.model_dump()))
    try:
        write_text(output, text)
    except OSError as error:
        raise _not_written(output, error) from error
    return output, [
        f"{name}: {domain_text(settings.space.domains[name])} → {domain_text(space.domains[name])}" for name in changed
    ]


def _gate(storage: StudyStorage, save_dir: Path) -> SkillGate:
    try:
        gate = SkillGate(**storage.attribute("skill_gate"))
        _ = gate.passes(0.0), gate.score_range  # of a known metric, with numbers
    except (TypeError, ValueError, LookupError) as error:
        raise SaveDirError(
            f"{save_dir / STUDY_FILE} is damaged: its skill_gate tells no score to beat; name another study"
        ) from error
    return gate


def _beside(save_dir: Path) -> Path:
    """A directory of its own for the narrowed study; that of ``.`` has no name before it is resolved."""
    named = save_dir if save_dir.name not in ("", "..") else save_dir.resolve()
    return named.with_name(f"{named.name or 'study'}_narrowed")


def _checked(save_dir: Path, output: Path) -> Path:
    """``output`` with ``~`` written out; what is wrong with the place is said before anything is worked out."""
    try:
        place: Path = as_path(output, "file")
    except ValueError as fault:
        raise ConfigError(f"--output {fault}") from fault
    try:
        _require_free(save_dir.resolve(), place)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        raise _not_written(place, error) from error
    return place


def _require_free(save_dir: Path, output: Path) -> None:
    """That nothing is lost if a file is written there: new ones are free, and what was narrowed before."""
    name = printable(str(output))
    if output.is_dir():
        raise ConfigError(f"--output {name} is a directory; name a file in it, such as {output / 'narrowed.yaml'}")
    if output.parent.exists() and not output.parent.is_dir():
        raise ConfigError(f"--output {name} can't be written: {output.parent} is a file; name a directory")
    folder = output.parent.resolve()
    if folder == save_dir and output.name in OWN_FILES:
        raise ConfigError(f"--output {name} is a file of the study itself; name another, such as narrowed.yaml")
    if folder.is_relative_to(save_dir) and (folder != save_dir or output.suffix != ".yaml"):
        raise ConfigError(
            f"--output {name} lies among the study's own files; name a new .yaml file, such as {save_dir / 'narrowed.yaml'}"
        )
    try:
        mode = output.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no file, but a pipe or a device"
        raise ConfigError(f"--output {name} is {kind}; name a file that is not there yet, such as narrowed.yaml")
    with output.open("rb") as file:
        if file.read(len(HEAD)) != HEAD.encode():
            raise ConfigError(
                f"--output {name} is there and was not written by narrow, so it is not replaced; name another file,"
                " or remove it"
            )


def _not_written(output: Path, error: Exception) -> ConfigError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else error
    return ConfigError(f"--output {printable(str(output))} can't be written: {reason}; name another place")
